"""Resize and Upsample against ONNX Runtime, and the reference where the runtime goes its own way."""

import numpy as np
import pytest

from single_nodes import by_reference, by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(1)
IMAGE = RANDOM.normal(size=(2, 2, 6, 5)).astype(np.float32)
COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]


def scales(*numbers):
    return [None, np.array(numbers, np.float32)]


def sizes(*numbers):
    return [None, None, np.array(numbers, np.int64)]


def agrees(image, how, *, opset=19, oracle=by_runtime, constant=True, atol=1e-5, **attributes):
    inputs = [image, *how]
    stored = [k for k in range(1, len(inputs)) if inputs[k] is not None] if constant else []
    model = single_node("Resize", inputs, opset=opset, constant=stored, **attributes)
    ours, theirs = by_twin(model, inputs)[0], oracle(model, inputs)[0]
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("how", [sizes(2, 2, 9, 3), scales(1, 1, 2, 3), scales(1, 1, 0.5, 1)], ids=str)
def test_interpolation_as_in_the_runtime(mode, coordinates, how):
    agrees(IMAGE, how, mode=mode, coordinate_transformation_mode=coordinates)


@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", [c for c in COORDINATES if c != "half_pixel_symmetric"])
def test_nearest_as_in_the_runtime(coordinates, nearest):
    for how in (sizes(2, 2, 9, 3), scales(1, 1, 2, 4), scales(1, 1, 3, 2), scales(1, 1, 0.5, 1)):
        agrees(IMAGE, how, mode="nearest", coordinate_transformation_mode=coordinates, nearest_mode=nearest)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float64])
def test_nearest_keeps_the_type(dtype):
    agrees(np.arange(12, dtype=dtype).reshape(1, 1, 3, 4), scales(1, 1, 2, 1.5), mode="nearest", oracle=by_reference)


@pytest.mark.parametrize(("mode", "a"), [("linear", -0.75), ("cubic", -0.5), ("cubic", -0.75)])
def test_antialias(mode, a):
    agrees(IMAGE, scales(1, 1, 0.6, 0.4), mode=mode, antialias=1, cubic_coeff_a=a)


def test_cubic_without_what_lies_outside():
    agrees(IMAGE, scales(1, 1, 1.5, 2), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_one_ratio_for_all_axes(policy):
    agrees(IMAGE, sizes(7, 8), mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)


def test_axes_in_any_order():
    agrees(IMAGE, sizes(7, 8), mode="linear", axes=[3, 2], oracle=by_reference)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_crop_and_resize_fills_what_lies_outside(mode):
    roi = np.array([0.2, -0.3, 0.9, 0.7], np.float32)
    settings = {"axes": [2, 3], "extrapolation_value": 7.0, "coordinate_transformation_mode": "tf_crop_and_resize"}
    agrees(IMAGE, [roi, None, np.array([4, 8])], mode=mode, **settings)


@pytest.mark.parametrize("how", [sizes(2, 2, 9, 3), scales(1, 1, 2, 1.5)], ids=str)
def test_scales_and_sizes_computed_at_run_time(how):
    agrees(IMAGE, how, mode="linear", constant=False)


def test_channels_last():
    agrees(IMAGE, scales(1, 2, 2, 1), mode="linear", coordinate_transformation_mode="asymmetric")


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_long_axes_that_torch_can_interpolate(mode, coordinates):
    image = RANDOM.normal(size=(1, 1, 300, 2)).astype(np.float32)
    # The runtime's float32 coordinates are 3e-5 off at the end of such an axis.
    agrees(image, sizes(1, 1, 450, 4), mode=mode, coordinate_transformation_mode=coordinates, atol=2e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_long_axes(mode, axis):
    shape, factors = [2, 3, 3], [1.0, 1.0, 1.0]
    shape[axis], factors[axis] = 1000, 0.7
    image = RANDOM.normal(size=shape).astype(np.float32)
    agrees(image, scales(*factors), mode=mode, coordinate_transformation_mode="asymmetric")


def test_align_corners_with_rounded_scales_goes_by_the_length_before_rounding():
    image = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
    inputs = [image, *scales(1, 1, 0.6, 0.6)]
    settings = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    model = single_node("Resize", inputs, opset=19, constant=[2], **settings)
    np.testing.assert_allclose(by_twin(model, inputs)[0].ravel(), [1, 1 + 3 / 1.4], rtol=1e-6)  # onnx's own example


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("constant", [[], [1]])
def test_version_10_rounds_up_where_an_axis_shrinks(mode, constant):
    inputs = [IMAGE, np.array([1, 1, 0.6, 2], np.float32)]
    model = single_node("Resize", inputs, opset=10, constant=constant, mode=mode)
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_runtime(model, inputs)[0], rtol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_by_input_and_by_attribute(mode):
    factors = np.array([1, 1, 1.5, 3], np.float32)
    by_input = single_node("Upsample", [IMAGE, factors], opset=9, mode=mode)
    by_attribute = single_node("Upsample", [IMAGE], opset=8, mode=mode, scales=factors.tolist())
    expected = by_runtime(by_input, [IMAGE, factors])[0]
    np.testing.assert_allclose(by_twin(by_input, [IMAGE, factors])[0], expected, rtol=1e-5)
    np.testing.assert_allclose(by_twin(by_attribute, [IMAGE])[0], expected, rtol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
def test_gradients(mode, coordinates):
    inputs = [IMAGE[:1, :1, :3, :4], *sizes(1, 1, 6, 2)]
    settings = {"mode": mode, "coordinate_transformation_mode": coordinates}
    assert has_true_gradients("Resize", inputs, opset=19, constant=[3], **settings)


def test_gradient_through_antialias():
    assert has_true_gradients("Resize", [IMAGE[:1, :1], *sizes(1, 1, 2, 2)], opset=19, mode="cubic", antialias=1)


def test_a_first_call_without_gradients_does_not_spoil_later_ones():
    from onnxplain.adapters.torch import convert

    inputs = [IMAGE.astype(np.float64), *scales(1, 1, 1.7, 1.3)]
    model = single_node("Resize", inputs, opset=19, constant=[2], mode="cubic", exclude_outside=1)
    module, x = convert(model), torch.from_numpy(inputs[0]).requires_grad_()
    with torch.inference_mode():
        module(x)
    module(x).sum().backward()
    np.testing.assert_allclose(x.grad.sum(), np.prod([2, 2, 10, 6]), rtol=1e-9)
