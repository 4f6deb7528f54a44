"""Comparisons, logic, choices by truth value."""

import numpy as np
import pytest

from single_nodes import by_reference, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")


def agrees(op_type, inputs, *, opset=19, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    ours, theirs = by_twin(model, inputs)[0], by_reference(model, inputs)[0]
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("op_type", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16])
def test_comparisons_broadcast(op_type, dtype):
    agrees(op_type, [np.array([[1, 2, 3], [3, 2, 1]], dtype), np.array([2, 2, 1], dtype)])


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_logic(op_type):
    agrees(op_type, [np.array([[True], [False]]), np.array([True, False])])


@pytest.mark.parametrize(("op_type", "expected"), [("Greater", [[0, 0], [1, 1]]), ("Equal", [[1, 0], [0, 0]])])
def test_axes_were_lined_up_by_attribute_before_version_7(op_type, expected):
    inputs = [np.array([[1, 0], [3, 4]], np.int32), np.array([1, 2], np.int32)]
    if op_type == "Greater":
        inputs = [x.astype(np.float32) for x in inputs]
    model = single_node(op_type, inputs, opset=6, broadcast=1, axis=0)
    np.testing.assert_array_equal(by_twin(model, inputs)[0], np.array(expected, bool))


def test_not():
    agrees("Not", [np.array([True, False])])


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_infinities_asked_for(positive, negative):
    x = np.array([np.inf, -np.inf, np.nan, 1], np.float32)
    agrees("IsInf", [x], detect_positive=positive, detect_negative=negative)


def test_not_a_number():
    agrees("IsNaN", [np.array([np.nan, np.inf, 0], np.float32)])


def test_where_sends_the_gradient_to_what_was_chosen():
    inputs = [np.array([[True], [False]]), np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])]
    agrees("Where", inputs)
    assert has_true_gradients("Where", inputs, opset=16)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.uint16])
def test_positions_of_what_is_not_zero(dtype):
    agrees("NonZero", [np.array([[1, 0], [0, 1], [1, 1]], dtype)])


def test_number_that_is_not_zero_has_a_position_without_axes():
    x = np.array(3.0, np.float32)
    assert by_twin(single_node("NonZero", [x], opset=13), [x])[0].shape == (0, 1)
