"""Ablation-CAM against plain loops: the network behind the layer, run without each channel."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxplain
from map_networks import channels_last_features, convolutions, floats, picture, vision_transformer
from onnxplain.engine.errors import SettingError
from onnxplain.engine.graph.feed import feed_at
from small_graphs import model_of


def loops(proto, x, layer, target, axis, start=0):
    """Scores without each channel, a run at a time."""
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    A = model.activations(x, [layer])[layer]
    session = onnxruntime.InferenceSession(feed_at(proto, layer, ["y"], ["n", *A.shape[1:]]).SerializeToString())
    scores = []
    for k in range(A.shape[axis]):
        dropped = np.moveaxis(A.copy(), axis, -1)
        dropped.reshape(-1, A.shape[axis])[start:, k] = 0
        scores.append(session.run(None, {layer: np.moveaxis(dropped, -1, axis)})[0][0, target])
    return model, np.array(scores), model.predict(x)["y"][0, target]


@pytest.mark.parametrize("batch", ["batch", 1, 3])
@pytest.mark.parametrize("pool", [True, False])
def test_weights_are_relative_drops(pool, batch):
    proto, x = convolutions(pool=pool), picture(3, 12, 8)
    _, scores, whole = loops(proto, x, "features", 1, 1)
    model = onnxplain.load(convolutions(pool=pool, batch=batch).SerializeToString(), device="cpu")
    found = onnxplain.explain(model, x, "ablation-cam", target=1)
    assert np.allclose(found.extras["weights"], (whole - scores) / whole, atol=1e-5)
    assert found.evaluations == 6


def test_drops_in_units_of_the_score_are_those_of_the_linear_layer():
    proto, x = channels_last_features(), picture(6, 10, 3)
    model, scores, whole = loops(proto, x, "features", 0, 3)
    found = onnxplain.explain(model, x, "ablation-cam", target=0, relative=False)
    assert np.allclose(found.extras["weights"], whole - scores, atol=1e-6)
    assert np.abs(whole - scores).max() > 0.01


def test_of_tokens_the_class_token_keeps_its_value():
    proto, x = vision_transformer(), picture(3, 8, 12)
    model, scores, whole = loops(proto, x, "stream1", 2, 2, start=1)
    found = onnxplain.explain(model, x, "ablation-cam", target=2, relative=False)
    assert np.allclose(found.extras["weights"], whole - scores, atol=1e-6)


def test_ways_around_the_layer_keep_the_input():
    nodes = [
        helper.make_node("Conv", ["image", "K"], ["features"]),
        helper.make_node("Add", ["features", "image"], ["sum"]),
        helper.make_node("Flatten", ["sum"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W"], ["y"], transB=1),
    ]
    K, W = np.array([2, 3.0]).reshape(2, 1, 1, 1), np.arange(1.0, 9.0).reshape(1, 8)
    ends = {"image": (TensorProto.FLOAT, ["n", 1, 2, 2])}, {"y": (TensorProto.FLOAT, ["n", 1])}
    model = onnxplain.load(model_of(nodes, *ends, floats(K=K, W=W)).SerializeToString(), device="cpu")
    x = picture(1, 2, 2)
    found = onnxplain.explain(model, x, "ablation-cam", target=0, relative=False, wrt="features")
    parts = W.reshape(2, 4) @ x.reshape(4)
    assert np.allclose(found.extras["weights"], parts * [2, 3], atol=1e-5)


def test_hidden_channels_can_be_explained():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    settings = {"target": "conv2[2,1,1]", "wrt": "conv", "relative": False}
    found = onnxplain.explain(model, picture(3, 12, 8), "ablation-cam", **settings)
    K2 = np.asarray(next(numpy_helper.to_array(t) for t in model.proto.graph.initializer if t.name == "K2"))
    relu = model.activations(picture(3, 12, 8), ["relu"])["relu"][0]
    assert np.allclose(found.extras["weights"], (K2[2] * relu[:, 1:4, 1:4]).sum((1, 2)), atol=1e-5)


def test_a_channel_that_is_zero_already_is_not_run():
    proto = convolutions()
    x = picture(3, 12, 8)
    model = onnxplain.load(proto.SerializeToString(), device="cpu")
    zero = np.zeros_like(x)
    assert onnxplain.explain(model, zero, "ablation-cam", target=0, wrt="relu").evaluations == 1
    assert onnxplain.explain(model, x, "ablation-cam", target=0, wrt="relu").evaluations == 5


def test_a_negative_score_is_said():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    scores = model.predict(picture(3, 12, 8))["y"][0]
    notes = {k: onnxplain.explain(model, picture(3, 12, 8), "ablation-cam", target=k).notes for k in range(3)}
    for k, score in enumerate(scores):
        assert any("negative" in note for note in notes[k]) == (score < 0)
    assert (scores < 0).any()


def test_a_score_of_zero_is_refused():
    nodes = [helper.make_node("Relu", ["image"], ["A"]), helper.make_node("GlobalAveragePool", ["A"], ["y"])]
    ends = {"image": (TensorProto.FLOAT, ["n", 1, 2, 2])}, {"y": (TensorProto.FLOAT, ["n", 1, 1, 1])}
    model = onnxplain.load(model_of(nodes, *ends).SerializeToString(), device="cpu")
    with pytest.raises(SettingError, match="the score is 0"):
        onnxplain.explain(model, np.zeros((1, 1, 2, 2), np.float32), "ablation-cam", target=0)
