"""Maps: enlarged as ONNX Runtime's Resize does it, with a box around the largest region, in every layout."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import onnxplain
from map_networks import channels_last_features, convolutions, picture, series
from onnxplain.engine.internals.maps import box_of, weighted
from onnxplain.engine.internals.view import View, view_of
from small_graphs import model_of


@pytest.mark.parametrize("size", [(9, 14), (7, 5), (3, 4), (2, 2)])
def test_enlarging_is_resize_with_half_pixels(size):
    nodes = [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear")]
    proto = model_of(
        nodes,
        {"x": (TensorProto.FLOAT, [1, 1, 3, 4])},
        {"y": (TensorProto.FLOAT, [1, 1, *size])},
        {"sizes": np.array([1, 1, *size])},
    )
    found = picture(3, 4)
    expected = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": found[None]})[0][0]
    view = View("image", (1, 3, *size), (2, 3), 1)
    assert np.allclose(view.enlarged(found.astype(float)), expected, atol=1e-6)


def test_one_cell_becomes_a_constant():
    view = View("image", (1, 3, 4, 5), (2, 3), 1)
    assert np.array_equal(view.enlarged(np.full((1, 1, 1), 7.0)), np.full((1, 4, 5), 7.0))


def test_box_surrounds_the_largest_region_above_15_percent():
    found = np.zeros((8, 10))
    found[1, 1] = 100
    found[4:7, 5:9] = 16
    found[3, 5] = 15  # not above 15 % of 100
    assert box_of(found).tolist() == [5, 4, 9, 7]


def test_regions_that_touch_at_a_corner_are_two():
    found = np.eye(4)
    found[0, 1] = 1
    assert box_of(found).tolist() == [0, 0, 2, 2]


def test_there_is_no_box_where_nothing_is_positive():
    assert box_of(-np.ones((3, 3))) is None
    assert box_of(np.zeros((3, 3))) is None


def test_weights_are_per_channel_or_per_position():
    A = np.arange(8.0).reshape(1, 2, 2, 2)
    assert np.array_equal(weighted(A, np.array([[1.0, -1.0]]), relu=False), [[[-4, -4], [-4, -4]]])
    assert np.array_equal(weighted(A, np.array([[1.0, -1.0]]), relu=True), np.zeros((1, 2, 2)))
    assert np.array_equal(weighted(A, A, relu=False), [[[16, 26], [40, 58]]])


def test_values_have_the_inputs_shape_and_are_equal_in_all_channels():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    found = onnxplain.explain(model, picture(3, 12, 8), "eigen-cam", target=0)
    assert found.values["image"].shape == (1, 3, 12, 8)
    assert np.array_equal(found.values["image"][0, 0], found.values["image"][0, 2])
    assert found.extras["map"].shape == (6, 4)
    large = View("image", (1, 3, 12, 8), (2, 3), 1).enlarged(found.extras["map"][None])[0]
    assert np.array_equal(found.values["image"][0, 1], large)
    assert found.notes == ("map of 6 x 4 at 'features', enlarged to 12 x 8",)


def test_channels_of_the_input_may_be_last():
    model = onnxplain.load(channels_last_features().SerializeToString(), device="cpu")
    found = onnxplain.explain(model, picture(6, 10, 3), "eigen-cam", target=0)
    assert found.values["image"].shape == (1, 6, 10, 3)
    assert np.allclose(found.values["image"][0, ..., 1], found.extras["map"])


def test_maps_as_they_are_keep_the_layers_layout():
    model = onnxplain.load(channels_last_features().SerializeToString(), device="cpu")
    found = onnxplain.explain(model, picture(6, 10, 3), "eigen-cam", target=0, upsample=False)
    assert found.values["features"].shape == (1, 6, 10, 1)
    assert np.array_equal(found.values["features"][0, ..., 0], found.extras["map"])


def test_box_is_in_pixels_of_the_input_also_where_the_map_is_not_enlarged():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    small, large = (
        onnxplain.explain(model, picture(3, 12, 8), "eigen-cam", target=0, relu=True, upsample=up)
        for up in (False, True)
    )
    assert np.array_equal(small.extras["box"], large.extras["box"])
    assert np.array_equal(large.extras["box"], box_of(large.values["image"][0, 0]))


def test_a_series_is_enlarged_along_time():
    model = onnxplain.load(series().SerializeToString(), device="cpu")
    found = onnxplain.explain(model, picture(2, 16), "eigen-cam", target=0)
    assert found.values["x"].shape == (1, 2, 16)
    assert np.array_equal(found.values["x"][0, 0], found.values["x"][0, 1])
    assert np.allclose(found.values["x"][0, 0, [0, -1]], found.extras["map"][[0, -1]])


def test_the_first_convolution_tells_the_axes_of_an_input(problem_of):
    """Seven channels look like nothing; the network reads them as the second axis, or the last."""
    for shape, perm, channel in (((7, 8, 9), None, 1), ((8, 9, 7), [0, 3, 1, 2], 3)):
        turned = [helper.make_node("Transpose", ["x"], ["t"], perm=perm)] if perm else []
        conv = helper.make_node("Conv", ["t" if perm else "x", "K"], ["c"])
        flat = helper.make_node("Flatten", ["c"], ["y"])
        ends = {"x": (TensorProto.FLOAT, ["n", *shape])}, {"y": (TensorProto.FLOAT, ["n", None])}
        proto = model_of([*turned, conv, flat], *ends, {"K": np.ones((2, 7, 3, 3), np.float32)})
        view = view_of(problem_of(proto, picture(*shape)))
        assert view.channel == channel
        assert view.size == (8, 9)
