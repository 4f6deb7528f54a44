"""Relevance through attention against second implementations: surrogates by autograd in float64, and dense loops.

An answer that is planted is found by every method.
"""

import io

import numpy as np
import pytest
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import onnxplain  # noqa: E402
from small_graphs import model_of  # noqa: E402
from whole_models import quiet  # noqa: E402

WIDTH, HEADS, TOKENS, CLASSES = 6, 2, 4, 3


class Ways:
    """How the parts of a network are computed; each attention method has ways of its own to the same numbers."""

    def product(self, a, b):
        return a @ b

    def mix(self, weights, values):
        return weights @ values

    def normal(self, x, weight, bias):
        return nn.functional.layer_norm(x, (WIDTH,), weight, bias)

    def act(self, x):
        return nn.functional.gelu(x)


class AttnLrpWays(Ways):
    """Input times the gradient of these is AttnLRP: y / x held for norms and activations, halves for products."""

    def halves(self, a, b):
        return 0.5 * (a @ b.detach()) + 0.5 * (a.detach() @ b) - 0.0 * (a @ b).detach()

    product = mix = halves

    def normal(self, x, weight, bias):
        y = super().normal(x, weight, bias)
        return x * (y / x).detach()

    def act(self, x):
        return x * (super().act(x) / x).detach()


class HeldWays(AttnLrpWays):
    """AttnLRP with the deviation of LayerNorm held."""

    def normal(self, x, weight, bias):
        deviation = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt().detach()
        return (x - x.mean(-1, keepdim=True)) / deviation * weight + bias


class ConservativeWays(HeldWays):
    """Input times the gradient of these is conservative LRP: attention weights and deviations held."""

    def product(self, a, b):
        return a @ b

    def mix(self, weights, values):
        return weights.detach() @ values


