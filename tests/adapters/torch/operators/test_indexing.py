"""Gathering, one-hot, triangles, reversed sequences, unique elements."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(2, 3, 4)).astype(np.float32)


def agrees(op_type, inputs, *, opset, oracle=by_reference, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    ours, theirs = by_twin(model, inputs), oracle(model, inputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)


def test_gather_elements_from_either_end():
    indices = np.array([[[0, -1], [2, 1]]])
    agrees("GatherElements", [X, indices], opset=13, axis=1, oracle=by_runtime)
    assert has_true_gradients("GatherElements", [X, indices], opset=13, axis=1)


@pytest.mark.parametrize("batch_dims", [0, 1, 2])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gather_nd(batch_dims, depth):
    x = RANDOM.normal(size=(2, 3, 4, 2, 2)).astype(np.float32)
    limits = x.shape[batch_dims : batch_dims + depth]
    shape = (*x.shape[:batch_dims], 3, 1)
    indices = np.concatenate([RANDOM.integers(-size, size, shape) for size in limits], axis=-1)
    agrees("GatherND", [x, indices], opset=13, batch_dims=batch_dims, oracle=by_runtime)


def test_gradient_of_gather_nd_adds_up_where_a_place_is_read_twice():
    indices = np.array([[[1], [1]], [[0], [-1]]])
    assert has_true_gradients("GatherND", [X, indices], opset=13, batch_dims=1)


@pytest.mark.parametrize("axis", [{}, {"axis": 1}, {"axis": -1}])
def test_compress(axis):
    condition = np.array([True, False, True])
    agrees("Compress", [X, condition], opset=11, **axis)
    assert has_true_gradients("Compress", [X, condition], opset=11, **axis)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_of_indices_from_either_end_and_out_of_range(axis):
    inputs = [np.array([[0, -1], [7, 2]]), np.array(4), np.array([0.5, 2.0], np.float32)]
    agrees("OneHot", inputs, opset=11, axis=axis)
    assert has_true_gradients("OneHot", inputs, opset=11, axis=axis)


@pytest.mark.parametrize("k", [-1, 0, 2])
def test_eye_like(k):
    agrees("EyeLike", [np.zeros((3, 4), np.int32)], opset=9, k=k)
    agrees("EyeLike", [np.zeros((3, 4), np.int32)], opset=9, k=k, dtype=1)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("constant", [[], [1]])
def test_triangles(upper, constant):
    for k in (-1, 0, 2):
        agrees("Trilu", [X, np.array(k)], opset=14, upper=upper, constant=constant)
    agrees("Trilu", [X], opset=14, upper=upper)


@pytest.mark.parametrize("axes", [{"time_axis": 0, "batch_axis": 1}, {"time_axis": 1, "batch_axis": 0}])
def test_reverse_sequence(axes):
    x = RANDOM.normal(size=(4, 4, 2)).astype(np.float32)
    lengths = np.array([1, 2, 3, 4])
    agrees("ReverseSequence", [x, lengths], opset=10, **axes)
    assert has_true_gradients("ReverseSequence", [x, lengths], opset=10, **axes)


@pytest.mark.parametrize("in_order", [0, 1])
@pytest.mark.parametrize("axis", [{}, {"axis": 0}, {"axis": 1}])
def test_unique(in_order, axis):
    x = np.array([[2, 1, 1], [2, 1, 1], [0, 3, 3]], np.float32)
    agrees("Unique", [x], opset=11, outputs=4, sorted=in_order, oracle=by_runtime, **axis)
