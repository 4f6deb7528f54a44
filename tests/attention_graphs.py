"""Attention as exporters spell it: one layer on tokens (batch, 5, 4) with two heads, in many spellings."""

import numpy as np
from onnx import TensorProto, helper

from small_graphs import model_of

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
TOKENS, WIDTH, HEADS, SIZE = 5, 4, 2, 2
RNG = np.random.default_rng(5)
W = {n: RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32) for n in ("Wq", "Wk", "Wv", "Wo")}
HEAD = RNG.normal(size=(WIDTH, 3)).astype(np.float32)
X = RNG.normal(size=(2, TOKENS, WIDTH)).astype(np.float32)
MASKED = np.array([[True] * 5, [True, True, True, False, False]])  # keys that may be read, per row
ROOT = np.float32(1 / np.sqrt(SIZE))


def split(array, heads=HEADS):
    """(B, L, heads * size) -> (B, heads, L, size)."""
    return array.reshape(len(array), array.shape[1], heads, -1).transpose(0, 2, 1, 3)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def weights_of(x, *, masked=False, causal=False):
    """The weights (B, heads, L, L) that all spellings have."""
    q, k = split(x @ W["Wq"]), split(x @ W["Wk"])
    logits = q @ k.swapaxes(-1, -2) * ROOT
    if masked:
        logits = np.where(MASKED[: len(x), None, None, :], logits, -1e9)
    if causal:
        logits = np.where(np.tril(np.ones((TOKENS, TOKENS), bool)), logits, -np.inf)
    return softmax(logits)


def output_of(x, **settings):
    """The logits (B, 3) of the class token."""
    mixed = (weights_of(x, **settings) @ split(x @ W["Wv"])).transpose(0, 2, 1, 3).reshape(x.shape)
    return ((x + mixed @ W["Wo"])[:, 0]) @ HEAD


def node(op_type, inputs, output, **attributes):
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def projected(*, scale_on="", source="x"):
    """Queries (B, H, L, d), keys transposed (B, H, d, L) and values from tokens; ``scale_on`` is q, k or both."""
    nodes = [
        *(node("MatMul", f"{source} W{n}", f"{n}_flat") for n in "qkv"),
        *(node("Reshape", f"{n}_flat in_heads", f"{n}_split") for n in "qkv"),
        node("Transpose", "q_split", "q_plain", perm=[0, 2, 1, 3]),
        node("Transpose", "k_split", "k_plain", perm=[0, 2, 3, 1]),
        node("Transpose", "v_split", "v", perm=[0, 2, 1, 3]),
    ]
    for name in "qk":
        factor = {"both": "quarter", name: "root"}.get(scale_on)
        nodes.append(node("Mul", f"{name}_plain {factor}", name) if factor else node("Identity", f"{name}_plain", name))
    return nodes


def ending(mixed="mixed"):
    """Heads merged, projected and added to the tokens; the class token is classified."""
    return [
        node("Transpose", mixed, "turned", perm=[0, 2, 1, 3]),
        node("Reshape", "turned merged", "flat"),
        *residual("flat"),
    ]


def residual(flat):
    return [
        node("MatMul", f"{flat} Wo", "out"),
        node("Add", "x out", "states"),
        node("Gather", "states first", "token", axis=1),
        node("MatMul", "token head", "y"),
    ]


CONSTANTS = W | {
    "head": HEAD,
    "in_heads": np.array([0, 0, HEADS, SIZE]),
    "merged": np.array([0, 0, WIDTH]),
    "first": np.array(0),
    "root": ROOT,
    "quarter": np.float32(SIZE**-0.25),
    "divisor": np.float32(np.sqrt(SIZE)),
    "one": np.float32(1),
    "lowest": np.float32(-1e9),
    "zero": np.float32(0),
    "axes12": np.array([1, 2]),
    "axis1": np.array([1]),
    "last": np.array([-1]),
}


def spelled(nodes, *, masked=False, opset=17, constants=None, domains=None):
    inputs = {"x": (FLOAT, ["batch", TOKENS, WIDTH])} | ({"mask": (BOOL, ["batch", TOKENS])} if masked else {})
    used = {name for n in nodes for name in n.input}
    kept = {name: array for name, array in (CONSTANTS | (constants or {})).items() if name in used}
    return model_of(nodes, inputs, {"y": (FLOAT, ["batch", 3])}, kept, opset=opset, domains=domains)


def scaled_scores():
    return [node("MatMul", "q k", "product"), node("Mul", "product root", "scores")]


def softmax_and_values(scores="scores"):
    return [node("Softmax", scores, "weights", axis=-1), node("MatMul", "weights v", "mixed")]


def additive_mask():
    """``(1 - mask) * -1e9`` as in BERT."""
    return [
        node("Unsqueeze", "mask axes12", "wide"),
        node("Cast", "wide", "number", to=FLOAT),
        node("Sub", "one number", "hidden"),
        node("Mul", "hidden lowest", "added"),
    ]


def where_mask():
    return [node("Unsqueeze", "mask axes12", "wide"), node("Where", "wide zero lowest", "added")]