class Network(nn.Module):
    """Two blocks of attention and a dense layer on tokens (B, 4, 6), and a linear layer on the first token."""

    def __init__(self, *, norm=True, bias=True):
        super().__init__()
        self.ways = Ways()
        self.norm = norm
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                **{n: nn.Linear(WIDTH, WIDTH, bias=bias) for n in ("q", "k", "v", "o", "up", "down")},
                "norm": nn.LayerNorm(WIDTH),
            })
            for _ in range(2)
        )  # fmt: skip
        self.head = nn.Linear(WIDTH, CLASSES, bias=bias)

    def heads(self, x):
        return x.reshape(x.shape[0], TOKENS, HEADS, -1).transpose(1, 2)

    def forward(self, x):
        for block in self.blocks:
            y = self.ways.normal(x, block["norm"].weight, block["norm"].bias) if self.norm else x
            q, k, v = (self.heads(block[n](y)) for n in "qkv")
            weights = torch.softmax(self.ways.product(q * (WIDTH // HEADS) ** -0.5, k.transpose(2, 3)), -1)
            mixed = self.ways.mix(weights, v).transpose(1, 2).reshape(x.shape)
            x = x + block["o"](mixed)
            x = x + block["down"](self.ways.act(block["up"](x)))
        return self.head(x[:, 0])


def made(**settings):
    torch.manual_seed(8)
    network = Network(**settings).eval().requires_grad_(requires_grad=False)
    for name, parameter in network.named_parameters():
        size = 0.6 if name.endswith("weight") else 0.2 if network.head.bias is not None else 0.0
        parameter.copy_(torch.randn_like(parameter) * size)
        if "norm.weight" in name:
            parameter.add_(1)
    x = torch.randn(3, TOKENS, WIDTH)
    file = io.BytesIO()
    with quiet():
        torch.onnx.export(
            network,
            (x,),
            file,
            input_names=["x"],
            output_names=["y"],
            opset_version=17,
            dynamo=False,
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
    return network.double(), x, onnxplain.load(file.getvalue(), device="cpu", threads=1)


def by_surrogate(network, ways, x, target):
    network.ways = ways
    leaf = x.double().requires_grad_()
    score = network(leaf)[:, target].sum()
    return (leaf * torch.autograd.grad(score, leaf)[0]).detach().numpy()


@pytest.mark.parametrize(
    ("method", "settings", "ways"),
    [
        ("attn-lrp", {}, HeldWays()),
        ("attn-lrp", {"layernorm": "identity"}, AttnLrpWays()),
        ("conservative-lrp", {}, ConservativeWays()),
    ],
)
def test_relevance_is_input_times_gradient_of_a_surrogate(method, settings, ways):
    """Of one row and of three; a surrogate has the network's numbers, but what a method holds is detached."""
    network, x, model = made()
    plain = network(x.double())
    for target in range(CLASSES):
        expected = by_surrogate(network, ways, x, target)
        network.ways = ways
        assert np.allclose(network(x.double()), plain)
        found = onnxplain.explain(model, x.numpy(), method, target=target, epsilon=0.0, **settings)
        alone = onnxplain.explain(model, x[:1].numpy(), method, target=target, epsilon=0.0, **settings)
        for k, one in enumerate(found):
            assert np.allclose(one.values["x"][0], expected[k], rtol=2e-3, atol=2e-4 * np.abs(expected[k]).max())
        assert np.allclose(alone.values["x"][0], expected[0], rtol=2e-3, atol=2e-4 * np.abs(expected[0]).max())


def test_conservative_relevance_adds_up_to_the_score_without_biases():
    _, x, model = made(bias=False)
    for target in range(CLASSES):
        for found in onnxplain.explain(model, x.numpy(), "conservative-lrp", target=target, epsilon=1e-9):
            assert found.gap == pytest.approx(0, abs=1e-4 * abs(found.score))
            assert found.values["x"].sum() == pytest.approx(found.score, rel=1e-4)


def positive(a, W, R):
    """R_i = sum_j (a_i W_ji)^+ / sum_i (a_i W_ji)^+ R_j for each token, in loops."""
    found = np.zeros_like(a)
    for t, j in np.ndindex(len(a), len(W)):
        parts = [max(0.0, a[t, i] * W[j, i]) for i in range(a.shape[1])]
        for i, part in enumerate(parts):
            found[t, i] += part / sum(parts) * R[t, j] if sum(parts) else 0.0
    return found


def balanced(parts, R):
    """Shares x / (x + y) R of a sum, scaled by |sum| / sum of |sums| * sum(R) / sum."""
    shares = [p / sum(parts) * R for p in parts]
    sizes = [abs(s.sum()) for s in shares]
    return [s * (size / sum(sizes) * R.sum() / s.sum()) for s, size in zip(shares, sizes, strict=True)]


def halves(a, b, R):
    """Half of each term a_ik b_kj / O_ij R_ij to each factor."""
    O, Ra, Rb = a @ b, np.zeros_like(a), np.zeros_like(b)  # noqa: E741 - the paper's letter
    for i, k, j in np.ndindex(a.shape[0], a.shape[1], b.shape[1]):
        part = a[i, k] * b[k, j] / (2 * O[i, j]) * R[i, j]
        Ra[i, k] += part
        Rb[k, j] += part
    return Ra, Rb


def attribution_by_loops(network, x, target):
    """Transformer attribution of Chefer et al. 2021 (CVPR) of one sample: C of each layer, rolled out."""
    size, kept = WIDTH // HEADS, []
    W = [{n: block[n].weight.numpy() for n in ("q", "k", "v", "o", "up", "down")} for block in network.blocks]
    B = [{n: block[n].bias.numpy() for n in ("q", "k", "v", "o", "up", "down")} for block in network.blocks]
    state = x.numpy()
    for w, b in zip(W, B, strict=True):
        q, k, v = (state @ w[n].T + b[n] for n in "qkv")
        A, mixed = [], np.zeros_like(state)
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            logits = q[:, part] @ k[:, part].T * size**-0.5
            A.append(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
            mixed[:, part] = A[h] @ v[:, part]
        out = mixed @ w["o"].T + b["o"]
        middle = state + out
        up = middle @ w["up"].T + b["up"]
        active = nn.functional.gelu(torch.tensor(up)).numpy()
        down = active @ w["down"].T + b["down"]
        kept.append((state, q, k, v, A, mixed, out, middle, active, down))
        state = middle + down
    R = np.zeros_like(state)
    R[:1] = positive(state[:1], network.head.weight.numpy()[target : target + 1], np.ones((1, 1)))
    slopes = slopes_of(network, x, target)
    C = []
    for w, (before, q, k, v, A, mixed, out, middle, active, down), G in zip(
        W[::-1], kept[::-1], slopes[::-1], strict=True
    ):
        R_middle, R_down = balanced([middle, down], R)
        R = R_middle + positive(middle, w["up"], positive(active, w["down"], R_down))
        R_before, R_out = balanced([before, out], R)
        R_mixed, R_q, R_k, R_v = positive(mixed, w["o"], R_out), *(np.zeros_like(q) for _ in range(3))
        C.append(np.zeros((TOKENS, TOKENS)))
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            R_A, R_v[:, part] = halves(A[h], v[:, part], R_mixed[:, part])
            R_q[:, part], R_kt = halves(q[:, part] * size**-0.5, k[:, part].T, R_A)
            R_k[:, part] = R_kt.T
            C[-1] += np.maximum(R_A * G[h], 0) / HEADS
        R = R_before + sum(positive(before, w[n], r) for n, r in zip("qkv", (R_q, R_k, R_v), strict=True))
    rolled = np.eye(TOKENS)
    for layer in C[::-1]:
        rolled = (np.eye(TOKENS) + layer) @ rolled
    return rolled


def slopes_of(network, x, target):
    """Gradients of the score at the weights of each layer (heads, queries, keys)."""

    class Kept(Ways):
        def __init__(self):
            self.weights = []

        def mix(self, weights, values):
            self.weights.append(weights.requires_grad_() if not weights.requires_grad else weights)
            return self.weights[-1] @ values

    network.ways = Kept()
    score = network(x[None])[0, target]
    return [g[0].numpy() for g in torch.autograd.grad(score, network.ways.weights)]


def test_transformer_attribution_is_what_loops_give():
    network, x, model = made(norm=False)
    for target in (0, 2):
        found = onnxplain.explain(model, x.numpy(), "transformer-attribution", target=target)
        for k, one in enumerate(found):
            expected = attribution_by_loops(network, x[k].double(), target)
            assert np.allclose(one.extras["matrix"] - np.eye(TOKENS), expected - np.eye(TOKENS), rtol=5e-3, atol=1e-6)
            assert one.extras["rows"].tolist() == [0]


def planted():
    """The first token looks for the mark in the others' first feature, and the output is what it finds there."""
    queries, keys, values = np.zeros((3, 1)), np.zeros((3, 1)), np.zeros((3, 1))
    queries[1], keys[0], values[2] = 1, 1, 1
    nodes = [
        helper.make_node("MatMul", ["x", "queries"], ["q"]),
        helper.make_node("MatMul", ["x", "keys"], ["k"]),
        helper.make_node("MatMul", ["x", "values"], ["v"]),
        helper.make_node("Transpose", ["k"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["mixed"]),
        helper.make_node("Gather", ["mixed", "first"], ["token"], axis=1),
        helper.make_node("Flatten", ["token"], ["y"]),
    ]
    constants = {n: a.astype(np.float32) for n, a in (("queries", queries), ("keys", keys), ("values", values))}
    float_ = TensorProto.FLOAT
    ends = {"x": (float_, ["batch", 7, 3])}, {"y": (float_, ["batch", 1])}
    return model_of(nodes, *ends, constants | {"first": np.array(0)})


METHODS = [
    "attention-map",
    "attention-rollout",
    "generic-attention",
    "transformer-attribution",
    "attn-lrp",
    "conservative-lrp",
]


@pytest.mark.parametrize("method", METHODS)
def test_planted_answer_is_found(method):
    model = onnxplain.load(planted().SerializeToString(), device="cpu", threads=1)
    rng = np.random.default_rng(6)
    for answer in (1, 4, 6):
        x = np.zeros((1, 7, 3), np.float32)
        x[0, :, 2] = rng.uniform(0.5, 1.0, 7)  # what tokens hold
        x[0, 0, 1] = 1  # the first token asks
        x[0, answer, 0] = 12  # one token answers
        changed = x.copy()
        changed[0, [k for k in range(1, 7) if k != answer], 2] += 100  # none of the others counts
        assert model.predict(x)["y"] == pytest.approx(x[0, answer, 2], rel=1e-3)
        assert abs(model.predict(changed)["y"] - model.predict(x)["y"]) < 1e-2
        found = onnxplain.explain(model, x, method, target="0")
        tokens = np.abs(found.values["x"][0]).sum(axis=1)
        assert 1 + int(np.argmax(tokens[1:])) == answer
        assert tokens[answer] > 100 * np.delete(tokens[1:], answer - 1).max()


def test_masked_tokens_get_no_relevance():
    """A mask of minus infinity: no relevance comes to what is masked, and none of it is NaN."""
    nodes = list(planted().graph.node)
    nodes[5].input[0] = "masked"
    nodes.insert(5, helper.make_node("Add", ["scores", "added"], ["masked"]))
    nodes.insert(5, helper.make_node("Where", ["mask", "nothing", "never"], ["added"]))
    constants = {t.name: onnx_array(t) for t in planted().graph.initializer}
    constants |= {"nothing": np.zeros(1, np.float32), "never": np.full(1, -np.inf, np.float32)}
    ends = {"x": (TensorProto.FLOAT, ["batch", 7, 3]), "mask": (TensorProto.BOOL, ["batch", 1, 7])}
    proto = model_of(nodes, ends, {"y": (TensorProto.FLOAT, ["batch", 1])}, constants)
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    x = np.random.default_rng(1).normal(size=(1, 7, 3)).astype(np.float32)
    mask = np.array([[[True, True, True, False, True, False, True]]])
    for method in METHODS[2:]:
        found = onnxplain.explain(model, {"x": x, "mask": mask}, method, target="0").values["x"][0]
        assert np.isfinite(found).all()
        assert np.all(found[[3, 5]] == 0)
        assert np.abs(found[[1, 2, 4, 6]]).max() > 1e-3


def onnx_array(tensor):
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)
