"""Writing at positions: every reduction, repeated places, gradients of both sides."""

import numpy as np
import pytest

from single_nodes import by_reference, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(2)
DATA = RANDOM.normal(size=(3, 4, 2)).astype(np.float32)
REDUCTIONS = ["none", "add", "mul", "max", "min"]


def agrees(op_type, inputs, *, opset, **attributes):
    model = single_node(op_type, inputs, opset=opset, **attributes)
    ours, theirs = by_twin(model, inputs)[0], by_reference(model, inputs)[0]
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_scatter_elements_with_indices_from_either_end(reduction, dtype):
    indices = np.array([[[0, -1], [2, 1]], [[1, 0], [-4, 3]]])  # each place once, or "none" would depend on the order
    updates = RANDOM.normal(size=indices.shape) * 5
    inputs = [(DATA * 5).astype(dtype), indices, updates.astype(dtype)]
    agrees("ScatterElements", inputs, opset=18, axis=1, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS[1:])
def test_places_that_are_written_twice_are_reduced_twice(reduction):
    inputs = [np.full(2, 2.0, np.float32), np.array([1, 1, 1]), np.array([3, 5, 1], np.float32)]
    model = single_node("ScatterElements", inputs, opset=18, reduction=reduction)
    expected = {"add": 11, "mul": 30, "max": 5, "min": 1}[reduction]
    np.testing.assert_array_equal(by_twin(model, inputs)[0], [2, expected])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("indices", [[[2], [0]], [[2, -1], [0, 1]], [[2, 3, 0], [0, 1, -1]]], ids=str)
def test_scatter_nd_writes_slices_and_elements(reduction, indices):
    indices = np.array(indices)
    updates = RANDOM.normal(size=(2, *DATA.shape[indices.shape[1] :])).astype(np.float32)
    agrees("ScatterND", [DATA, indices, updates], opset=18, reduction=reduction)


def test_scatter_of_unsigned_integers_that_torch_cannot_scatter():
    inputs = [np.array([1, 2, 3], np.uint16), np.array([2]), np.array([65535], np.uint16)]
    agrees("ScatterElements", inputs, opset=18)


def test_scatter_before_it_was_renamed():
    indices = np.array([[1, 0, 2]])
    inputs = [np.zeros((3, 3), np.float32), indices, np.array([[1.0, 1.1, 1.2]], np.float32)]
    model = single_node("Scatter", inputs, opset=9)
    np.testing.assert_allclose(by_twin(model, inputs)[0], [[0, 1.1, 0], [1, 0, 0], [0, 0, 1.2]])


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter_writes_from_a_place_of_each_row(mode):
    cache = np.zeros((2, 1, 4, 1), np.float32)
    update = np.array([1, 2, 3, 4], np.float32).reshape(2, 1, 2, 1)
    starts = np.array([1, 3 if mode == "circular" else 2])
    model = single_node("TensorScatter", [cache, update, starts], opset=24, mode=mode)
    second = [4, 0, 0, 3] if mode == "circular" else [0, 0, 3, 4]
    np.testing.assert_array_equal(by_twin(model, [cache, update, starts])[0].reshape(2, 4), [[0, 1, 2, 0], second])


def test_unknown_reduction_is_refused():
    from onnxplain.adapters.torch import convert
    from onnxplain.engine.errors import CapabilityError

    model = single_node("ScatterND", [DATA, np.array([[0]]), DATA[:1]], opset=18, reduction="xor")
    with pytest.raises(CapabilityError, match="ScatterND with reduction = xor"):
        convert(model)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_of_what_is_there_and_what_comes_in(reduction):
    indices = np.array([[2, -1], [0, 1]])
    updates = RANDOM.normal(size=(2, 2))
    assert has_true_gradients("ScatterND", [DATA, indices, updates], opset=18, reduction=reduction)
    elements = [DATA, np.array([[[0, 1]]]), RANDOM.normal(size=(1, 1, 2))]
    assert has_true_gradients("ScatterElements", elements, opset=18, axis=1, reduction=reduction)
