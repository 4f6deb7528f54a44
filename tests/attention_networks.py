"""Small torch networks with attention of several kinds: a captioner, a pair of towers, a translator, a mean."""

import io

import torch
from torch import nn
from torch.nn import functional

import onnxplain
from whole_models import WORDS, TransformerBlock, quiet


class Captioner(nn.Module):
    """Patches of an image go through an encoder; a decoder reads words, and the patches by cross-attention.

    ``merged`` puts heads into the batch axis, as torch does where the weights are asked for.
    """

    def __init__(self, *, merged=False):
        super().__init__()
        self.merged = merged
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 12, 16))
        self.encoder = TransformerBlock(16, 2, first=True, written_out=True)
        self.words, self.order = nn.Embedding(WORDS, 16), nn.Parameter(torch.randn(1, 5, 16))
        self.own, self.cross = (nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(2))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(16) for _ in range(3))
        self.mlp, self.head = nn.Linear(16, 16), nn.Linear(16, WORDS)

    def forward(self, image, ids):
        memory = self.encoder(self.patches(image).flatten(2).transpose(1, 2) + self.places)
        x = self.words(ids) + self.order
        later = torch.full((5, 5), float("-inf")).triu(1)
        y = self.norm1(x)
        x = x + self.own(y, y, y, attn_mask=later, need_weights=self.merged)[0]
        x = x + self.cross(self.norm2(x), memory, memory, need_weights=self.merged)[0]
        return self.head(self.norm3(x + torch.tanh(self.mlp(x))))


class Towers(nn.Module):
    """An image and a text, each with a transformer of its own; the score is the cosine of what they end in.

    The image ends in its class token, the text in its word of the highest number.
    """

    def __init__(self):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        self.places, self.order = nn.Parameter(torch.randn(1, 7, 16)), nn.Parameter(torch.randn(1, 8, 16))
        self.words = nn.Embedding(WORDS, 16)
        self.seeing = nn.ModuleList(TransformerBlock(16, 2, first=True) for _ in range(2))
        self.reading = nn.ModuleList(TransformerBlock(16, 4, first=True) for _ in range(2))
        self.to_image, self.to_text = nn.Linear(16, 8), nn.Linear(16, 8)

    def forward(self, image, ids):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        y = self.words(ids) + self.order
        for block in self.seeing:
            x = block(x)
        for block in self.reading:
            y = block(y)
        end = torch.nn.functional.one_hot(ids.argmax(1), 8).to(y.dtype)
        x, y = self.to_image(x[:, 0]), self.to_text((y * end.unsqueeze(-1)).sum(1))
        return (functional.normalize(x, dim=-1) * functional.normalize(y, dim=-1)).sum(-1, keepdim=True)


class Translator(nn.Module):
    """A recurrent encoder and decoder with additive attention (Bahdanau et al. 2015) in between."""

    def __init__(self):
        super().__init__()
        self.source, self.words = nn.Embedding(WORDS, 8), nn.Embedding(WORDS, 8)
        self.encoder, self.decoder = nn.LSTM(8, 8, batch_first=True), nn.LSTM(8, 8, batch_first=True)
        self.key, self.query, self.energy = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.head = nn.Linear(16, WORDS)

    def forward(self, source, words):
        memory, _ = self.encoder(self.source(source))
        state, _ = self.decoder(self.words(words))
        energy = self.energy(torch.tanh(self.query(state).unsqueeze(2) + self.key(memory).unsqueeze(1))).squeeze(-1)
        return self.head(torch.cat([torch.softmax(energy, -1) @ memory, state], -1))


class Averaged(nn.Module):
    """Patches without a class token, whose mean is classified."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.places = nn.Parameter(torch.randn(1, 12, 16))
        self.blocks = nn.ModuleList(TransformerBlock(16, 2, first=True, written_out=True) for _ in range(2))
        self.head = nn.Linear(16, 4)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


EXAMPLES = {
    "captioner": lambda: (torch.randn(2, 3, 16, 12), torch.randint(0, WORDS, (2, 5))),
    "towers": lambda: (torch.randn(2, 3, 16, 24), torch.randint(0, WORDS, (2, 8))),
    "translator": lambda: (torch.randint(0, WORDS, (2, 6)), torch.randint(0, WORDS, (2, 4))),
    "averaged": lambda: (torch.randn(2, 3, 24, 32),),
}
INPUTS = {
    "captioner": ["image", "words"],
    "towers": ["image", "words"],
    "translator": ["source", "words"],
    "averaged": ["image"],
}
MAKERS = {
    "captioner": Captioner,
    "captioner-merged": lambda: Captioner(merged=True),
    "towers": Towers,
    "translator": Translator,
    "averaged": Averaged,
}


def made(name):
    """Return a network and a batch of two of its inputs, the same each time."""
    torch.manual_seed(sum(name.encode()))
    network = MAKERS[name]().eval().requires_grad_(requires_grad=False)
    for parameter in network.parameters():  # so that attention is far from uniform
        parameter.mul_(1.5)
    return network, EXAMPLES[name.removesuffix("-merged")]()


def exported(name, exporter="legacy", opset=17):
    """Return the network, a batch of its inputs by name, and the opened ONNX model."""
    network, arguments = made(name)
    names = INPUTS[name.removesuffix("-merged")]
    with quiet():
        if exporter == "legacy":
            file = io.BytesIO()
            torch.onnx.export(
                network,
                arguments,
                file,
                input_names=names,
                output_names=["y"],
                opset_version=opset,
                dynamo=False,
                dynamic_axes={n: {0: "batch"} for n in (*names, "y")},
            )
            data = file.getvalue()
        else:
            program = torch.onnx.export(
                network,
                arguments,
                input_names=names,
                output_names=["y"],
                opset_version=opset,
                dynamo=True,
                verbose=False,
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in arguments),
            )
            data = program.model_proto.SerializeToString()
    feeds = {n: a.numpy() for n, a in zip(names, arguments, strict=True)}
    return network, feeds, onnxplain.load(data, device="cpu", threads=1)
