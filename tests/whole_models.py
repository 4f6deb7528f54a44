"""Small torch networks of the kinds that people export, and their ONNX files by both exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = 50  # vocabulary


class Residual(nn.Module):
    def __init__(self, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.skip = nn.Conv2d(width, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.skip(x))


def residual_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 7, 2, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(8),
        Residual(8, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x):
        return x * functional.hardsigmoid(self.up(functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1)))))


class InvertedResidual(nn.Module):
    def __init__(self, width):
        super().__init__()
        wide = 3 * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.Hardswish(),
            SqueezeExcite(wide),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x):
        return x + self.layers(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.blocks = nn.Sequential(InvertedResidual(8), InvertedResidual(8))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 10))

    def forward(self, x):
        return self.head(self.blocks(functional.silu(self.stem(x))).mean([2, 3]))


class ConvNextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(0.1 * torch.ones(width))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(functional.gelu(self.widen(y)))
        return x + y.permute(0, 3, 1, 2)


def convnext():
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4),
        ConvNextBlock(8),
        ConvNextBlock(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        nn.LayerNorm(8),
        nn.Linear(8, 10),
    )


class Attention(nn.Module):
    def __init__(self, width, heads, *, written_out=False):
        super().__init__()
        self.heads, self.written_out = heads, written_out
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, mask=None):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.written_out:
            scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
            mixed = functional.softmax(scores if mask is None else scores + mask, dim=-1) @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads, *, first, written_out=False):
        super().__init__()
        self.first = first
        self.attention = Attention(width, heads, written_out=written_out)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, mask=None):
        if self.first:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.mlp(x))


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.position = nn.Parameter(torch.randn(1, 17, 16))
        self.blocks = nn.ModuleList(TransformerBlock(16, 2, first=True) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 16), nn.Embedding(12, 16)
        self.norm = nn.LayerNorm(16)
        self.blocks = nn.ModuleList(TransformerBlock(16, 2, first=False, written_out=True) for _ in range(2))
        self.pool, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device)))
        added = (1.0 - mask[:, None, None, :].to(x.dtype)) * -10000.0
        for block in self.blocks:
            x = block(x, added)
        return self.head(torch.tanh(self.pool(x[:, 0])))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(5, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.up1, self.join1 = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 4, 3, padding=1)
        self.join2 = nn.Conv2d(8, 4, 3, padding=1)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        first = functional.relu(self.down1(x))
        second = functional.relu(self.down2(functional.max_pool2d(first, 2)))
        middle = functional.leaky_relu(self.middle(functional.max_pool2d(second, 2)))
        up = functional.relu(self.join1(torch.cat([self.up1(middle), second], 1)))
        up = functional.interpolate(up, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.out(functional.elu(self.join2(torch.cat([up, first], 1))))


def cnn_1d():
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, 2, 2),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Conv1d(8, 8, 3, dilation=2),
        nn.GroupNorm(2, 8),
        nn.Tanh(),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.LazyLinear(4),
    )


def mlp():
    return nn.Sequential(
        nn.Linear(6, 16), nn.SELU(), nn.Linear(16, 16), nn.Softplus(), nn.Linear(16, 3), nn.Softmax(-1)
    )


class RootMeanSquare(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Llama(nn.Module):
    def __init__(self, width=16, heads=4, shared=2):
        super().__init__()
        self.heads, self.shared, self.size = heads, shared, width // heads
        self.words = nn.Embedding(WORDS, width)
        self.norm1, self.norm2, self.norm3 = (RootMeanSquare(width) for _ in range(3))
        self.q, self.o = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, shared * self.size, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, 32, bias=False) for _ in range(2))
        self.down = nn.Linear(32, width, bias=False)
        self.head = nn.Linear(width, WORDS, bias=False)
        angles = torch.outer(torch.arange(16.0), 1 / 100 ** (torch.arange(0, self.size, 2) / self.size))
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos())
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin())

    def split(self, x, heads):
        return x.reshape(x.shape[0], x.shape[1], heads, self.size).transpose(1, 2)

    def turned(self, x):
        left, right = x.chunk(2, -1)
        length = x.shape[2]
        return x * self.cos[:length] + torch.cat([-right, left], -1) * self.sin[:length]

    def forward(self, ids):
        x = self.words(ids)
        y = self.norm1(x)
        q, k = self.turned(self.split(self.q(y), self.heads)), self.turned(self.split(self.k(y), self.shared))
        v = self.split(self.v(y), self.shared)
        k, v = (t.repeat_interleave(self.heads // self.shared, 1) for t in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        y = self.norm2(x)
        return self.head(self.norm3(x + self.down(functional.silu(self.gate(y)) * self.up(y))))


@dataclass(frozen=True)
class Whole:
    """A network and how to draw a batch of its inputs."""

    make: Callable[[], nn.Module]
    draw: Callable[[int], tuple[torch.Tensor, ...]]


def pixels(*shape):
    return lambda rows: (torch.randn(rows, *shape),)


def words(rows):
    return (torch.randint(0, WORDS, (rows, 10)),)


def masked_words(rows):
    mask = torch.ones(rows, 10, dtype=torch.int64)
    mask[:, 7:] = 0
    return *words(rows), mask


MODELS = {
    "residual-cnn": Whole(residual_cnn, pixels(3, 32, 32)),
    "mobilenet": Whole(MobileNet, pixels(3, 32, 32)),
    "convnext": Whole(convnext, pixels(3, 32, 32)),
    "vit": Whole(VisionTransformer, pixels(3, 32, 32)),
    "bert": Whole(Bert, masked_words),
    "lstm": Whole(lambda: Recurrent(nn.LSTM), pixels(7, 5)),
    "gru": Whole(lambda: Recurrent(nn.GRU), pixels(7, 5)),
    "unet": Whole(UNet, pixels(1, 16, 16)),
    "cnn-1d": Whole(cnn_1d, pixels(2, 32)),
    "mlp": Whole(mlp, pixels(6)),
    "llama": Whole(Llama, words),
}
LEGACY_OPSETS = (13, 17, 18, 20)  # 20 is the last that it writes
DYNAMO_OPSETS = (18, 20, 23)
# Until opset 13 the older exporter does not know scaled dot-product attention.
CASES = [
    (name, "legacy", opset)
    for name in MODELS
    for opset in LEGACY_OPSETS
    if not (name in {"vit", "llama"} and opset == LEGACY_OPSETS[0])
]
CASES += [(name, "dynamo", opset) for name in MODELS for opset in DYNAMO_OPSETS]


def network(name: str) -> nn.Module:
    """Return a network with weights and statistics that depend on its name alone."""
    torch.manual_seed(sum(name.encode()))
    module = MODELS[name].make()
    module.train()
    with torch.no_grad():
        for _ in range(3):  # batch statistics
            module(*MODELS[name].draw(8))
    return module.eval().requires_grad_(requires_grad=False)


def exported(name: str, exporter: str, opset: int, module: nn.Module, rows: int | None = None) -> onnx.ModelProto:
    """Return the network as an ONNX model with a free batch axis, or one of so many rows."""
    arguments = MODELS[name].draw(rows or 2)
    names = [f"in{k}" for k in range(len(arguments))]
    with quiet():
        if exporter == "legacy":
            file = io.BytesIO()
            axes = {} if rows else {n: {0: "batch"} for n in (*names, "out")}
            torch.onnx.export(
                module,
                arguments,
                file,
                input_names=names,
                output_names=["out"],
                opset_version=opset,
                dynamo=False,
                dynamic_axes=axes,
            )
            return onnx.load_from_string(file.getvalue())
        batch = torch.export.Dim.DYNAMIC
        program = torch.onnx.export(
            module,
            arguments,
            input_names=names,
            output_names=["out"],
            opset_version=opset,
            dynamo=True,
            verbose=False,
            dynamic_shapes=None if rows else tuple({0: batch} for _ in arguments),
        )
    return program.model_proto


@contextlib.contextmanager
def quiet():
    """Let the exporters say what they like about themselves where nobody hears it."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def difference(original: nn.Module, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[float, float]:
    """Return how far outputs and gradients of a random sum of them are apart, relative to the largest number.

    Gradients are those at float inputs, or at the embedding of words.
    """
    table = getattr(original, "words", None)
    (expected, slopes), (found, others) = (run_back(m, inputs, table) for m in (original, module))
    return relative(found, expected), max(relative(one, other) for one, other in zip(others, slopes, strict=True))


def run_back(module: nn.Module, inputs: tuple[torch.Tensor, ...], table: nn.Module | None):
    """Return outputs and gradients of a module; ``table`` is the embedding that words go through."""
    fed = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    leaves = [x for x in fed if x.requires_grad]
    hooks = []
    if table is not None:
        same = [m for m in module.modules() if torch.equal(getattr(m, "weight", table.weight[:0]), table.weight)]

        def at_words(_module, _arguments, output):
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        hooks = [m.register_forward_hook(at_words) for m in same]
    output = module(*fed)
    for hook in hooks:
        hook.remove()
    weights = torch.linspace(-1, 2, output.numel()).reshape(output.shape)
    return output.detach(), torch.autograd.grad((output * weights).sum(), leaves)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest number."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())