def merged_heads():
    """Heads in the batch axis: (B H, L, d)."""
    to_batch = {"in_batch": np.array([-1, TOKENS, SIZE]), "key_in_batch": np.array([-1, SIZE, TOKENS])}
    nodes = [
        *projected(scale_on="q"),
        node("Reshape", "q in_batch", "q3"),
        node("Reshape", "k key_in_batch", "k3"),
        node("Reshape", "v in_batch", "v3"),
        node("MatMul", "q3 k3", "product"),
        node("Softmax", "product", "weights", axis=2),
        node("MatMul", "weights v3", "mixed3"),
        node("Reshape", "mixed3 heads_again", "mixed"),
        *ending(),
    ]
    return spelled(nodes, constants=to_batch | {"heads_again": np.array([-1, HEADS, TOKENS, SIZE])})


def by_einsum():
    nodes = [
        *(node("MatMul", f"x W{n}", f"{n}_flat") for n in "qkv"),
        *(node("Reshape", f"{n}_flat in_heads", n) for n in "qkv"),
        node("Einsum", "q k", "product", equation="blhd,bshd->bhls"),
        node("Mul", "product root", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("Einsum", "weights v", "mixed", equation="bhls,bshd->blhd"),
        node("Reshape", "mixed merged", "flat"),
        *residual("flat"),
    ]
    return spelled(nodes)


def with_weights_turned():
    """Values times weights, both transposed, as in non-local networks."""
    nodes = [
        *projected(),
        *scaled_scores(),
        node("Softmax", "scores", "weights", axis=-1),
        node("Transpose", "weights", "turned_weights", perm=[0, 1, 3, 2]),
        node("Transpose", "v", "v_turned", perm=[0, 1, 3, 2]),
        node("MatMul", "v_turned turned_weights", "mixed_turned"),
        node("Transpose", "mixed_turned", "turned", perm=[0, 3, 1, 2]),
        node("Reshape", "turned merged", "flat"),
        *residual("flat"),
    ]
    return spelled(nodes)


def with_softmax_spelled_out(*, shifted):
    top = [node("ReduceMax", "scores", "top", axes=[-1], keepdims=1), node("Sub", "scores top", "low")]
    nodes = [
        *projected(),
        *scaled_scores(),
        *(top if shifted else []),
        node("Exp", "low" if shifted else "scores", "power"),
        node("ReduceSum", "power last", "total", keepdims=1),
        node("Div", "power total", "weights"),
        node("MatMul", "weights v", "mixed"),
        *ending(),
    ]
    return spelled(nodes)


def with_casts_and_dropout():
    nodes = [
        *projected(scale_on="both"),
        node("MatMul", "q k", "product"),
        node("Cast", "product", "wide_scores", to=TensorProto.DOUBLE),
        node("Identity", "wide_scores", "scores"),
        node("Softmax", "scores", "soft", axis=-1),
        node("Cast", "soft", "narrow", to=FLOAT),
        node("Dropout", "narrow", "weights"),
        node("MatMul", "weights v", "mixed"),
        *ending(),
    ]
    return spelled(nodes)


PRODUCT = node("MatMul", "q k", "product")
SCORES = node("MatMul", "q k", "scores")


def around(*nodes, scale_on="", masked=False, opset=17):
    """A graph of projections, the nodes that make weights and mix values, and the end."""
    return spelled([*projected(scale_on=scale_on), *nodes, *ending()], masked=masked, opset=opset)


def behind_mask(*nodes, by=additive_mask):
    return around(*by(), *nodes, masked=True)


def widened():
    return [node("Unsqueeze", "mask axes12", "wide")]


SPELLINGS = {
    "scale on scores": lambda: around(*scaled_scores(), *softmax_and_values()),
    "scale by division": lambda: around(PRODUCT, node("Div", "product divisor", "scores"), *softmax_and_values()),
    "scale on q": lambda: around(SCORES, *softmax_and_values(), scale_on="q"),
    "scale on k": lambda: around(SCORES, *softmax_and_values(), scale_on="k"),
    "scale on both": lambda: around(SCORES, *softmax_and_values(), scale_on="both"),
    "casts and dropout": with_casts_and_dropout,
    "merged heads": merged_heads,
    "einsum": by_einsum,
    "weights turned": with_weights_turned,
    "softmax spelled out": lambda: with_softmax_spelled_out(shifted=False),
    "softmax spelled out, shifted": lambda: with_softmax_spelled_out(shifted=True),
    "old softmax with an axis": lambda: around(
        *scaled_scores(), node("Softmax", "scores", "weights", axis=3), node("MatMul", "weights v", "mixed"), opset=12
    ),
}
MASKS = {
    "mask added after scaling": lambda: behind_mask(
        *scaled_scores(), node("Add", "scores added", "masked"), *softmax_and_values("masked")
    ),
    "mask added before scaling": lambda: behind_mask(
        PRODUCT, node("Add", "added product", "masked"), node("Mul", "masked root", "scores"), *softmax_and_values()
    ),
    "mask by Where, added": lambda: behind_mask(
        *scaled_scores(), node("Add", "scores added", "masked"), *softmax_and_values("masked"), by=where_mask
    ),
    "scores masked by Where": lambda: behind_mask(
        *scaled_scores(), node("Where", "wide scores lowest", "masked"), *softmax_and_values("masked"), by=widened
    ),
}
