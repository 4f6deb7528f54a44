"""bfloat16: graphs that compute in it are computed in float32, weights and inputs keep their values."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain.engine import graph
from onnxplain.engine.errors import ModelError
from onnxplain.engine.graph import widen
from small_graphs import model_of

FLOAT, BRAIN = TensorProto.FLOAT, TensorProto.BFLOAT16
RNG = np.random.default_rng(2)
W = RNG.normal(size=(4, 3)).astype(ml_dtypes.bfloat16)
X = RNG.normal(size=(5, 4)).astype(ml_dtypes.bfloat16).astype(np.float32)
EXPECTED = np.maximum(X @ W.astype(np.float32) + 0.5, 0)


def dense(source="x", result="y"):
    half = helper.make_tensor("half", BRAIN, [1], [0.5])
    return [
        helper.make_node("Constant", [], ["b"], value=half),
        helper.make_node("MatMul", [source, "W"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("Relu", ["sum"], [result]),
    ]


def narrow():
    """Inputs and outputs in bfloat16."""
    return model_of(dense(), {"x": (BRAIN, ["n", 4])}, {"y": (BRAIN, ["n", 3])}, {"W": W})


def narrow_inside():
    """float32 outside, bfloat16 between two Casts; also inside the branches of an If."""
    nodes = [helper.make_node("Cast", ["x"], ["low"], to=BRAIN), *dense("low", "made")]
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["made"], [name])], name, [], [helper.make_tensor_value_info(name, BRAIN, None)]
        )
        for name, op in (("then", "Identity"), ("else", "Neg"))
    }
    nodes += [
        helper.make_node("ReduceMax", ["made"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["wide"], to=FLOAT),
        helper.make_node("Greater", ["wide", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["chosen"], **branches),
        helper.make_node("Cast", ["chosen"], ["y"], to=FLOAT),
    ]
    return model_of(nodes, {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", 3])}, {"W": W, "zero": np.float32(0)})


@pytest.mark.parametrize("build", [narrow, narrow_inside])
def test_a_model_in_bfloat16_is_computed_in_float32(build):
    model = onnxplain.load(build().SerializeToString(), device="cpu")
    assert model.is_widened
    np.testing.assert_allclose(model.predict(X)["y"], EXPECTED, rtol=1e-6)
    np.testing.assert_allclose(model.activations(X, ["product"])["product"], X @ W.astype(np.float32), rtol=1e-5)


def test_weights_in_other_files_are_read(tmp_path):
    file = tmp_path / "m.onnx"
    onnx.save_model(narrow(), file, save_as_external_data=True, size_threshold=0, location="weights.bin")
    np.testing.assert_allclose(onnxplain.load(file, device="cpu").predict(X)["y"], EXPECTED, rtol=1e-6)


def test_rounding_between_two_casts_stays():
    nodes = [helper.make_node("Cast", ["x"], ["low"], to=BRAIN), helper.make_node("Cast", ["low"], ["y"], to=FLOAT)]
    model = onnxplain.load(
        model_of(nodes, {"x": (FLOAT, ["n", 1])}, {"y": (FLOAT, ["n", 1])}).SerializeToString(), device="cpu"
    )
    assert not model.is_widened
    assert model.predict(np.float32([[1.003]]))["y"] == 1.0


def test_other_models_are_left_as_they_are():
    proto = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", 4])})
    assert graph.widened(proto, None) is proto


@pytest.mark.parametrize(("method", "wrt"), [("occlusion", None), ("ablation", "sum")])
def test_an_explanation_says_so(method, wrt):
    found = onnxplain.explain(narrow().SerializeToString(), X[:1], method, target=0, wrt=wrt)
    assert "the model computes in bfloat16; here it is computed in float32" in found.notes


def test_the_gradient_is_that_of_the_weights():
    pytest.importorskip("torch")
    model = onnxplain.load(narrow_inside().SerializeToString(), device="cpu")
    place = int(EXPECTED[0].argmax())
    found = onnxplain.explain(model, X[:1], "saliency", target=f"made[{place}]")
    np.testing.assert_allclose(found.values["x"][0], W[:, place].astype(np.float32), rtol=1e-6)
    assert found.manifest["twin_difference"] < 1e-6


def test_what_would_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(widen, "MOST", 40)
    with pytest.raises(ModelError, match="its weights are then more than 2 GiB"):
        onnxplain.load(narrow().SerializeToString(), device="cpu")
