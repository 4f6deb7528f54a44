"""Score-CAM against plain loops over channels, and what it does not run."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from map_networks import channels_last_features, convolutions, floats, picture
from onnxplain.engine.errors import CapabilityError
from onnxplain.engine.internals.view import View
from small_graphs import model_of


def loops(model, x, layer, target, *, channels_last=False):
    """Weights of Score-CAM, a channel and an image at a time."""
    A = model.activations(x, [layer])[layer][0]
    A = np.moveaxis(A, -1, 0) if channels_last else A
    shape = x.shape[1:3] if channels_last else x.shape[2:]
    nothing = model.predict(np.zeros_like(x))["y"][0, target]
    weights = []
    for channel in A:
        view = View("image", (1, 1, *shape), (2, 3), 1)
        mask = view.enlarged(channel[None].astype(float))[0]
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        masked = x * (mask[None, :, :, None] if channels_last else mask).astype(np.float32)
        weights.append(model.predict(masked)["y"][0, target] - nothing)
    return np.array(weights), A


def test_weights_and_map_are_those_of_plain_loops():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    x = picture(3, 12, 8)
    weights, A = loops(model, x, "features", 2)
    found = onnxplain.explain(model, x, "score-cam", target=2)
    assert np.allclose(found.extras["weights"], weights, atol=1e-5)
    assert np.allclose(found.extras["map"], np.maximum(np.tensordot(weights, A, 1), 0), atol=1e-5)
    assert found.baseline_score == pytest.approx(model.predict(np.zeros_like(x))["y"][0, 2], abs=1e-6)
    assert found.evaluations == len(A) + 2


def test_channels_may_be_last():
    model = onnxplain.load(channels_last_features().SerializeToString(), device="cpu")
    x = picture(6, 10, 3)
    weights, _ = loops(model, x, "features", 1, channels_last=True)
    found = onnxplain.explain(model, x, "score-cam", target=1)
    assert np.allclose(found.extras["weights"], weights, atol=1e-5)


def test_softmax_weights_sum_to_one():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    x = picture(3, 12, 8)
    gains, _ = loops(model, x, "features", 0)
    found = onnxplain.explain(model, x, "score-cam", target=0, weights="softmax")
    assert np.allclose(found.extras["weights"], np.exp(gains) / np.exp(gains).sum(), atol=1e-5)


def test_a_constant_channel_is_not_run_and_weighs_nothing():
    nodes = [
        helper.make_node("Conv", ["image", "K", "b"], ["conv"]),
        helper.make_node("Flatten", ["conv"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W"], ["y"], transB=1),
    ]
    weights = floats(K=[[[[1]]], [[[0]]]], b=[0, 3], W=np.ones((1, 18)))
    ends = {"image": (TensorProto.FLOAT, ["n", 1, 3, 3])}, {"y": (TensorProto.FLOAT, ["n", 1])}
    model = onnxplain.load(model_of(nodes, *ends, weights).SerializeToString(), device="cpu")
    found = onnxplain.explain(model, picture(1, 3, 3), "score-cam", target=0)
    assert found.extras["weights"][1] == 0
    assert found.extras["weights"][0] != 0
    assert found.evaluations == 3  # the activations, one channel and the baseline


def test_a_dense_layer_cannot_mask_the_input():
    model = onnxplain.load(convolutions().SerializeToString(), device="cpu")
    with pytest.raises(CapabilityError, match="'flat' has no grid in common"):
        onnxplain.explain(model, picture(3, 12, 8), "score-cam", target=0, wrt="flat")
