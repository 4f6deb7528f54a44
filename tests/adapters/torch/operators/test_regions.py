"""Regions of interest, and suppression of boxes that overlap better ones."""

import numpy as np
import pytest

from single_nodes import by_runtime, by_twin, has_true_gradients, single_node

torch = pytest.importorskip("torch")
RANDOM = np.random.default_rng(8)
X = RANDOM.normal(size=(2, 3, 8, 9)).astype(np.float32)
REGIONS = np.array([[1, 1, 6.5, 7], [-2, 0.3, 3, 3.4], [5, 4, 14, 12], [2, 2, 2.2, 2.1]], np.float32)
IMAGES = np.array([0, 1, 1, 0])


def agrees(op_type, inputs, *, opset, **rest):
    model = single_node(op_type, inputs, opset=opset, **rest)
    np.testing.assert_allclose(by_twin(model, inputs)[0], by_runtime(model, inputs)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_roi_align_means(coordinates, ratio):
    settings = {"output_height": 2, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": 0.7}
    agrees("RoiAlign", [X, REGIONS, IMAGES], opset=16, coordinate_transformation_mode=coordinates, **settings)


@pytest.mark.parametrize("ratio", [0, 1])
def test_roi_align_maxima(ratio):
    settings = {"output_height": 2, "output_width": 3, "sampling_ratio": ratio, "mode": "max"}
    agrees("RoiAlign", [X, REGIONS, IMAGES], opset=16, **settings)


def test_roi_align_had_no_half_pixel_before_version_16():
    agrees("RoiAlign", [X, REGIONS, IMAGES], opset=10, output_height=2, output_width=2, sampling_ratio=2)


def test_roi_align_without_regions():
    inputs = [X, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)]
    model = single_node("RoiAlign", inputs, opset=16, output_height=2, output_width=5)
    assert by_twin(model, inputs)[0].shape == (0, 3, 2, 5)


def test_gradients_of_pixels_and_regions():
    inputs = [X[:1, :1, :5, :5], np.array([[0.6, 0.7, 3.1, 3.3]]), np.array([0])]
    assert has_true_gradients("RoiAlign", inputs, opset=16, output_height=2, output_width=1, sampling_ratio=2)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_max_roi_pool(scale):
    regions = np.concatenate([IMAGES[:, None], REGIONS], axis=1).astype(np.float32)
    agrees("MaxRoiPool", [X, regions], opset=16, pooled_shape=[2, 3], spatial_scale=scale)
    assert has_true_gradients(
        "MaxRoiPool", [X[:, :1], regions[:2]], opset=16, constant=[1], pooled_shape=[2, 2], spatial_scale=scale
    )


@pytest.mark.parametrize("centred", [0, 1])
@pytest.mark.parametrize("threshold", [[], [np.array([0.4], np.float32)]], ids=["all", "above"])
def test_non_max_suppression(centred, threshold):
    boxes = RANDOM.uniform(0, 1, size=(2, 8, 4)).astype(np.float32)
    scores = RANDOM.integers(0, 6, size=(2, 3, 8)).astype(np.float32) / 6  # with equal scores the first box wins
    inputs = [boxes, scores, np.array([3]), np.array([0.3], np.float32), *threshold]
    agrees("NonMaxSuppression", inputs, opset=11, center_point_box=centred)


def test_no_box_is_kept_unless_a_number_is_given():
    inputs = [np.zeros((1, 2, 4), np.float32), np.ones((1, 1, 2), np.float32)]
    assert by_twin(single_node("NonMaxSuppression", inputs, opset=11), inputs)[0].shape == (0, 3)
