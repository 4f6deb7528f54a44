"""Relevance through nodes of com.microsoft, as ONNX Runtime's optimiser leaves them, beside plain operators."""

import numpy as np
import pytest
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from gradient_problems import loaded  # noqa: E402
from small_graphs import model_of  # noqa: E402

RNG = np.random.default_rng(0)
WIDTHS = {"words": (20, 8), "places": (10, 8), "qkv": (8, 24), "qkv_bias": (24,), "wo": (8, 8), "bo": (8,), "g": (8,)}
WIDTHS |= {
    "b": (8,),
    "w1": (8, 16),
    "b1": (16,),
    "w2": (16, 8),
    "head": (8, 3),
    "wq": (8, 8),
    "wk": (8, 8),
    "wv": (8, 8),
}
VALUES = {n: (0.5 * RNG.normal(size=s)).astype(np.float32) for n, s in WIDTHS.items()}
IDS = {"ids": np.array([[1, 4, 2, 7, 3]], np.int32)}


def fused(op_type, inputs, output, **given):
    return helper.make_node(op_type, inputs.split(), [output], domain="com.microsoft", **given)


def node(op_type, inputs, output, **given):
    return helper.make_node(op_type, inputs.split(), [output], **given)


def encoder(*, packed, opset=17):
    """One block of a BERT from fused operators."""
    if packed:
        attention = [fused("Attention", "emb qkv qkv_bias", "mixed", num_heads=2)]
    else:
        attention = [node("MatMul", f"emb w{n}", n) for n in "qkv"]
        attention.append(fused("MultiHeadAttention", "q k v qkv_bias", "mixed", num_heads=2))
    ids = ["ids", "", "words", "places", "", "g", "b"]
    nodes = [
        helper.make_node("EmbedLayerNormalization", ids, ["emb", "count"], domain="com.microsoft", epsilon=1e-5),
        *attention,
        node("MatMul", "mixed wo", "o"),
        fused("SkipLayerNormalization", "o emb g b bo", "s1", epsilon=1e-5),
        node("MatMul", "s1 w1", "h"),
        fused("BiasGelu", "h b1", "a"),
        node("MatMul", "a w2", "h2"),
        fused("SkipLayerNormalization", "h2 s1 g b", "s2", epsilon=1e-5),
        node("ReduceMean", "s2", "m", axes=[1], keepdims=0),
        node("MatMul", "m head", "y"),
    ]
    used = {name for n in nodes for name in n.input}
    constants = {n: v for n, v in VALUES.items() if n in used}
    ends = {"ids": (TensorProto.INT32, ["batch", 5])}, {"y": (TensorProto.FLOAT, ["batch", 3])}
    return loaded(model_of(nodes, *ends, constants, opset, domains={"com.microsoft": 1}))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("opset", [13, 17])
def test_deeplift_keeps_the_difference_through_fused_nodes(packed, opset):
    found = onnxplain.explain(encoder(packed=packed, opset=opset), IDS, "deeplift", target=1, baseline=0.0)
    assert set(found.values) == {"emb"}
    assert abs(found.gap) <= 1e-4 * abs(found.score - found.baseline_score)


@pytest.mark.parametrize("packed", [True, False])
def test_relevance_of_fused_nodes_is_accounted_for(packed):
    found = onnxplain.explain(encoder(packed=packed), IDS, "lrp", target=1)
    kept = found.values["emb"].sum() + found.extras["lost"].sum()
    assert kept == pytest.approx(found.score, abs=1e-4 * (abs(found.score) + abs(found.extras["lost"]).sum()))
    forms = " ".join(found.extras["lost_at"])
    assert "s1" in forms
    assert "a/Add" in forms  # the bias before the activation


@pytest.mark.parametrize("packed", [True, False])
def test_channels_behind_fused_nodes_are_ranked_by_their_relevance(packed):
    model = encoder(packed=packed)
    found = onnxplain.analyse(model, IDS, "lrp-pruning", labels=[1], compare=[], preset="uniform")
    ranked = dict(zip(found.arrays["channel"].tolist(), found.arrays["relevance"].tolist(), strict=True))
    explained = onnxplain.explain(model, IDS, "lrp", target=1, wrt="h", preset="uniform")
    expected = np.abs(explained.values["h"][0].sum(0) / explained.score)
    np.testing.assert_allclose([ranked[f"h[{k}]"] for k in range(16)], expected, rtol=1e-4)


def test_a_bias_in_a_gelu_node_keeps_what_it_keeps_outside():
    """BiasGelu is a dense layer's bias and GELU."""
    ends = {"x": (TensorProto.FLOAT, ["batch", 8])}, {"y": (TensorProto.FLOAT, ["batch", 3])}
    constants = {n: VALUES[n] for n in ("w1", "b1", "w2", "head")}
    behind = [node("MatMul", "a w2", "c"), node("MatMul", "c head", "y")]
    one = [node("MatMul", "x w1", "h"), fused("BiasGelu", "h b1", "a"), *behind]
    two = [node("MatMul", "x w1", "h"), node("Add", "h b1", "z"), fused("Gelu", "z", "a"), *behind]
    x = RNG.normal(size=(1, 8)).astype(np.float32)
    for method, given in (("lrp", {}), ("deeplift", {"baseline": 0.0})):
        models = (loaded(model_of(nodes, *ends, constants, domains={"com.microsoft": 1})) for nodes in (one, two))
        first, second = (onnxplain.explain(m, x, method, target=1, **given).values["x"] for m in models)
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_a_node_that_hides_its_attention_is_an_error_only_where_something_comes_back_to_it():
    nodes = [
        node("MatMul", "x wq", "q"),
        fused("GroupQueryAttention", "q q q", "mixed", num_heads=1, kv_num_heads=1, smooth_softmax=1),
        node("ReduceMean", "mixed", "m", axes=[1], keepdims=0),
        node("MatMul", "m head", "y"),
    ]
    nodes[1].input.extend(["", "", "lengths", "total"])
    constants = {n: VALUES[n] for n in ("wq", "head")} | {"lengths": np.int32([4]), "total": np.int32([5])}
    ends = {"x": (TensorProto.FLOAT, [1, 5, 8])}, {"y": (TensorProto.FLOAT, [1, 3])}
    model = loaded(model_of(nodes, *ends, constants, domains={"com.microsoft": 1}))
    x = RNG.normal(size=(1, 5, 8)).astype(np.float32)
    assert np.isfinite(onnxplain.explain(model, x, "lrp", target="y[1]", wrt="m").values["m"]).all()
    with pytest.raises(onnxplain.OnnxplainError, match="no rule for nodes of the kind 'attention'") as caught:
        onnxplain.explain(model, x, "lrp", target="y[1]")
    assert "GroupQueryAttention" in caught.value.where
