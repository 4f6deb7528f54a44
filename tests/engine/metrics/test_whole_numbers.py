"""Explanations of whole numbers that are no text: gradients are those of what the numbers are looked up as."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from metric_scores import value
from onnxplain import CapabilityError
from onnxplain.engine.internals.codes import codes_of
from small_graphs import model_of

INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT
WORTHS = np.array([[0, 0], [1, 5], [-2, 1], [4, 0], [8, -3]], np.float32)  # of the codes 0 to 4, for two classes
CODES = np.array([[3, 1, 0, 2]])


def node(op, given, made, **attributes):
    return helper.make_node(op, given.split(), made.split(), **attributes)


LOOKUPS = {
    "Gather": [node("Gather", "worths codes", "found", axis=0)],
    "one-hot rows": [
        node("Unsqueeze", "codes last", "apart"),
        node("Equal", "apart names", "same"),
        node("Cast", "same", "hot", to=FLOAT),
        node("MatMul", "hot worths", "found"),
    ],
    "OneHot": [node("OneHot", "codes depth ends", "hot", axis=-1), node("MatMul", "hot worths", "found")],
    "offsets and a flat row": [
        node("Sub", "codes offsets", "moved"),
        node("Reshape", "moved flat", "row"),
        node("Gather", "all row", "rows", axis=0),
        node("Reshape", "rows whole", "found"),
    ],
    "a transposed table": [
        node("Gather", "turned codes", "across", axis=1),
        node("Transpose", "across", "found", perm=[1, 2, 0]),
    ],
    "pairs of codes": [
        node("Unsqueeze", "codes last", "apart"),
        node("Unsqueeze", "codes second", "beside"),
        node("Equal", "apart beside", "same"),
        node("Cast", "same", "pairs", to=FLOAT),
        node("MatMul", "pairs others", "found"),
    ],
}
CONSTANTS = {
    "worths": WORTHS,
    "turned": WORTHS.T.copy(),
    "all": np.concatenate([np.zeros((3, 2), np.float32), WORTHS]),
    "others": np.ones((4, 2), np.float32),
    "names": np.arange(5),
    "depth": np.array([5]),
    "ends": np.array([0, 1], np.float32),
    "offsets": np.array([[-3, -3, -3, -3]]),
    "flat": np.array([-1]),
    "whole": np.array([-1, 4, 2]),
    "last": np.array([2]),
    "second": np.array([1]),
    "axis": np.array([1]),
}


def lookup(name):
    """Two scores: the worths of four codes, added up."""
    nodes = [*LOOKUPS[name], node("ReduceSum", "found axis", "y", keepdims=0)]
    used = {n for made in nodes for n in made.input}
    constants = {n: array for n, array in CONSTANTS.items() if n in used}
    return model_of(nodes, {"codes": (INT, ["n", 4])}, {"y": (FLOAT, ["n", 2])}, constants)


@pytest.mark.parametrize(
    ("name", "tensor", "found"),
    [
        ("Gather", "found", "codes"),
        ("one-hot rows", "hot", "codes"),
        ("one-hot rows", "found", ""),  # a product: behind what was looked up
        ("OneHot", "hot", "codes"),
        ("offsets and a flat row", "found", "codes"),
        ("a transposed table", "across", ""),
        ("pairs of codes", "pairs", ""),
        ("Gather", "codes", ""),
        ("Gather", "y", ""),
    ],
)
def test_a_tensor_stands_for_codes_where_each_is_looked_up_by_itself(name, tensor, found):
    assert codes_of(lookup(name), tensor) == found


@pytest.mark.parametrize("name", ["Gather", "one-hot rows", "OneHot", "offsets and a flat row"])
def test_gradients_of_codes_are_judged_by_the_codes(name):
    """Input x gradient of a sum of worths is the worths: 4, 1, 0 and -2, which leave 3, -1, -2, -2 and 0."""
    pytest.importorskip("torch")
    model = onnxplain.load(lookup(name).SerializeToString())
    deletion = {"baseline": 0.0, "of": "score", "step": 1}
    for method, given in (("input-x-gradient", {}), ("ablation", {"baseline": 0})):
        found = value(model, CODES, method, "deletion", deletion, target=0, **given)
        np.testing.assert_allclose(found.curve[1], [3, -1, -2, -2, 0], atol=1e-6)
        assert found.value == pytest.approx(-3.5 / 4)
        assert value(model, CODES, method, "sparseness", target=0, **given).value == pytest.approx(13 / 28)
    with pytest.raises(CapabilityError, match="takes whole numbers or text only"):
        value(model, CODES, "input-x-gradient", "max-sensitivity", target=0)


def test_values_are_added_up_over_what_a_number_was_looked_up_as():
    model = onnxplain.load(lookup("Gather").SerializeToString())
    made = onnxplain.explain(model, CODES, "activation", wrt="found")
    assert made.values["found"].shape == (1, 4, 2)
    (score,) = onnxplain.evaluate(model, made.sample, made, ["effective-size"], controls=False)
    assert score.value == pytest.approx(11**2 / 53)  # of 4, 6, 0 and -1, the worths of both classes together


@pytest.mark.parametrize("name", ["a transposed table", "pairs of codes"])
def test_what_cannot_be_told_apart_by_codes_is_refused(name):
    pytest.importorskip("torch")
    model = onnxplain.load(lookup(name).SerializeToString())
    with pytest.raises(CapabilityError, match=r"of the tensor '(across|pairs)', not of the inputs") as refused:
        value(model, CODES, "saliency", "sparseness", target=0)
    assert "take a method without gradients" in refused.value.tip
