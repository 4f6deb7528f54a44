"""Attention found in graphs: the same weights in every spelling, layers in order, and nothing where there is none."""

import numpy as np
import pytest
from onnx import TensorProto

import attention_graphs as spelling
import onnxplain
from attention_graphs import MASKED, MASKS, SPELLINGS, X, node, output_of, spelled, weights_of
from onnxplain.engine.graph.attention import AttentionGraph
from onnxplain.engine.graph.expose import exposed
from onnxplain.engine.internals.attention import count, in_heads
from small_graphs import model_of

FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def opened(proto):
    return onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)


def the_layer(proto):
    (layer,) = AttentionGraph(proto).layers
    return layer


def row_of_weights(proto, feeds):
    """Weights (heads, queries, keys) that the found tensor has for the first row."""
    layer, model = the_layer(proto), opened(proto)
    one = {n: f[:1] for n, f in feeds.items()}
    (row,) = model.rows(one, (layer.weights,))
    return in_heads(row, layer.weights)[0]


@pytest.mark.parametrize("name", SPELLINGS)
def test_weights_are_found_in_every_spelling(name):
    proto = SPELLINGS[name]()
    assert np.allclose(opened(proto).predict({"x": X})["y"], output_of(X), **CLOSE)  # the graph is what it should be
    layer = the_layer(proto)
    assert np.allclose(row_of_weights(proto, {"x": X}), weights_of(X)[0], **CLOSE)
    assert layer.query_inputs == layer.key_inputs == {"x"}
    assert layer.is_self
    assert layer.query
    assert layer.key


@pytest.mark.parametrize("name", MASKS)
def test_weights_are_found_behind_every_mask(name):
    proto, feeds = MASKS[name](), {"x": X[1:], "mask": MASKED[1:]}
    found = row_of_weights(proto, feeds)
    expected = spelling.softmax(
        np.where(
            MASKED[1],
            spelling.split(X[1:] @ spelling.W["Wq"])
            @ spelling.split(X[1:] @ spelling.W["Wk"]).swapaxes(-1, -2)
            * spelling.ROOT,
            -np.inf,
        )
    )[0]
    assert np.allclose(found, expected, **CLOSE)
    assert np.all(found[:, :, 3:] == 0)
    assert the_layer(proto).key_inputs == {"x"}  # the mask holds no tokens


def test_layers_are_in_the_order_of_the_graph():
    first = [*spelling.projected(), *spelling.scaled_scores(), *spelling.softmax_and_values(), *spelling.ending()[:-2]]
    second = [
        node("MatMul", "states Wk", "k2"),
        node("Transpose", "k2", "k2_turned", perm=[0, 2, 1]),
        node("MatMul", "states k2_turned", "product2"),
        node("Softmax", "product2", "weights2", axis=-1),
        node("MatMul", "weights2 states", "mixed2"),
        node("Gather", "mixed2 first", "token", axis=1),
        node("MatMul", "token head", "y"),
    ]
    graph = AttentionGraph(spelled([*first, *second]))
    assert [layer.weights for layer in graph.layers] == ["weights", "weights2"]
    assert [layer.weights for layer in graph.leading_to("product2")] == ["weights"]
    assert [layer.weights for layer in graph.read_by("y")] == ["weights2"]
    assert [layer.weights for layer in AttentionGraph(graph.proto, start="states").leading_to("y")] == ["weights2"]


def cross_attention(*, learned=False):
    """Tokens z, or learned queries, read tokens x."""
    query = "learned" if learned else "z"
    nodes = [
        node("MatMul", "x Wk", "k"),
        node("Transpose", "k", "k_turned", perm=[0, 2, 1]),
        node("MatMul", f"{query} k_turned", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights x", "mixed"),
        node("ReduceMean", "mixed", "y", axes=[1], keepdims=0),
    ]
    inputs = {"x": (FLOAT, ["batch", 5, 4])} | ({} if learned else {"z": (FLOAT, ["batch", 2, 4])})
    constants = {"Wk": spelling.W["Wk"]} | ({"learned": X[0, :3]} if learned else {})
    return model_of(nodes, inputs, {"y": (FLOAT, ["batch", 4])}, constants)


def test_cross_attention_is_told_from_self_attention():
    layer = the_layer(cross_attention())
    assert (set(layer.query_inputs), set(layer.key_inputs), layer.is_self) == ({"z"}, {"x"}, False)
    assert count(cross_attention()) == (0, 1, ())
    assert count(SPELLINGS["scale on q"]()) == (1, 0, ())


def test_learned_queries_are_tokens_of_no_input():
    layer = the_layer(cross_attention(learned=True))
    assert (set(layer.query_inputs), set(layer.key_inputs), layer.is_self) == (set(), {"x"}, False)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("MatMul", "x Wq", "z"), node("Softmax", "z", "p", axis=-1), node("MatMul", "x Wv", "experts"),
         node("Transpose", "experts", "by_expert", perm=[0, 2, 1]), node("MatMul", "p by_expert", "y")],
        [node("MatMul", "x Wq", "z"), node("Softmax", "z", "p", axis=-1), node("ReduceMean", "p", "y", axes=[1])],
        [node("MatMul", "x Wq", "z"), node("Softmax", "z", "p", axis=-1), node("MatMul", "p Wv", "y")],
        [node("Softmax", "x", "p", axis=1), node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "t p", "y")],
        [node("Shape", "x", "s"), node("Cast", "s", "f", to=FLOAT), node("Softmax", "f", "p", axis=-1),
         node("MatMul", "p Wx", "c"), node("Add", "x c", "y")],
    ],
    ids=[
        "mixture of experts",
        "softmax at the end",
        "weights times constants",
        "softmax over tokens of their own features",
        "shapes only",
    ],
)  # fmt: skip
def test_other_softmaxes_are_no_attention(nodes):
    constants = {n: spelling.W[n] for n in ("Wq", "Wv")} | {"Wx": np.ones((3, 4), np.float32)}
    used = {name for n in nodes for name in n.input}
    kept = {n: a for n, a in constants.items() if n in used}
    proto = model_of(nodes, {"x": (FLOAT, ["batch", 5, 4])}, {"y": (FLOAT, None)}, kept)
    assert AttentionGraph(proto).layers == ()


