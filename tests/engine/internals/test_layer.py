"""The layer that a map is made at: the last tensor with positions, in every layout, and refusals with a reason."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from map_networks import channels_last_features, convolutions, floats, picture, series, vision_transformer
from onnxplain.engine.errors import SettingError
from onnxplain.engine.internals.layer import Layer, layer_of
from small_graphs import affine, model_of

FLOAT = TensorProto.FLOAT


def test_default_is_the_last_tensor_with_positions(problem_of):
    assert layer_of(problem_of(convolutions(), picture(3, 12, 8))) == Layer("features", (1, 5, 6, 4), 1, (6, 4))


def test_target_itself_is_not_the_layer(problem_of):
    layer = layer_of(problem_of(convolutions(), picture(3, 12, 8), target="conv2[2,1,1]"))
    assert layer == Layer("relu", (1, 4, 12, 8), 1, (12, 8))


def test_channels_are_last_where_the_graph_has_turned_them(problem_of):
    problem = problem_of(channels_last_features(), picture(6, 10, 3))
    assert layer_of(problem) == Layer("features", (1, 6, 10, 4), 3, (6, 10))


def test_channels_are_first_inside_a_network_that_takes_them_last(problem_of):
    problem = problem_of(convolutions(channels_last=True), picture(12, 8, 3))
    assert layer_of(problem) == Layer("features", (1, 5, 6, 4), 1, (6, 4))


def test_patches_that_are_averaged_are_taken_from_the_last_block(problem_of):
    problem = problem_of(vision_transformer(class_token=False), picture(3, 8, 12))
    assert layer_of(problem) == Layer("stream2", (1, 6, 6), 2, (2, 3))


def test_patches_beside_a_class_token_are_taken_from_before_the_last_attention(problem_of):
    problem = problem_of(vision_transformer(), picture(3, 8, 12))
    assert layer_of(problem) == Layer("stream1", (1, 7, 6), 2, (2, 3), 1)


def test_attention_is_no_layer(problem_of):
    """Even where it is square like an image: ``likeness`` is (rows, tokens, tokens)."""
    problem = problem_of(vision_transformer(class_token=False, size=(16, 16)), picture(3, 16, 16))
    assert layer_of(problem).tensor == "stream2"


def test_windows_of_a_shifted_window_transformer_are_passed_by(problem_of):
    """Swin keeps (rows, height, width, channels) and works on windows (rows x windows, positions, channels)."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("Conv", ["image", "K"], ["patches"], strides=[4, 4]),
        helper.make_node("Transpose", ["patches"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("LayerNormalization", ["nhwc", "scale"], ["normal"]),
        helper.make_node("Reshape", ["normal", "windows"], ["cut"]),
        helper.make_node("MatMul", ["cut", "W"], ["dense"]),
        helper.make_node("Reshape", ["dense", "whole"], ["joined"]),
        helper.make_node("Add", ["nhwc", "joined"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["y"], axes=[1, 2], keepdims=0),
    ]
    weights = floats(K=rng.normal(size=(5, 3, 4, 4)), W=rng.normal(size=(5, 5)), scale=np.ones(5))
    shapes = {"windows": np.array([-1, 4, 5]), "whole": np.array([-1, 4, 2, 5])}
    ends = {"image": (FLOAT, ["n", 3, 16, 8])}, {"y": (FLOAT, ["n", 5])}
    problem = problem_of(model_of(nodes, *ends, weights | shapes), picture(3, 16, 8))
    assert layer_of(problem) == Layer("features", (1, 4, 2, 5), 3, (4, 2))


def test_tokens_may_come_before_the_rows(problem_of):
    """As torch's attention layers take them by default: (tokens, rows, channels)."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["image", "K"], ["patches"], strides=[4, 4]),
        helper.make_node("Reshape", ["patches", "tokens"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"], perm=[2, 0, 1]),
        helper.make_node("MatMul", ["turned", "W"], ["dense"]),
        helper.make_node("Relu", ["dense"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["y"], axes=[0], keepdims=0),
    ]
    weights = floats(K=rng.normal(size=(4, 3, 4, 4)), W=rng.normal(size=(4, 5))) | {"tokens": np.array([0, 4, -1])}
    proto = model_of(nodes, {"image": (FLOAT, ["n", 3, 8, 12])}, {"y": (FLOAT, ["n", 5])}, weights)
    problem = problem_of(proto, picture(3, 8, 12))
    assert layer_of(problem) == Layer("features", (1, 6, 5), 2, (2, 3))


def test_series_have_one_axis_of_positions(problem_of):
    assert layer_of(problem_of(series(), picture(2, 16))) == Layer("features", (1, 4, 8), 1, (8,))


def test_shapes_that_the_file_does_not_tell_are_found_by_running(problem_of):
    proto = convolutions(side=(12, 8))
    for axis in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.Clear()
    assert layer_of(problem_of(proto, picture(3, 12, 8))) == Layer("features", (1, 5, 6, 4), 1, (6, 4))


def test_wrt_overrides_the_choice(problem_of):
    layer = layer_of(problem_of(convolutions(), picture(3, 12, 8), wrt="relu"))
    assert layer == Layer("relu", (1, 4, 12, 8), 1, (12, 8))


def test_an_input_may_be_the_layer(problem_of):
    layer = layer_of(problem_of(convolutions(channels_last=True), picture(12, 8, 3), wrt="image"))
    assert layer == Layer("image", (1, 12, 8, 3), 3, (12, 8))


def test_a_dense_layer_is_channels_without_positions(problem_of):
    assert layer_of(problem_of(convolutions(), picture(3, 12, 8), wrt="flat")) == Layer("flat", (1, 5), 1, ())


def test_a_graph_without_positions_is_refused(problem_of):
    with pytest.raises(SettingError, match="no tensor before the target 'y' has positions"):
        layer_of(problem_of(affine(np.ones((2, 3)), np.zeros(2)), np.ones((1, 3), np.float32)))


def test_an_unknown_layer_is_refused_with_the_nearest(problem_of):
    with pytest.raises(SettingError, match="no tensor 'feature'") as caught:
        layer_of(problem_of(convolutions(), picture(3, 12, 8), wrt="feature"))
    assert "'features'" in caught.value.tip


def test_a_layer_behind_the_target_is_refused(problem_of):
    with pytest.raises(SettingError, match="target 'conv' does not depend on tensor 'features'"):
        layer_of(problem_of(convolutions(), picture(3, 12, 8), target="conv[0,1,1]", wrt="features"))


def test_a_tensor_of_integers_is_refused(problem_of):
    nodes = [
        helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Cast", ["whole"], ["floats"], to=FLOAT),
        helper.make_node("Flatten", ["floats"], ["y"]),
    ]
    proto = model_of(nodes, {"image": (FLOAT, ["n", 3, 4, 4])}, {"y": (FLOAT, ["n", 48])})
    with pytest.raises(SettingError, match="holds int32"):
        layer_of(problem_of(proto, picture(3, 4, 4), wrt="whole"))


def test_channels_of_tokens_leave_out_those_before_the_grid():
    row = np.arange(14.0).reshape(1, 7, 2)
    layer = Layer("t", (1, 7, 2), 2, (2, 3), 1)
    assert np.array_equal(layer.channels(row), [[[[2, 4, 6], [8, 10, 12]], [[3, 5, 7], [9, 11, 13]]]])


def test_a_channel_is_dropped_in_the_tensors_own_layout():
    row = np.arange(1.0, 13.0).reshape(1, 2, 3, 2)
    found = Layer("t", row.shape, 3, (2, 3)).without(row, np.array([0, 1]))
    assert np.array_equal(found[0, ..., 0], np.zeros((2, 3)))
    assert np.array_equal(found[0, ..., 1], row[0, ..., 1])
    assert np.array_equal(found[1, ..., 0], row[0, ..., 0])
    assert np.array_equal(found[1, ..., 1], np.zeros((2, 3)))


def test_a_class_token_keeps_its_value_when_a_channel_is_dropped():
    row = np.ones((1, 7, 2))
    found = Layer("t", row.shape, 2, (2, 3), 1).without(row, np.array([1]))
    assert np.array_equal(found[0, :, 1], [1, 0, 0, 0, 0, 0, 0])
    assert np.array_equal(found[0, :, 0], np.ones(7))
