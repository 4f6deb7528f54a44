"""Gradients that are NaN or infinite: where torch has them the twin has them, and no method shows them as numbers."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from gradient_problems import loaded
from onnxplain.engine.errors import ModelError
from small_graphs import model_of

torch = pytest.importorskip("torch")

FLOAT = TensorProto.FLOAT
ZERO = {"zero": np.float32(0), "power": np.float32(-0.5), "half": np.float32(0.5), "axis": np.array([1])}
node = helper.make_node


def rows(*nodes):
    """A graph from x (rows, 4) to y."""
    used = {name for one in nodes for name in one.input}
    constants = {name: value for name, value in ZERO.items() if name in used}
    return loaded(model_of(nodes, {"x": (FLOAT, ["b", 4])}, {"y": (FLOAT, ["b", None])}, constants, opset=18))


def where(*nodes):
    """``x > 0 ? inner : 0``, where the nodes make "inner"."""
    return rows(node("Greater", ["x", "zero"], ["is"]), *nodes, node("Where", ["is", "inner", "zero"], ["y"]))


def chosen(function):
    return lambda x: torch.where(x > 0, function(x), torch.zeros(()))


CASES = {
    "Log": (where(node("Log", ["x"], ["inner"])), chosen(torch.log)),
    "Pow": (where(node("Pow", ["x", "power"], ["inner"])), chosen(lambda x: x**-0.5)),
    "Reciprocal": (where(node("Reciprocal", ["x"], ["inner"])), chosen(torch.reciprocal)),
    "Sqrt": (rows(node("Sqrt", ["x"], ["y"])), torch.sqrt),
    "root": (rows(node("Pow", ["x", "half"], ["y"])), lambda x: x**0.5),
    "norm": (
        rows(node("ReduceL2", ["x", "axis"], ["y"], keepdims=1)),
        lambda x: torch.linalg.vector_norm(x, 2, 1, keepdim=True),
    ),
    "rectified": (rows(node("Relu", ["x"], ["r"]), node("Sqrt", ["r"], ["y"])), lambda x: torch.sqrt(torch.relu(x))),
    "masked": (
        where(node("Softmax", ["x"], ["inner"])),
        chosen(lambda x: torch.softmax(x, -1)),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("x", [(0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 4.0, 9.0), (2.0, 1.0, 4.0, 9.0)])
def test_what_torch_gives_is_given_or_refused(name, x):
    model, original = CASES[name]
    given = torch.tensor([x], requires_grad=True)
    (expected,) = torch.autograd.grad(original(given)[0, 0], given)
    row = np.array([x], np.float32)
    if bool(torch.isfinite(expected).all()):
        found = onnxplain.explain(model, row, "saliency", target="y[0]").values["x"]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
        return
    operator = {"root": "Pow"}.get(name, name)
    with pytest.raises(ModelError, match=r"gradient of 'y\[0\]' at 'x' holds NaN or infinity") as refusal:
        onnxplain.explain(model, row, "saliency", target="y[0]")
    assert refusal.value.where.startswith(f"it arises at {operator} ")
    assert refusal.value.where.endswith("tensor 'x'")


def test_the_operator_behind_others_is_named():
    """``f(x) = exp(log(|x|))`` at 0: the derivative of the logarithm is infinite, that of the absolute value 0."""
    model = rows(
        node("Abs", ["x"], ["size"]),
        node("Log", ["size"], ["log"], name="the log"),
        node("Greater", ["x", "zero"], ["is"]),
        node("Where", ["is", "log", "zero"], ["some"]),
        node("Tanh", ["some"], ["y"]),
    )
    with pytest.raises(ModelError) as refusal:
        onnxplain.explain(model, np.array([[0, 1, 2, 3]], np.float32), "input-x-gradient", target="y[0]")
    assert refusal.value.where == "it arises at Log (version 13) at 'the log', on the way back to tensor 'size'"


@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-shap", "taylor", "guided-integrated-gradients"])
def test_a_bad_point_on_the_way_is_told(method):
    """The way from 0 to the sample begins where the root has no derivative."""
    settings = {"rule": "riemann-left"} if method == "integrated-gradients" else {}
    model, _ = CASES["Sqrt"]
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        onnxplain.explain(model, np.zeros((1, 4), np.float32), method, target="y[0]", baseline=0, **settings)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "layer-cam", "hires-cam", "xgrad-cam"])
def test_no_map_is_drawn_of_them(method):
    nodes = [
        node("Conv", ["x", "W"], ["layer"]),
        node("Abs", ["layer"], ["size"]),
        node("Sqrt", ["size"], ["root"]),
        node("GlobalAveragePool", ["root"], ["mean"]),
        node("Flatten", ["mean"], ["y"]),
    ]
    weights = {"W": np.ones((2, 1, 3, 3), np.float32)}
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 1, 8, 8])}, {"y": (FLOAT, ["b", 2])}, weights))
    with pytest.raises(ModelError, match="at 'layer' holds NaN or infinity") as refusal:
        onnxplain.explain(model, np.zeros((1, 1, 8, 8), np.float32), method, target="y[0]", wrt="layer")
    assert "Abs" in refusal.value.where or "Sqrt" in refusal.value.where