QKV = np.concatenate([spelling.W[f"W{n}"] for n in "qkv"], axis=1)


def microsoft(mask=None, mask_value=None, *, bias=1.0, **attributes):
    """Attention of com.microsoft; ``mask`` are the axes of its mask. Without a bias ONNX Runtime crashes."""
    names = ["x", "QKV", "bias", "mask" if mask else ""]
    nodes = [
        node_of("Attention", names, "flat", domain="com.microsoft", num_heads=2, **attributes),
        *spelling.residual("flat"),
    ]
    inputs = {"x": (FLOAT, ["batch", 5, 4])} | ({"mask": (INT32, mask)} if mask else {})
    constants = {"QKV": QKV, "Wo": spelling.W["Wo"], "head": spelling.HEAD, "first": np.array(0)}
    constants |= {"bias": bias * np.linspace(-1, 1, 12, dtype=np.float32)}
    return model_of(nodes, inputs, {"y": (FLOAT, ["batch", 3])}, constants, domains={"com.microsoft": 1}), mask_value


def node_of(op_type, inputs, output, **attributes):
    made = node(op_type, "", output, **attributes)
    made.input.extend(inputs)
    while made.input and not made.input[-1]:
        made.input.pop()
    return made


PAIRS = np.stack([np.tril(np.ones((5, 5), np.int32)), np.ones((5, 5), np.int32)])
MICROSOFT = {
    "plain": microsoft,
    "biases of zero": lambda: microsoft(bias=0),
    "scale": lambda: microsoft(scale=0.3),
    "causal": lambda: microsoft(unidirectional=1),
    "mask of keys": lambda: microsoft(["batch", 5], MASKED.astype(np.int32)),
    "mask of lengths": lambda: microsoft(["batch"], np.array([5, 3], np.int32)),
    "mask of pairs": lambda: microsoft(["batch", 5, 5], PAIRS),
    "other filter": lambda: microsoft(["batch", 5], MASKED.astype(np.int32), mask_filter_value=-3.0),
}


def agree(proto, feeds):
    """The spelled-out graph gives what the original does; return its only layer and its model."""
    found = exposed(proto)
    assert found.closed == ()
    assert found.proto is not proto
    one, other = opened(proto), opened(found.proto)
    for name, rows in one.predict(feeds).items():
        assert np.allclose(other.predict(feeds)[name], rows, **CLOSE)
    return the_layer(found.proto), other


@pytest.mark.parametrize("name", MICROSOFT)
def test_attention_of_microsoft_is_spelled_out(name):
    proto, mask = MICROSOFT[name]()
    feeds = {"x": X} | ({} if mask is None else {"mask": mask})
    layer, model = agree(proto, feeds)
    (rows,) = model.rows(feeds, (layer.weights,))
    assert np.allclose(rows.sum(-1), 1)
    if name == "biases of zero":
        assert np.allclose(rows, weights_of(X), **CLOSE)
    if name == "causal":
        assert np.all(np.triu(rows, 1) == 0)
    if name == "mask of lengths":
        assert np.all(rows[1, :, :, 3:] < 1e-12)


def multi_head(inputs, kinds, *, constants=None, **attributes):
    nodes = [
        node_of("MultiHeadAttention", inputs, "flat", domain="com.microsoft", num_heads=2, **attributes),
        *spelling.residual("flat"),
    ]
    stored = {"Wo": spelling.W["Wo"], "head": spelling.HEAD, "first": np.array(0)} | (constants or {})
    ends = {"x": (FLOAT, ["batch", 5, 4])} | kinds
    return model_of(nodes, ends, {"y": (FLOAT, ["batch", 3])}, stored, domains={"com.microsoft": 1})


