"""Attention methods against numbers worked out by hand."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from small_graphs import model_of

ORACLES = tomllib.loads((Path(__file__).parent / "attention.toml").read_text(encoding="utf-8"))
CASES = ORACLES["case"]
FLOAT = TensorProto.FLOAT
LAYERS = np.array(
    [
        [[[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]], [[0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [0.5, 0.3, 0.2]]],
        [[[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], [[0.1, 0.7, 0.2], [0.3, 0.2, 0.5], [0.1, 0.1, 0.8]]],
    ]
)
SIX_DIGITS = 1e-5


def attention(number, source, constants, weights):
    """Nodes that attend with given weights, whatever the tokens (1, N, D): the product of queries and keys counts zero.

    Values are the tokens themselves, the same in each head.
    """
    constants |= {
        f"log{number}": np.log(np.asarray(weights, np.float32))[None],
        "zero": np.zeros(1, np.float32),
        "axis": np.array([1]),
    }
    return [
        helper.make_node("Unsqueeze", [source, "axis"], [f"tokens{number}"]),
        helper.make_node("Transpose", [f"tokens{number}"], [f"key{number}"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", [f"tokens{number}", f"key{number}"], [f"product{number}"]),
        helper.make_node("Mul", [f"product{number}", "zero"], [f"scaled{number}"]),
        helper.make_node("Add", [f"scaled{number}", f"log{number}"], [f"scores{number}"]),
        helper.make_node("Softmax", [f"scores{number}"], [f"weights{number}"], axis=-1),
    ]


def two_layers():
    constants = {"sum": np.array([1]), "first": np.array([0])}
    nodes, states = [], "x"
    for number, factors in ((1, [1, -1]), (2, [2, 0.5])):
        constants[f"v{number}"] = np.array(factors, np.float32).reshape(1, 2, 1, 1)
        nodes += [
            *attention(number, states, constants, LAYERS[number - 1]),
            helper.make_node("MatMul", [f"weights{number}", f"tokens{number}"], [f"mixed{number}"]),
            helper.make_node("Mul", [f"mixed{number}", f"v{number}"], [f"weighed{number}"]),
            helper.make_node("ReduceSum", [f"weighed{number}", "sum"], [f"added{number}"], keepdims=0),
            helper.make_node("Add", [states, f"added{number}"], [f"x{number}"]),
        ]
        states = f"x{number}"
    nodes.append(helper.make_node("Gather", [states, "first"], ["row"], axis=1))
    nodes.append(helper.make_node("Flatten", ["row"], ["y"]))
    proto = model_of(nodes, {"x": (FLOAT, ["batch", 3, 1])}, {"y": (FLOAT, ["batch", 1])}, constants)
    return proto, np.array([[[1], [2], [-1]]], np.float32)


def one_layer():
    """Each head has one column of the tokens (1, 2, 2) as its values."""
    constants = {
        "turn": np.array([0, 0, 2, 1]),
        "u": np.array([1, 2], np.float32).reshape(1, 2, 1, 1),
        "sum": np.array([1]),
        "first": np.array([0]),
    }
    weights = [[[1 / 4, 3 / 4], [1 / 2, 1 / 2]], [[2 / 3, 1 / 3], [1 / 2, 1 / 2]]]
    nodes = [
        *attention(1, "x", constants, weights),
        helper.make_node("Transpose", ["tokens1"], ["by_column"], perm=[0, 3, 2, 1]),
        helper.make_node("MatMul", ["weights1", "by_column"], ["mixed"]),
        helper.make_node("Mul", ["mixed", "u"], ["weighed"]),
        helper.make_node("ReduceSum", ["weighed", "sum"], ["added"], keepdims=0),
        helper.make_node("Gather", ["added", "first"], ["row"], axis=1),
        helper.make_node("Flatten", ["row"], ["y"]),
    ]
    proto = model_of(nodes, {"x": (FLOAT, ["batch", 2, 2])}, {"y": (FLOAT, ["batch", 1])}, constants)
    return proto, np.array([[[1, 3], [-2, 1]]], np.float32)


MODELS = {"two-layers": two_layers, "one-layer": one_layer}
WITHOUT_GRADIENT = {"attention-map", "attention-rollout"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['method']}: {case['row']}")
def test_relevance_of_tokens_is_the_oracle(case):
    if case["method"] not in WITHOUT_GRADIENT:
        pytest.importorskip("torch")
    proto, x = MODELS[case["model"]]()
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    found = onnxplain.explain(model, x, case["method"], target="0", **case.get("settings", {}))
    assert found.extras["rows"].tolist() == [0]
    assert np.allclose(found.extras["matrix"], case["matrix"], rtol=SIX_DIGITS, atol=1e-6)
    assert np.allclose(found.extras["tokens"], case["tokens"], rtol=SIX_DIGITS)
    assert np.allclose(found.values["x"], np.broadcast_to(np.array(case["tokens"])[None, :, None], x.shape), rtol=1e-5)
    if "score" in case:
        assert found.score == pytest.approx(case["score"], rel=SIX_DIGITS)


def test_map_of_a_head_is_its_weights():
    proto, x = two_layers()
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    for layer in (0, 1):
        for head in (0, 1):
            found = onnxplain.explain(model, x, "attention-map", target="0", layer=layer, head=head)
            assert np.allclose(found.extras["matrix"], LAYERS[layer, head], rtol=SIX_DIGITS)


def softmax(x, weights):
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], axis=-1),
        helper.make_node("Gemm", ["s", "c"], ["y"], transB=1),
    ]
    constants = {"c": np.array([weights], np.float32)}
    ends = {"x": (FLOAT, ["batch", len(x)])}, {"y": (FLOAT, ["batch", 1])}
    return model_of(nodes, *ends, constants), {"x": np.array([x], np.float32)}


def bilinear():
    A, V, R = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[1.0, -2], [3, 1]]), np.array([[2.0, 1], [-1, 4]])
    nodes = [
        helper.make_node("MatMul", ["A", "V"], ["O"]),
        helper.make_node("Flatten", ["O"], ["flat"]),
        helper.make_node("Gemm", ["flat", "c"], ["y"], transB=1),
    ]
    ends = {n: (FLOAT, ["batch", 2, 2]) for n in "AV"}, {"y": (FLOAT, ["batch", 1])}
    proto = model_of(nodes, *ends, {"c": (R / (A @ V)).reshape(1, 4).astype(np.float32)})
    return proto, {"A": A[None].astype(np.float32), "V": V[None].astype(np.float32)}


def layer_norm():
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "b"], ["normal"], epsilon=0.0),
        helper.make_node("Gemm", ["normal", "v"], ["y"], transB=1),
    ]
    constants = {"g": np.ones(4, np.float32), "b": np.zeros(4, np.float32), "v": np.array([[1, 2, 3, 4]], np.float32)}
    proto = model_of(nodes, {"x": (FLOAT, ["batch", 4])}, {"y": (FLOAT, ["batch", 1])}, constants)
    return proto, {"x": np.array([[1, 1, 3, 3]], np.float32)}


def products():
    """Scores x_i x_j, values 3 x_j, query 0."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["keys"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "keys"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["x", "three"], ["values"]),
        helper.make_node("MatMul", ["weights", "values"], ["mixed"]),
        helper.make_node("Gather", ["mixed", "first"], ["row"], axis=1),
        helper.make_node("Flatten", ["row"], ["y"]),
    ]
    constants = {"three": np.full((1, 1), 3, np.float32), "first": np.array([0])}
    proto = model_of(nodes, {"x": (FLOAT, ["batch", 2, 1])}, {"y": (FLOAT, ["batch", 1])}, constants)
    return proto, {"x": np.array([[[1], [3]]], np.float32)}


RELEVANCE = {
    "softmax": lambda: softmax(np.log([2, 6]) + 1, [8, 4 / 3]),
    "softmax-of-three": lambda: softmax(np.log([1, 2, 5]), [8, -4, 3.2]),
    "bilinear": bilinear,
    "layer-norm": layer_norm,
    "attention": products,
}


@pytest.mark.parametrize("case", ORACLES["relevance"], ids=lambda case: f"{case['method']}: {case['row']}")
def test_relevance_is_the_oracle(case):
    pytest.importorskip("torch")
    proto, feeds = RELEVANCE[case["model"]]()
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    found = onnxplain.explain(model, feeds, case["method"], target="0", epsilon=0.0, **case.get("settings", {}))
    assert found.values.keys() == case["expected"].keys()
    for name, expected in case["expected"].items():
        assert np.allclose(found.values[name].reshape(np.shape(expected)), expected, rtol=1e-5, atol=1e-5)
    if "score" in case:
        assert found.score == pytest.approx(case["score"], rel=SIX_DIGITS)
        assert found.gap == pytest.approx(0, abs=1e-5)
