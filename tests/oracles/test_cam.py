"""Class activation maps against numbers from papers, other libraries' tests and by hand."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from oracles.graphs import cv, ml
from small_graphs import model_of

CASES = tomllib.loads((Path(__file__).parent / "cam.toml").read_text(encoding="utf-8"))["case"]
A = np.array([[[[1, 2], [3, 0]], [[0, 1], [1, 2]]]], np.float32)
G = np.array([[1, -1, 2, 0.5, -1, 1, 0, 1]])
X = np.array([[[[1, 2], [3, 4]]]], np.float32)
FLOAT = TensorProto.FLOAT
SIX_DIGITS = 1e-5
WITHOUT_GRADIENT = {"ablation-cam", "cam", "eigen-cam", "score-cam"}


def head():
    """The maps go in as they are; the layer is behind a ReLU, which leaves them alone."""
    nodes = [
        helper.make_node("Relu", ["x"], ["A"]),
        helper.make_node("Flatten", ["A"], ["flat"]),
        helper.make_node("Gemm", ["flat", "G"], ["y"], transB=1),
    ]
    ends = {"x": (FLOAT, ["batch", 2, 2, 2])}, {"y": (FLOAT, ["batch", 1])}
    return model_of(nodes, *ends, {"G": G.astype(np.float32)}), A


def pixels():
    """Two logits on the pixels; beside them a layer that is A for any picture, and adds nothing to them."""
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "maps"], ["A"]),
        helper.make_node("Mul", ["A", "zero"], ["none"]),
        helper.make_node("ReduceSum", ["none", "axes"], ["no_sum"], keepdims=0),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W"], ["logits"], transB=1),
        helper.make_node("Add", ["logits", "no_sum"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    weights = {"zero": [0.0], "maps": A, "W": [[1, 0, 0, 2], [0, 1, -1, 0]]}
    constants = {n: np.asarray(a, np.float32) for n, a in weights.items()} | {"axes": np.array([2, 3])}
    ends = {"x": (FLOAT, ["batch", 1, 2, 2])}, {"y": (FLOAT, ["batch", 2])}
    return model_of(nodes, *ends, constants), X


MODELS = {"head": head, "pixels": pixels}


def explained(proto, x, method, wrt, target="0", **settings):
    if method not in WITHOUT_GRADIENT:
        pytest.importorskip("torch")
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    return onnxplain.explain(onnxplain.load(data, device="cpu"), x, method, target=target, wrt=wrt, **settings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['method']}: {case['row']}")
def test_map_and_weights_are_the_oracle(case):
    proto, x = MODELS[case["model"]]()
    found = explained(
        proto, x, case["method"], "A", case.get("target", "0"), upsample=False, **case.get("settings", {})
    )
    assert np.allclose(found.values["A"], np.array(case["expected"])[None, None], rtol=SIX_DIGITS, atol=1e-6)
    assert np.array_equal(found.extras["map"], found.values["A"][0, 0])
    if "weights" in case:
        assert np.allclose(found.extras["weights"], case["weights"], rtol=SIX_DIGITS)


def test_hires_cam_of_a_linear_head_sums_to_the_score():
    proto, x = head()
    found = explained(proto, x, "hires-cam", "A")
    assert found.score == pytest.approx(8)
    assert found.extras["map"].sum() == pytest.approx(8)


def test_grad_cam_of_a_convolution_without_relu():
    """Row 53: channel means of the gradient are 0.75 and -0.5."""
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    found = explained(cv(), image, "grad-cam", "conv1", relu=False, upsample=False)
    assert np.allclose(found.values["conv1"], [[[[11.25, 13.5], [20.25, 22.5]]]])
    assert np.allclose(found.extras["weights"], [0.75, -0.5])
    (conv,) = onnxplain.load(cv(), device="cpu").activations(image, ["conv1"])["conv1"]
    by_channel = found.extras["weights"][:, None, None] * conv
    assert np.allclose(by_channel, [[[-3.75, 3], [23.25, 30]], [[15, 10.5], [-3, -7.5]]])


def test_grad_cam_of_a_dense_layer_is_one_number():
    """Row 55."""
    found = explained(ml(), np.array([[0, 100, 0]], np.float32), "grad-cam", "linear0")
    assert np.allclose(found.values["linear0"], [[400]])
    assert any("not enlarged" in note for note in found.notes)


def test_cam_weighs_pooled_channels_by_the_class():
    """Row 75: pooled 1.5 and 1, score 1.4."""
    maps = np.array([[[[2, 1], [0, 3]], [[1, 0], [2, 1]]]], np.float32)
    nodes = [
        helper.make_node("Relu", ["x"], ["A"]),
        helper.make_node("GlobalAveragePool", ["A"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W", "b"], ["y"], transB=1),
    ]
    weights = {"W": np.array([[0.5, -1], [0.8, 0.2]], np.float32), "b": np.array([3, 0], np.float32)}
    proto = model_of(nodes, {"x": (FLOAT, ["batch", 2, 2, 2])}, {"y": (FLOAT, ["batch", 2])}, weights)
    found = explained(proto, maps, "cam", None, target=1, upsample=False)
    assert found.score == pytest.approx(1.4)
    assert np.allclose(found.values["A"], [[[[1.8, 0.8], [0.4, 2.6]]]])
    assert found.extras["map"].mean() == pytest.approx(found.score)
