"""Pooling windows as ONNX Runtime moves them: padding, ceil mode, positions, what a mean counts."""

import numpy as np
import pytest

from single_nodes import by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(0)


def plane(*shape):
    """Distinct numbers in random order: no two elements are equal, so the largest one is known."""
    return RANDOM.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)


WINDOWS = [
    {"kernel_shape": [3], "strides": [2], "pads": [1, 0]},
    {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 2, 0, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 2], "strides": [3, 2], "dilations": [1, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 3], "strides": [1, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [2, 2], "auto_pad": "VALID"},
    {"kernel_shape": [2, 2, 3], "strides": [1, 2, 2], "pads": [0, 1, 1, 1, 0, 1]},
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("column_major", [0, 1])
def test_max_pool_finds_the_values_and_places_of_the_runtime(window, column_major):
    x = plane(2, 3, *(7, 6, 5)[: len(window["kernel_shape"])])
    model = single_node("MaxPool", [x], opset=22, outputs=2, storage_order=column_major, **window)
    for ours, theirs in zip(by_twin(model, [x]), by_runtime(model, [x]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_max_pool_without_places_is_the_same(window):
    x = plane(2, 3, *(7, 6, 5)[: len(window["kernel_shape"])])
    model = single_node("MaxPool", [x], opset=22, **window)
    np.testing.assert_array_equal(by_twin(model, [x])[0], by_runtime(model, [x])[0])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_windows_smaller_than_their_stride_are_placed_as_in_the_runtime(auto_pad):
    x = plane(1, 2, 6, 7)
    settings = {"kernel_shape": [1, 2], "strides": [3, 2], "auto_pad": auto_pad}
    model = single_node("AveragePool", [x], opset=22, **settings)
    np.testing.assert_allclose(by_twin(model, [x])[0], by_runtime(model, [x])[0], rtol=1e-6)


def test_places_of_maxima_in_four_spatial_axes_are_refused():
    from onnxplain.adapters.torch import convert
    from onnxplain.engine.errors import CapabilityError

    x = np.zeros((1, 1, 2, 2, 2, 2), np.float32)
    with pytest.raises(CapabilityError, match="MaxPool with indices = on 4 spatial axes"):
        convert(single_node("MaxPool", [x], opset=22, outputs=2, kernel_shape=[1, 1, 1, 1]))


@pytest.mark.parametrize("rank", [1, 2])
def test_max_pool_takes_8_bit_integers(rank):
    x = (plane(1, 1, *(9, 9)[:rank]) - 90).astype(np.int8)
    model = single_node("MaxPool", [x], opset=12, kernel_shape=[3] * rank, pads=[1] * (2 * rank))
    ours = by_twin(model, [x])[0]
    assert ours.dtype == np.int8
    np.testing.assert_array_equal(ours, by_runtime(model, [x])[0])


def test_max_pool_of_four_spatial_axes():
    x = plane(1, 1, 2, 2, 2, 4)
    model = single_node("MaxPool", [x], opset=22, kernel_shape=[2, 2, 2, 2], strides=[1, 1, 1, 2])
    np.testing.assert_array_equal(by_twin(model, [x])[0].reshape(2), x.reshape(8, 2, 2).max((0, 2)))


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("count_include_pad", [0, 1])
def test_average_pool_divides_by_what_onnx_counts(window, count_include_pad):
    x = plane(2, 3, *(7, 6, 5)[: len(window["kernel_shape"])])
    model = single_node("AveragePool", [x], opset=22, count_include_pad=count_include_pad, **window)
    np.testing.assert_allclose(by_twin(model, [x])[0], by_runtime(model, [x])[0], rtol=1e-5)


def test_average_over_the_overhang_of_ceil_mode_counts_elements_only():
    x = np.array([[[1.0, 2.0, 6.0]]], np.float32)
    model = single_node("AveragePool", [x], opset=19, kernel_shape=[2], strides=[2], ceil_mode=1, count_include_pad=1)
    np.testing.assert_allclose(by_twin(model, [x])[0], [[[1.5, 6.0]]])


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("window", [WINDOWS[1], WINDOWS[2], WINDOWS[4], WINDOWS[-1]], ids=str)
def test_lp_pool(window, p):
    x = plane(2, 3, *(7, 6, 5)[: len(window["kernel_shape"])]) - 50
    model = single_node("LpPool", [x], opset=22, p=p, **window)
    np.testing.assert_allclose(by_twin(model, [x])[0], by_runtime(model, [x])[0], rtol=1e-5)


def test_lp_pool_of_zeros_has_gradient_zero():
    model = single_node("LpPool", [np.zeros((1, 1, 4), np.float32)], opset=22, p=2, kernel_shape=[2])
    from onnxplain.adapters.torch import convert

    x = torch.zeros(1, 1, 4, requires_grad=True)
    convert(model)(x).sum().backward()
    assert x.grad.tolist() == [[[0.0, 0.0, 0.0, 0.0]]]


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_global_pools(op_type):
    x = plane(2, 3, 4, 5)
    model = single_node(op_type, [x], opset=13)
    np.testing.assert_allclose(by_twin(model, [x])[0], by_runtime(model, [x])[0], rtol=1e-5)


def test_global_max_pool_gives_the_gradient_to_one_of_equal_elements():
    from onnxplain.adapters.torch import convert

    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    convert(single_node("GlobalMaxPool", [np.zeros((1, 1, 2, 2), np.float32)], opset=13))(x).sum().backward()
    assert x.grad.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_max_unpool_undoes_max_pool():
    x = np.array([[[[5.0, 6.0], [7.0, 8.0]]]], np.float32)
    places = np.array([[[[5, 7], [13, 15]]]])
    model = single_node("MaxUnpool", [x, places], opset=11, kernel_shape=[2, 2], strides=[2, 2])
    expected = np.zeros((4, 4))
    expected[1, 1], expected[1, 3], expected[3, 1], expected[3, 3] = 5, 6, 7, 8
    np.testing.assert_array_equal(by_twin(model, [x, places])[0][0, 0], expected)


@pytest.mark.parametrize("window", [WINDOWS[1], WINDOWS[2], WINDOWS[5]], ids=str)
@pytest.mark.parametrize(("op_type", "rest"), [("MaxPool", {}), ("AveragePool", {}), ("LpPool", {"p": 3})])
def test_gradients(op_type, rest, window):
    assert has_true_gradients(op_type, [plane(1, 2, 5, 4) + 1], opset=22, **rest, **window)
