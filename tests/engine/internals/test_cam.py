"""CAM: pooling and weights are found in the graph, however they are written; other endings are refused."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from map_networks import channels_last_features, convolutions, floats, picture
from onnxplain.engine.errors import CapabilityError
from small_graphs import model_of

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(9)
W, B = RNG.normal(size=(3, 4)), RNG.normal(size=3)
K = RNG.normal(size=(4, 3, 3, 3)) / 3
X = picture(3, 6, 7)


def ending(*nodes, **constants):
    """A convolution with ReLU, and these nodes after it, up to ``y``."""
    first = [helper.make_node("Conv", ["image", "K"], ["conv"]), helper.make_node("Relu", ["conv"], ["features"])]
    arrays = floats(K=K) | {n: a if a.dtype == np.int64 else a.astype(np.float32) for n, a in constants.items()}
    ends = {"image": (FLOAT, ["n", 3, 6, 7])}, {"y": (FLOAT, ["n", 3])}
    return onnxplain.load(model_of([*first, *nodes], *ends, arrays).SerializeToString(), device="cpu")


POOL = helper.make_node("GlobalAveragePool", ["features"], ["pooled"])
FLAT = helper.make_node("Flatten", ["pooled"], ["flat"])
ENDINGS = {
    "Gemm": lambda: ending(POOL, FLAT, helper.make_node("Gemm", ["flat", "W", "b"], ["y"], transB=1), W=W, b=B),
    "Gemm with a factor, not transposed": lambda: ending(
        POOL, FLAT, helper.make_node("Gemm", ["flat", "W", "b"], ["y"], alpha=2.0), W=W.T / 2, b=B
    ),
    "MatMul and Add": lambda: ending(
        helper.make_node("ReduceMean", ["features"], ["flat"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["flat", "W"], ["product"]),
        helper.make_node("Add", ["b", "product"], ["y"]),
        W=W.T,
        b=B,
    ),
    "convolution of one pixel": lambda: ending(
        POOL,
        helper.make_node("Conv", ["pooled", "W", "b"], ["scores"]),
        helper.make_node("Flatten", ["scores"], ["y"]),
        W=W[:, :, None, None],
        b=B,
    ),
    "average over all, weights that are turned": lambda: ending(
        helper.make_node("AveragePool", ["features"], ["pooled"], kernel_shape=[4, 5]),
        FLAT,
        helper.make_node("Transpose", ["W"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["flat", "turned"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["y"]),
        W=W,
        b=B,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_weights_are_those_of_the_class(name):
    model = ENDINGS[name]()
    found = onnxplain.explain(model, X, "cam", target=2)
    A = model.activations(X, ["features"])["features"][0]
    assert np.allclose(found.extras["weights"], W[2], atol=1e-6)
    assert np.allclose(found.extras["map"], np.tensordot(W[2], A, 1), atol=1e-5)
    assert found.extras["map"].mean() + B[2] == pytest.approx(found.score, abs=1e-5)


def test_classes_that_are_pooled_themselves_are_their_own_maps():
    model = ending(
        helper.make_node("Conv", ["features", "W"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["scores"]),
        helper.make_node("Flatten", ["scores"], ["y"]),
        W=W[:, :, None, None],
    )
    found = onnxplain.explain(model, X, "cam", target=1)
    assert np.allclose(found.extras["map"], model.activations(X, ["maps"])["maps"][0, 1], atol=1e-6)


def test_a_pooled_channel_is_its_own_map():
    model = ENDINGS["Gemm"]()
    found = onnxplain.explain(model, X, "cam", target="pooled[3]")
    assert np.array_equal(found.extras["weights"], [0, 0, 0, 1])
    assert found.extras["map"].mean() == pytest.approx(found.score, abs=1e-6)


def test_it_stops_before_the_softmax():
    model = ending(
        POOL,
        FLAT,
        helper.make_node("Gemm", ["flat", "W", "b"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"]),
        W=W,
        b=B,
    )
    assert np.allclose(onnxplain.explain(model, X, "cam", target=0).extras["weights"], W[0], atol=1e-6)


def test_channels_may_be_last():
    model = onnxplain.load(channels_last_features().SerializeToString(), device="cpu")
    found = onnxplain.explain(model, picture(6, 10, 3), "cam", target=1)
    assert found.values["image"].shape == (1, 6, 10, 3)
    assert found.extras["map"].mean() + 0.2 == pytest.approx(found.score, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: ending(POOL, FLAT, helper.make_node("MatMul", ["flat", "W"], ["z"]),
                        helper.make_node("Relu", ["z"], ["y"]), W=W.T), "Relu 'y' stands between"),
        (lambda: onnxplain.load(convolutions(pool=False).SerializeToString(), device="cpu"), "stands between"),
        (lambda: ending(helper.make_node("AveragePool", ["features"], ["p"], kernel_shape=[3, 3], strides=[9, 9]),
                        helper.make_node("Flatten", ["p"], ["flat"]),
                        helper.make_node("MatMul", ["flat", "W"], ["y"]), W=W.T), "is not the mean of each channel"),
    ],
)  # fmt: skip
def test_other_endings_are_refused_with_the_reason(model, reason):
    opened = model()
    x = X if opened.inputs[0].shape[2] == 6 else picture(3, 12, 8)
    with pytest.raises(CapabilityError, match=reason) as caught:
        onnxplain.explain(opened, x, "cam", target=0)
    assert "grad-cam" in caught.value.tip


def test_there_is_no_choice_of_a_layer():
    with pytest.raises(CapabilityError, match="made at 'features'"):
        onnxplain.explain(ENDINGS["Gemm"](), X, "cam", target=0, wrt="conv")
