"""A decoder as onnxruntime-genai writes it, beside the same network in plain operators as torch exports it."""

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
import whole_models  # noqa: E402
from gradient_problems import loaded  # noqa: E402
from small_graphs import model_of  # noqa: E402

MICROSOFT = "com.microsoft"
WIDTH, HEADS, SHARED, SIZE = 64, 4, 2, 16
IDS = np.array([[3, 14, 15, 9, 26]])
CACHE = [f"past_key_values.0.{kind}" for kind in ("key", "value")]
PRESENT = [f"present.0.{kind}" for kind in ("key", "value")]
TARGET = "logits[4,7]"
METHODS = {
    "attn-lrp": {},
    "conservative-lrp": {},
    "lrp": {},
    "deeplift": {"baseline": 0.0},
    "generic-attention": {},
    "transformer-attribution": {},
    "attention-map": {},
    "attention-rollout": {},
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = whole_models.Llama(width=WIDTH, heads=HEADS, shared=SHARED)
    return made.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def plain(network):
    buffer = io.BytesIO()
    with whole_models.quiet():
        torch.onnx.export(
            network,
            (torch.from_numpy(IDS),),
            buffer,
            input_names=["ids"],
            output_names=["logits"],
            opset_version=17,
            dynamo=False,
            dynamic_axes={"ids": {0: "batch", 1: "tokens"}},
        )
    return loaded(onnx.load_from_string(buffer.getvalue()))


def node(op_type, inputs, outputs, domain="", **given):
    return helper.make_node(op_type, inputs.split(), outputs.split(), domain=domain, **given)


def fused(network):
    """Grouped attention with rotation, and a cache; residual sums with their norms; a mask that tells the lengths."""
    nodes = [
        node("Gather", "words ids", "x"),
        node("SimplifiedLayerNormalization", "x n1", "y1", epsilon=1e-6, axis=-1),
        *(node("MatMul", f"y1 W{name}", name) for name in "qkv"),
        node("ReduceSum", "mask axis", "sums", keepdims=0),
        node("Sub", "sums one", "last64"),
        node("Cast", "last64", "last", to=TensorProto.INT32),
        node("Shape", "mask", "shape"),
        node("Gather", "shape one", "total64", axis=0),
        node("Cast", "total64", "total", to=TensorProto.INT32),
        helper.make_node(
            "GroupQueryAttention",
            ["q", "k", "v", *CACHE, "last", "total", "cos", "sin"],
            ["mixed", *PRESENT],
            domain=MICROSOFT,
            num_heads=HEADS,
            kv_num_heads=SHARED,
            do_rotary=1,
        ),
        node("MatMul", "mixed Wo", "o"),
        helper.make_node(
            "SkipSimplifiedLayerNormalization", ["x", "o", "n2"], ["y2", "", "", "sum"], domain=MICROSOFT, epsilon=1e-6
        ),
        node("MatMul", "y2 Wgate", "gate"),
        node("Sigmoid", "gate", "opened"),
        node("Mul", "gate opened", "silu"),
        node("MatMul", "y2 Wup", "up"),
        node("Mul", "silu up", "gated"),
        node("MatMul", "gated Wdown", "down"),
        helper.make_node(
            "SkipSimplifiedLayerNormalization",
            ["sum", "down", "n3"],
            ["y3", "", "", ""],
            domain=MICROSOFT,
            epsilon=1e-6,
        ),
        node("MatMul", "y3 Whead", "logits"),
    ]
    weights = {"words": network.words.weight, "cos": network.cos[:, : SIZE // 2], "sin": network.sin[:, : SIZE // 2]}
    weights |= {f"n{k}": getattr(network, f"norm{k}").weight for k in (1, 2, 3)}
    weights |= {f"W{n}": getattr(network, n).weight.T for n in ("q", "k", "v", "o", "gate", "up", "down", "head")}
    constants = {n: w.numpy() for n, w in weights.items()} | {"axis": np.array([1]), "one": np.array(1)}
    inputs = {"ids": (TensorProto.INT64, ["batch", "tokens"]), "mask": (TensorProto.INT64, ["batch", "total"])}
    inputs |= {name: (TensorProto.FLOAT, ["batch", SHARED, "past", SIZE]) for name in CACHE}
    outputs = {"logits": (TensorProto.FLOAT, ["batch", "tokens", whole_models.WORDS])}
    outputs |= {name: (TensorProto.FLOAT, ["batch", SHARED, "total", SIZE]) for name in PRESENT}
    return loaded(model_of(nodes, inputs, outputs, constants, domains={MICROSOFT: 1}))


@pytest.fixture(scope="module")
def decoder(network):
    return fused(network)


@pytest.mark.parametrize("method", METHODS)
def test_grouped_attention_with_a_cache_gives_what_plain_operators_do(decoder, plain, method):
    """A cache that nobody gives is empty: the prompt is the beginning."""
    expected = onnxplain.explain(plain, {"ids": IDS}, method, target=TARGET, **METHODS[method])
    feeds = {"ids": IDS, "mask": np.ones_like(IDS)}
    found = onnxplain.explain(decoder, feeds, method, target=TARGET, **METHODS[method])
    assert found.score == pytest.approx(expected.score, rel=1e-5)
    (wanted,) = expected.values.values()
    given = found.values["ids" if "ids" in found.values else "x"]
    np.testing.assert_allclose(given, wanted, atol=1e-5 * np.abs(wanted).max())
    if expected.gap is not None:
        assert found.gap == pytest.approx(expected.gap, abs=1e-5 * abs(expected.score))


@pytest.mark.parametrize("method", ["saliency", "attn-lrp"])
def test_what_the_cache_holds_has_its_part(decoder, method):
    """The key and value of the tokens before, and the tokens that are given: what the whole text has at the latter."""
    whole = {"ids": IDS, "mask": np.ones_like(IDS)}
    first = decoder.predict(
        {"ids": IDS[:, :2], "mask": np.ones((1, 2), np.int64)}
        | dict.fromkeys(CACHE, np.zeros((1, SHARED, 0, SIZE), np.float32))
    )
    feeds = {"ids": IDS[:, 2:], "mask": np.ones_like(IDS)} | {
        n: first[n.replace("past_key_values", "present")] for n in CACHE
    }
    complete = onnxplain.explain(decoder, whole, method, target=TARGET)
    found = onnxplain.explain(decoder, feeds, method, target="logits[2,7]")
    assert found.score == pytest.approx(complete.score, rel=1e-4)
    largest = np.abs(complete.values["x"]).max()
    np.testing.assert_allclose(found.values["x"][:, 2], complete.values["x"][:, 4], atol=1e-5 * largest)
    assert all(np.abs(found.values[name]).max() > 1e-3 * largest for name in CACHE)


def turned(angles, *, spelled):
    """Tokens (5, 8) that are turned by a RotaryEmbedding node, or by a matrix for each token."""
    cos, sin = angles
    turns = np.zeros((5, 8, 8), np.float32)
    for token, (c, s) in enumerate(zip(cos, sin, strict=True)):
        for k in range(4):
            turns[token, k, k], turns[token, k + 4, k + 4] = c[k], c[k]
            turns[token, k + 4, k], turns[token, k, k + 4] = -s[k], s[k]
    rotary = helper.make_node(
        "RotaryEmbedding", ["h", "places", "cos", "sin"], ["t"], domain=MICROSOFT, num_heads=1, rotary_embedding_dim=8
    )
    by_matrix = [
        node("Unsqueeze", "h two", "rows"),
        node("MatMul", "rows turns", "many"),
        node("Squeeze", "many two", "t"),
    ]
    nodes = [
        *(by_matrix if spelled else [rotary]),
        node("Tanh", "t", "u"),
        node("Flatten", "u", "f"),
        node("MatMul", "f head", "y"),
    ]
    rng = np.random.default_rng(3)
    constants = {"W": rng.normal(size=(8, 8)), "head": rng.normal(size=(40, 3)), "cos": cos, "sin": sin, "turns": turns}
    constants = {n: a.astype(np.float32) for n, a in constants.items()} | {
        "two": np.array([2]),
        "places": np.arange(5)[None],
    }
    inputs, outputs = {"x": (TensorProto.FLOAT, ["b", 5, 8])}, {"y": (TensorProto.FLOAT, ["b", 3])}
    return loaded(model_of([node("MatMul", "x W", "h"), *nodes], inputs, outputs, constants, domains={MICROSOFT: 1}))


@pytest.mark.parametrize("method", ["lrp", "attn-lrp", "conservative-lrp", "deeplift"])
def test_rotary_embedding_as_a_node_is_the_linear_map_that_it_is(method):
    rng = np.random.default_rng(4)
    angles, x = rng.normal(size=(2, 5, 4)), rng.normal(size=(1, 5, 8)).astype(np.float32)
    one, other = (
        onnxplain.explain(turned(angles, spelled=spelled), x, method, target="1", **METHODS[method])
        for spelled in (False, True)
    )
    largest = np.abs(other.values["x"]).max()
    np.testing.assert_allclose(one.values["x"], other.values["x"], atol=1e-4 * largest)
    assert one.gap == pytest.approx(0, abs=1e-4 * largest)


def test_rows_whose_cache_is_longer_than_their_text_are_refused(network):
    model = fused(network)  # one that has not been compared with the original yet
    rng = np.random.default_rng(0)
    feeds = {"ids": IDS[:, :1], "mask": np.array([[1, 1, 0]])}
    feeds |= {name: rng.normal(size=(1, SHARED, 2, SIZE)).astype(np.float32) for name in CACHE}
    with pytest.raises(onnxplain.OnnxplainError, match="cannot be spelled out: 'logits' then differs"):
        onnxplain.explain(model, feeds, "attention-map", target="logits[0,7]")