def test_multi_head_attention_is_spelled_out():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(2, 5, 4)).astype(np.float32)
    bias = {"bias": np.linspace(-1, 1, 12, dtype=np.float32)}
    plain = multi_head(["x", "z", "z", "bias"], {"z": (FLOAT, ["batch", 5, 4])}, constants=bias)
    layer, _ = agree(plain, {"x": X, "z": z})
    assert (set(layer.query_inputs), set(layer.key_inputs)) == ({"x"}, {"z"})
    masked = multi_head(
        ["x", "z", "z", "", "mask"], {"z": (FLOAT, ["batch", 5, 4]), "mask": (INT32, ["batch", 5])}, scale=0.5
    )
    agree(masked, {"x": X, "z": z, "mask": MASKED.astype(np.int32)})
    heads = rng.normal(size=(2, 2, 7, 2)).astype(np.float32)
    added = {"added": rng.normal(size=(1, 2, 5, 7)).astype(np.float32)}
    in_four = multi_head(["x", "k", "k", "", "", "added"], {"k": (FLOAT, ["batch", 2, 7, 2])}, constants=added)
    agree(in_four, {"x": X, "k": heads})


def standard(inputs, kinds, *, constants=None, opset=23, **attributes):
    nodes = [
        node_of("Attention", inputs, "flat", **attributes),
        node("Gather", "flat first", "token", axis=1),
        node("Flatten", "token", "y"),
    ]
    ends = {n: (FLOAT, axes) for n, axes in kinds.items()}
    return model_of(
        nodes, ends, {"y": (FLOAT, ["batch", None])}, {"first": np.array(0)} | (constants or {}), opset=opset
    )


@pytest.mark.parametrize(
    ("settings", "constants"),
    [
        ({}, {}),
        ({"is_causal": 1}, {}),
        ({"scale": 0.2, "softcap": 2.0}, {}),
        ({}, {"mask": np.where(MASKED[1], 0, -np.inf).astype(np.float32)[None].repeat(5, 0)}),
        ({}, {"mask": MASKED[1][None].repeat(5, 0)}),
    ],
    ids=["plain", "causal", "scale and softcap", "mask that is added", "mask of truth values"],
)
def test_attention_of_onnx_is_spelled_out(settings, constants):
    inputs = ["q", "k", "v", *constants]
    kinds = {"q": ["batch", 5, 8], "k": ["batch", 5, 4], "v": ["batch", 5, 4]}
    rng = np.random.default_rng(3)
    feeds = {n: rng.normal(size=(2, *axes[1:])).astype(np.float32) for n, axes in kinds.items()}
    proto = standard(inputs, kinds, constants=constants, q_num_heads=4, kv_num_heads=2, **settings)
    layer, model = agree(proto, feeds)
    (rows,) = model.rows(feeds, (layer.weights,))
    assert rows.shape == (2, 4, 5, 5)
    assert np.allclose(rows.sum(-1), 1, atol=1e-5)


def test_what_cannot_be_spelled_out_is_told():
    cached, _ = microsoft()
    cached.graph.node[0].output.append("present")
    cached.graph.output.append(onnx_output("present"))
    (reason,) = exposed(cached).closed
    assert "'Attention' node 'flat'" in reason
    assert "cache of keys and values" in reason
    paged = multi_head(["x", "x", "x"], {})
    paged.graph.node[0].op_type = "PagedAttention"
    assert "weights cannot be had" in exposed(paged).closed[0]
    assert count(paged)[:2] == (0, 0)


def onnx_output(name):
    from onnx import ValueInfoProto

    return ValueInfoProto(name=name)


def test_a_graph_without_attention_nodes_is_left_as_it_is():
    proto = SPELLINGS["scale on q"]()
    assert exposed(proto).proto is proto


@pytest.mark.parametrize("bias", [True, False])
def test_residual_sums_with_their_normalisation_are_spelled_out(bias):
    """Two of them, as ONNX Runtime's own optimiser makes them; the sum itself is the fourth output."""
    names = ["x", "flat", "g", "b", *(["added"] if bias else [])]
    nodes = [
        *microsoft()[0].graph.node[:1],
        node_of("SkipLayerNormalization", names, "normal", domain="com.microsoft", epsilon=1e-5),
        node_of("SkipSimplifiedLayerNormalization", ["sum", "normal", "g"], "last", domain="com.microsoft"),
        node("Gather", "last first", "token", axis=1),
        node("MatMul", "token head", "y"),
    ]
    nodes[1].output.extend(["", "", "sum"])
    rng = np.random.default_rng(4)
    constants = {n: rng.normal(size=4).astype(np.float32) for n in ("g", "b", "added")}
    constants |= {"QKV": QKV, "bias": np.zeros(12, np.float32), "head": spelling.HEAD, "first": np.array(0)}
    ends = {"x": (FLOAT, ["batch", 5, 4])}, {"y": (FLOAT, ["batch", 3])}
    proto = model_of(nodes, *ends, constants, domains={"com.microsoft": 1})
    agree(proto, {"x": X})
    assert {n.op_type for n in exposed(proto).proto.graph.node} >= {
        "LayerNormalization",
        "SimplifiedLayerNormalization",
    }
