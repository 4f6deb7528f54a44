"""Reductions by attribute and input, empty sets, types; running sums; the largest elements."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(3)
X = RANDOM.uniform(1, 3, size=(3, 2, 4)).astype(np.float32)
REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]


def agrees(op_type, inputs, *, opset, oracle=by_reference, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    ours, theirs = by_twin(model, inputs), oracle(model, inputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=1e-5)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes_by_attribute_and_by_input(name, keepdims):
    opset = 12 if name == "Sum" else 13
    agrees(f"Reduce{name}", [X], opset=opset, axes=[-1, 0], keepdims=keepdims)
    agrees(f"Reduce{name}", [X, np.array([-1, 0])], opset=18, keepdims=keepdims, constant=[1])
    agrees(f"Reduce{name}", [X, np.array([-1, 0])], opset=18, keepdims=keepdims)
    agrees(f"Reduce{name}", [X], opset=opset, keepdims=keepdims)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_axes_are_all_axes_or_none(name):
    empty = np.array([], np.int64)
    for rest in ({"constant": [1]}, {}):
        agrees(f"Reduce{name}", [-X if name in {"L1", "L2"} else X, empty], opset=18, noop_with_empty_axes=1, **rest)
        agrees(f"Reduce{name}", [X, empty], opset=18, **rest)


@pytest.mark.parametrize(
    ("name", "neutral"),
    [
        ("LogSum", -np.inf),
        ("LogSumExp", -np.inf),
        ("Max", -np.inf),
        ("Min", np.inf),
        ("Prod", 1),
        ("Sum", 0),
        ("L2", 0),
    ],
)
def test_reduction_of_no_elements(name, neutral):
    x = np.zeros((2, 0, 4), np.float32)
    model = single_node(f"Reduce{name}", [x, np.array([1])], opset=18, constant=[1])
    np.testing.assert_array_equal(by_twin(model, [x])[0], np.full((2, 1, 4), neutral))


@pytest.mark.parametrize("name", ["L1", "Max", "Min", "Prod", "Sum"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_integers_keep_their_type(name, dtype):
    agrees(f"Reduce{name}", [(X * 2).astype(dtype), np.array([1])], opset=18, constant=[1])


def test_mean_of_integers_is_rounded_towards_zero():
    x = np.array([-3, -4, 0, 2], np.int64)
    model = single_node("ReduceMean", [x], opset=13, keepdims=0)
    assert by_twin(model, [x])[0] == -1


def test_largest_of_truth_values():
    agrees("ReduceMax", [np.array([[True, False], [False, False]]), np.array([1])], opset=20, constant=[1])


def test_gradient_of_the_norm_of_zeros_is_zero():
    from onnxplain.adapters.torch import convert

    x = torch.zeros(3, requires_grad=True)
    convert(single_node("ReduceL2", [np.zeros(3, np.float32)], opset=13))(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_gradients(name):
    assert has_true_gradients(f"Reduce{name}", [X, np.array([0, 2])], opset=18, constant=[1])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_of_equal_elements_the_first_or_the_last_is_named(op_type, last):
    x = np.array([[2, 1, 2, 1], [3, 3, 3, 3]], np.float32)
    for keepdims in (0, 1):
        agrees(op_type, [x], opset=13, axis=-1, keepdims=keepdims, select_last_index=last)


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k_of_equal_elements_takes_the_first(largest):
    x = np.array([[2, 1, 2, 1, 3], [0, 0, 0, 0, 0]], np.float32)
    for constant in ([], [1]):
        inputs = [x, np.array([3])]
        agrees("TopK", inputs, opset=11, outputs=2, oracle=by_runtime, largest=largest, constant=constant)


def test_top_k_before_k_was_an_input():
    model = single_node("TopK", [X], opset=9, outputs=2, k=1, axis=1)
    values, places = by_twin(model, [X])
    np.testing.assert_array_equal(values, X.max(1, keepdims=True))
    np.testing.assert_array_equal(places, X.argmax(1)[:, None])


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize(("op_type", "opset"), [("CumSum", 14), ("CumProd", 26)])
def test_running_sums_and_products(op_type, opset, exclusive, reverse):
    settings = {"exclusive": exclusive, "reverse": reverse}
    for constant in ([], [1]):
        agrees(op_type, [X, np.array(1)], opset=opset, constant=constant, **settings)
    assert has_true_gradients(op_type, [X[:2, :, :2], np.array(0)], opset=opset, constant=[1], **settings)


def test_gradient_goes_to_the_k_largest():
    assert has_true_gradients("TopK", [X, np.array([2])], opset=11, outputs=2, constant=[1])
