"""Sequences and optional values: right numbers, and gradients through lists, graphs inside nodes and what may be."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from gradient_problems import finite_differences, loaded, problem_of
from small_graphs import model_of

torch = pytest.importorskip("torch")

from onnxplain.adapters.torch import convert, twin  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.saliency import Saliency  # noqa: E402
from onnxplain.engine.errors import SettingError  # noqa: E402

DOUBLE = TensorProto.DOUBLE
X = np.random.default_rng(4).normal(size=(2, 6))
INTEGERS = {str(k): np.array(k) for k in (-1, 0, 1)}


def on_rows(*nodes):
    """A graph from x (rows, 6) to y in float64; "0", "1", "-1" and "lengths" (1, 2, 3) are there."""
    constants = INTEGERS | {"lengths": np.array([1, 2, 3])}
    return model_of(nodes, {"x": (DOUBLE, ["b", 6])}, {"y": (DOUBLE, ["b", None])}, constants, opset=18)


node = helper.make_node
PARTS = node("SplitToSequence", ["x", "lengths"], ["parts"], axis=1)


def squares():
    """The body of a SequenceMap: the square of an element, times the tensor that goes to every run, plus x's mean."""
    given = [helper.make_tensor_value_info(n, DOUBLE, None) for n in ("one", "factor")]
    nodes = [
        node("Mul", ["one", "one"], ["square"]),
        node("Mul", ["square", "factor"], ["scaled"]),
        node("Add", ["scaled", "mean"], ["made"]),
    ]
    return helper.make_graph(nodes, "body", given, [helper.make_tensor_value_info("made", DOUBLE, None)])


def chosen(name, nodes):
    """A branch of an If, which makes ``name``."""
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, DOUBLE, None)])


def mean(name="mean"):
    return node("ReduceMean", ["x", "1vector"], [name], keepdims=1)


def mapped():
    model = on_rows(
        PARTS,
        mean(),
        node("SequenceAt", ["parts", "0"], ["factor"]),
        node("SequenceMap", ["parts", "factor"], ["done"], body=squares()),
        node("ConcatFromSequence", ["done"], ["y"], axis=1),
    )
    model.graph.initializer.append(helper.make_tensor("1vector", TensorProto.INT64, [1], [1]))
    return model


MODELS = {
    "taken": on_rows(PARTS, node("SequenceAt", ["parts", "-1"], ["p"]), node("Mul", ["p", "p"], ["y"])),
    "joined": on_rows(
        PARTS,
        node("SequenceAt", ["parts", "1"], ["p"]),
        node("Exp", ["p"], ["e"]),
        node("SequenceErase", ["parts", "0"], ["fewer"]),
        node("SequenceInsert", ["fewer", "e", "1"], ["more"]),
        node("ConcatFromSequence", ["more"], ["y"], axis=1),
    ),
    "made": on_rows(
        node("Sin", ["x"], ["s"]),
        node("SequenceConstruct", ["x", "s"], ["both"]),
        node("SequenceEmpty", [], ["none"], dtype=DOUBLE),
        node("SequenceAt", ["both", "1"], ["first"]),
        node("SequenceInsert", ["none", "first"], ["one"]),
        node("SequenceInsert", ["one", "x"], ["two"]),
        node("SequenceLength", ["two"], ["count"]),
        node("Cast", ["count"], ["times"], to=DOUBLE),
        node("ConcatFromSequence", ["two"], ["joined"], axis=1),
        node("Mul", ["joined", "times"], ["y"]),
    ),
    "mapped": mapped(),
    "optional": on_rows(
        node("Optional", ["x"], ["perhaps"]),
        node("OptionalHasElement", ["perhaps"], ["is"]),
        node(
            "If",
            ["is"],
            ["y"],
            then_branch=chosen("a", [node("OptionalGetElement", ["perhaps"], ["v"]), node("Mul", ["v", "v"], ["a"])]),
            else_branch=chosen("b", [node("Neg", ["x"], ["b"])]),
        ),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_numbers_are_the_runtimes_and_gradients_finite_differences(name):
    model = MODELS[name]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    module = convert(model)
    (expected,) = session.run(None, {"x": X})
    np.testing.assert_allclose(module(torch.from_numpy(X)).numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(module, torch.from_numpy(X.copy()).requires_grad_())


@pytest.mark.parametrize("name", MODELS)
def test_such_models_are_explained(name):
    model = loaded(MODELS[name])
    problem = problem_of(model, {"x": X[:1]}, "y[1]")
    found = Saliency().explain(problem).values["x"]
    slopes = finite_differences(lambda rows: model.rows({"x": rows}, ("y",))[0][:, 1], X[:1])
    np.testing.assert_allclose(found, slopes, atol=1e-6)


def test_a_list_of_tensors_cannot_be_explained():
    model = loaded(MODELS["joined"])
    with pytest.raises(SettingError, match="'parts' is a list of tensors"):
        twin(model, {"x": X}).run({"x": X}, "y[0]", wrt=["parts"])


def test_nothing_has_no_element():
    model = on_rows(node("OptionalHasElement", [], ["is"]), node("Cast", ["is"], ["y"], to=DOUBLE))
    assert float(convert(model)(torch.from_numpy(X))) == 0
