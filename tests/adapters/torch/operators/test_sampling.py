"""Reading between the pixels: grids, affine maps, deformed convolutions."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(7)


def agrees(op_type, inputs, *, opset, oracle=by_runtime, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    np.testing.assert_allclose(by_twin(model, inputs)[0], oracle(model, inputs)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample(mode, padding, align):
    x = RANDOM.normal(size=(2, 2, 4, 5)).astype(np.float32)
    grid = RANDOM.uniform(-1.5, 1.5, size=(2, 3, 4, 2)).astype(np.float32)
    agrees("GridSample", [x, grid], opset=20, mode=mode, padding_mode=padding, align_corners=align)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_of_volumes(mode):
    x = RANDOM.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)
    grid = RANDOM.uniform(-1.5, 1.5, size=(2, 2, 3, 2, 3)).astype(np.float32)
    agrees("GridSample", [x, grid], opset=20, mode=mode)


@pytest.mark.parametrize(
    ("mode", "padding"), [("linear", "zeros"), ("linear", "border"), ("nearest", "border"), ("cubic", "zeros")]
)
def test_grid_sample_of_rows(mode, padding):
    x = RANDOM.normal(size=(2, 2, 6)).astype(np.float32)
    grid = RANDOM.uniform(-1.5, 1.5, size=(2, 5, 1)).astype(np.float32)
    agrees("GridSample", [x, grid], opset=20, mode=mode, padding_mode=padding, oracle=by_reference)


def test_cubic_grid_sample_of_volumes_is_refused():
    from onnxplain.engine.errors import CapabilityError

    inputs = [np.zeros((1, 1, 2, 2, 2), np.float32), np.zeros((1, 1, 1, 1, 3), np.float32)]
    with pytest.raises(CapabilityError, match="cubic on 3 spatial axes"):
        by_twin(single_node("GridSample", inputs, opset=20, mode="cubic"), inputs)


def test_gradients_of_image_and_grid():
    x, grid = RANDOM.normal(size=(1, 1, 4, 5)), RANDOM.uniform(-0.9, 0.9, size=(1, 2, 2, 2))
    assert has_true_gradients("GridSample", [x, grid], opset=20)


@pytest.mark.parametrize("constant", [[], [1]])
@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("size", [[2, 3, 4, 5], [2, 3, 2, 4, 5]], ids=str)
def test_affine_grid(size, align, constant):
    rank = len(size) - 2
    inputs = [RANDOM.normal(size=(2, rank, rank + 1)).astype(np.float32), np.array(size)]
    agrees("AffineGrid", inputs, opset=20, align_corners=align, constant=constant, oracle=by_reference)
    assert has_true_gradients("AffineGrid", inputs, opset=20, align_corners=align, constant=[1])


@pytest.mark.parametrize("size", [[2, 3, 1, 4], [2, 3, 1, 1], [2, 3, 2, 1, 3]], ids=str)
def test_a_single_pixel_of_an_aligned_grid_is_at_its_end(size):
    """onnx's reference divides by zero there."""
    rank = len(size) - 2
    inputs = [RANDOM.normal(size=(2, rank, rank + 1)).astype(np.float32), np.array(size)]
    agrees("AffineGrid", inputs, opset=20, align_corners=1, oracle=by_runtime)


@pytest.mark.parametrize(("group", "offset_group"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_deform_conv(group, offset_group):
    x = RANDOM.normal(size=(2, 4, 6, 7)).astype(np.float32)
    weight = RANDOM.normal(size=(6, 4 // group, 2, 3)).astype(np.float32)
    offset = RANDOM.normal(size=(2, offset_group * 12, 4, 4)).astype(np.float32)
    bias = RANDOM.normal(size=6).astype(np.float32)
    mask = RANDOM.normal(size=(2, offset_group * 6, 4, 4)).astype(np.float32)
    settings = {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 0]}
    settings |= {"group": group, "offset_group": offset_group}
    agrees("DeformConv", [x, weight, offset, bias, mask], opset=22, **settings)
    agrees("DeformConv", [x, weight, offset, None, mask], opset=22, **settings)
    agrees("DeformConv", [x, weight, offset], opset=22, **settings)


def test_gradients_of_deform_conv():
    x, weight = RANDOM.normal(size=(1, 2, 3, 3)), RANDOM.normal(size=(1, 2, 2, 2))
    offset, mask = RANDOM.uniform(0.1, 0.4, size=(1, 8, 2, 2)), RANDOM.normal(size=(1, 4, 2, 2))
    assert has_true_gradients("DeformConv", [x, weight, offset, None, mask], opset=22)
