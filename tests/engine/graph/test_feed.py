"""Graphs that are fed in the middle: the same outputs from the inner tensor, and nothing left of what led to it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxplain
from onnxplain.engine.errors import SettingError
from onnxplain.engine.graph.feed import feed_at
from small_graphs import model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(3)
W1, W2 = (RNG.standard_normal((3, 3)).astype(np.float32) for _ in range(2))
X = RNG.standard_normal((4, 3)).astype(np.float32)


def network(*, around=False):
    """y = relu(x W1) W2; with ``around`` plus x."""
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["a"]),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "W2"], ["b"]),
        helper.make_node(*(("Add", ["b", "x"]) if around else ("Identity", ["b"])), ["y"]),
    ]
    return model_of(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 3])}, {"W1": W1, "W2": W2})


def run(proto, feeds):
    return onnxplain.load(proto.SerializeToString(), device="cpu").predict(feeds)["y"]


def test_what_led_to_the_tensor_is_left_out():
    part = feed_at(network(), "h", ["y"], ["n", 3])
    assert [value.name for value in part.graph.input] == ["h"]
    assert {tensor.name for tensor in part.graph.initializer} == {"W2"}
    assert np.allclose(run(part, {"h": X}), X @ W2, atol=1e-6)


def test_inputs_that_count_by_other_ways_stay():
    part = feed_at(network(around=True), "h", ["y"], ["n", 3])
    assert [value.name for value in part.graph.input] == ["x", "h"]
    assert np.allclose(run(part, {"x": X, "h": X}), X @ W2 + X, atol=1e-6)


def test_other_outputs_of_the_node_are_kept():
    nodes = [
        helper.make_node("Split", ["x"], ["left", "right"], axis=1, num_outputs=2),
        helper.make_node("Sub", ["left", "right"], ["y"]),
    ]
    proto = model_of(nodes, {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", 2])}, opset=18)
    part = feed_at(proto, "left", ["y"], ["n", 2])
    x = RNG.standard_normal((2, 4)).astype(np.float32)
    assert np.allclose(run(part, {"x": x, "left": np.ones((2, 2), np.float32)}), 1 - x[:, 2:])


def test_an_input_may_be_the_tensor():
    assert np.allclose(run(feed_at(network(), "x", ["y"], ["n", 3]), {"x": X}), np.maximum(X @ W1, 0) @ W2, atol=1e-6)


def test_the_model_itself_stays_as_it_was():
    proto = network()
    before = proto.SerializeToString()
    feed_at(proto, "h", ["y"], ["n", 3])
    assert proto.SerializeToString() == before


def test_weights_of_other_files_are_read_in(tmp_path):
    onnx.save_model(network(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    part = feed_at(proto, "h", ["y"], ["n", 3], tmp_path)
    assert np.array_equal(numpy_helper.to_array(part.graph.initializer[0]), W2)
    assert not part.graph.initializer[0].external_data


def test_an_unknown_tensor_is_refused_with_the_nearest():
    with pytest.raises(SettingError, match="no tensor 'hh'"):
        feed_at(network(), "hh", ["y"], ["n", 3])
