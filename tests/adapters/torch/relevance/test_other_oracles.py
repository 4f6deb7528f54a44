"""Guided backprop, deconvnet, guided Grad-CAM, excitation backprop, Deep Taylor and DeepLIFT: known numbers."""

import numpy as np
import pytest
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from oracles import graphs  # noqa: E402
from relevance_problems import CLOSE, N1, dense, gemm, loaded_bytes, network  # noqa: E402
from small_graphs import model_of  # noqa: E402

A = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
ONES = np.ones((1, 1, 4, 4), np.float32)


def explained(model, x, method, target=0, **settings):
    return onnxplain.explain(model, np.asarray([x], np.float32), method, target=target, **settings)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("guided-backprop", [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]),
        ("deconvnet", [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]),
    ],
)
def test_rectified_gradients_of_a_small_convolution(method, expected):
    found = onnxplain.explain(loaded_bytes(graphs.cv()), A, method, target="relu2[0]")
    np.testing.assert_allclose(found.values["image"][0, 0], expected)
    assert found.notes == ()


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet"])
def test_activations_inside_of_a_recurrent_node_are_told(method):
    """``h = relu(2 x - h')`` over two steps: the gradient of the last h goes back as it is."""
    weights = {"W": np.full((1, 1, 1), 2, np.float32), "R": np.full((1, 1, 1), -1, np.float32)}
    rnn = helper.make_node("RNN", ["x", "W", "R"], ["", "last"], hidden_size=1, activations=["Relu"])
    ends = {"x": (TensorProto.FLOAT, [2, "n", 1])}, {"last": (TensorProto.FLOAT, [1, "n", 1])}
    model = onnxplain.load(model_of([rnn], *ends, weights).SerializeToString())
    found = onnxplain.explain(model, np.float32([[[1]], [[3]]]), method, target="last[0,0]")
    assert found.values["x"].ravel().tolist() == [-2, 2]
    assert found.notes == ("activations inside of other operators keep their gradient: RNN (such as 'last')",)


def test_guided_backprop_of_two_inputs():
    model = loaded_bytes(graphs.cv_of_two())
    first, second = (i.name for i in model.inputs)
    found = onnxplain.explain(model, {first: A, second: ONES}, "guided-backprop", target="relu2[0]")
    expected = [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    for name in (first, second):
        np.testing.assert_allclose(found.values[name][0, 0], expected)


def test_guided_grad_cam_of_two_inputs():
    model = loaded_bytes(graphs.cv_of_two())
    first, second = (i.name for i in model.inputs)
    found = onnxplain.explain(
        model, {first: A, second: ONES}, "guided-grad-cam", target="relu2[0]", wrt="conv1", enlarging="nearest"
    )
    expected = [[14.5, 29, 38, 19], [29, 58, 76, 38], [65, 130, 148, 74], [32.5, 65, 74, 37]]
    for name in (first, second):
        np.testing.assert_allclose(found.values[name][0, 0], expected)


NEGATIVE = dense([[[1, -1], [2, 1], [-1, 2]], [[1, 1, -1], [-1, 2, 1]]])


@pytest.mark.parametrize(
    ("method", "expected"), [("saliency", [-3, -9]), ("guided-backprop", [2, 1]), ("deconvnet", [3, 0])]
)
def test_rectified_gradients_where_the_gradient_is_negative(method, expected):
    nodes = [
        gemm("x", "W1", "z1"),
        helper.make_node("Relu", ["z1"], ["a1"]),
        gemm("a1", "W2", "z2"),
        helper.make_node("Relu", ["z2"], ["a2"]),
        gemm("a2", "W3", "o"),
    ]
    constants = {"W1": [[1, -1], [2, 1], [-1, 2]], "W2": [[1, 1, -1], [-1, 2, 1]], "W3": [[1, -2]]}
    found = explained(network(nodes, {"x": [2]}, {"o": [1]}, constants), [1, 2], method)
    assert found.score == -21
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)


@pytest.mark.parametrize(("method", "expected"), [("guided-backprop", [-2.9, 5.9]), ("deconvnet", [-2, 5])])
def test_activations_that_are_no_relu_are_told(method, expected):
    """z = (-1, 4, 3), and the gradient of what LeakyReLU makes of them is (1, -2, 3)."""
    weights = [[[1, -1], [2, 1], [-1, 2]], [[1, -2, 3]]]
    found = explained(dense(weights, activation=("LeakyRelu", {"alpha": 0.1})), [1, 2], method)
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)
    (note,) = found.notes
    assert note.startswith(
        "made for ReLU; activations here are LeakyRelu (such as 'a0'), of which the positive gradient"
    )
    smooth = dense(weights, activation=("Tanh", {}))
    other = explained(smooth, [1, 2], method)
    np.testing.assert_allclose(other.values["x"], explained(smooth, [1, 2], "saliency").values["x"], **CLOSE)
    assert other.notes == ("activations that are not like ReLU keep their gradient: Tanh (such as 'a0')",)


@pytest.mark.parametrize(
    ("target", "settings", "hidden", "inputs"),
    [
        (0, {}, [0.5, 0, 0.5], [0.166667, 0.333333, 0.5]),
        (1, {}, [0, 0.428571, 0.571429], [0.214286, 0.595238, 0.190476]),
        (0, {"contrastive": True}, [0.5, -1, 0.5], [-0.333333, -0.166667, 0.5]),
        (0, {"contrastive": True, "truncated": True}, [0.5, 0, 0.5], [0.166667, 0.333333, 0.5]),
    ],
)
def test_excitation_backprop(target, settings, hidden, inputs):
    model = dense(N1)
    found = explained(model, [1, 2, 1], "excitation-backprop", target, **settings)
    np.testing.assert_allclose(found.values["x"], [inputs], **CLOSE)
    inner = explained(model, [1, 2, 1], "excitation-backprop", target, wrt="a0", **settings)
    np.testing.assert_allclose(inner.values["a0"], [hidden], **CLOSE)


@pytest.mark.parametrize(
    ("target", "settings", "inputs"),
    [(0, {}, [0, 0]), (1, {}, [0.666667, 0.333333]), (0, {"contrastive": True}, [-0.8, -0.2])],
)
def test_excitation_backprop_where_nothing_excites(target, settings, inputs):
    model = dense([[[1, 1], [1, -1]], [[-1, -2], [1, -1]]])
    found = explained(model, [2, 1], "excitation-backprop", target, **settings)
    np.testing.assert_allclose(found.values["x"], [inputs], **CLOSE)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"low": 0, "high": 3}, [2.22857, 2.22857, 1.54286]),
        ({"low": -1, "high": 2}, [1.85714, 2.67857, 1.46429]),
        ({}, [2.85714, 1.57143, 1.57143]),
        ({"low": 0, "high": 3, "domain": "unbounded"}, [2.85714, 1.57143, 1.57143]),
    ],
)
def test_deep_taylor(settings, expected):
    model = dense(N1)
    found = explained(model, [1, 2, 1], "deep-taylor", 1, **settings)
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)
    assert found.gap == pytest.approx(0, abs=1e-5)
    inner = explained(model, [1, 2, 1], "deep-taylor", 1, wrt="a0", **settings)
    np.testing.assert_allclose(inner.values["a0"], [[0, 2.57143, 3.42857]], **CLOSE)


def test_flat_in_the_first_layer():
    found = explained(dense(N1), [1, 2, 1], "lrp", 1, rules="first=flat, rest=z-plus")
    np.testing.assert_allclose(found.values["x"], [[2, 2, 2]], **CLOSE)


def add_relus(first, second):
    """2 relu(x1) + 2 relu(x2 - 1.5), and the like."""
    return dense([first, second[0]], [second[1], [0]])


def test_rescale_of_two_activations():
    model = add_relus([[1, 0], [0, 1]], ([[2, 2]], [0, -1.5]))
    found = explained(model, [1, 2], "deeplift", baseline=0)
    np.testing.assert_allclose(found.values["x"], [[2, 1]], **CLOSE)
    assert found.gap == pytest.approx(0, abs=1e-6)


def test_rescale_of_a_sum_of_two_inputs():
    """x1 and x2 through layers of 3, 1, 0 and 2, 3, 0, side by side, ReLU, summed; references 0."""
    nodes = [
        gemm("x1", "l1", "a"),
        gemm("x2", "l2", "b"),
        helper.make_node("Concat", ["a", "b"], ["s"], axis=1),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("ReduceSum", ["r", "i_axes"], ["y"], keepdims=1),
    ]
    constants = {"l1": [[3, 1, 0]], "l2": [[2, 3, 0]], "i_axes": [1]}
    model = network(nodes, {"x1": [3], "x2": [3]}, {"y": [1]}, constants)
    feeds = {"x1": np.array([[-10, 1, -5]], np.float32), "x2": np.array([[3, 3, 1]], np.float32)}
    found = onnxplain.explain(model, feeds, "deeplift", target=0, baseline=0)
    np.testing.assert_allclose(found.values["x1"], [[0, 0, 0]], **CLOSE)
    np.testing.assert_allclose(found.values["x2"], [[6, 9, 0]], **CLOSE)
    inner = onnxplain.explain(model, feeds, "deeplift", target=0, baseline=0, wrt="s")
    np.testing.assert_allclose(inner.values["s"], [[0, 15]], **CLOSE)


@pytest.mark.parametrize(("variant", "expected"), [("rescale", [1, 0]), ("reveal-cancel", [0.5, 0.5])])
def test_the_smaller_of_two(variant, expected):
    """i1 - relu(i1 - i2) is min(i1, i2)."""
    nodes = [
        gemm("x", "W", "h"),
        helper.make_node("Relu", ["h"], ["r"]),
        gemm("x", "F", "first"),
        helper.make_node("Sub", ["first", "r"], ["y"]),
    ]
    model = network(nodes, {"x": [2]}, {"y": [1]}, {"W": [[1, -1]], "F": [[1, 0]]})
    found = explained(model, [1, 3], "deeplift", "y[0]", baseline=0, variant=variant)
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)


@pytest.mark.parametrize(("variant", "expected"), [("rescale", [1, 0]), ("reveal-cancel", [0.5, 0.5])])
def test_the_smaller_of_two_inputs_that_are_subtracted(variant, expected):
    """The same as above without a layer: the difference is a sum of two signals."""
    nodes = [
        helper.make_node("Sub", ["i1", "i2"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Sub", ["i1", "r"], ["y"]),
    ]
    model = network(nodes, {"i1": [1], "i2": [1]}, {"y": [1]}, {})
    feeds = {"i1": np.float32([[1]]), "i2": np.float32([[3]])}
    found = onnxplain.explain(model, feeds, "deeplift", target=0, baseline=0, variant=variant)
    np.testing.assert_allclose([found.values["i1"].item(), found.values["i2"].item()], expected, **CLOSE)
    assert found.gap == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("variant", ["rescale", "reveal-cancel"])
@pytest.mark.parametrize(("weights", "biases"), [([[[1, 1]], [[1]]], [[-1], [0]]), ([[[-1, -1]], [[-1]]], [[1], [1]])])
def test_and_and_or(variant, weights, biases):
    found = explained(dense(weights, biases), [1, 1], "deeplift", baseline=0, variant=variant)
    np.testing.assert_allclose(found.values["x"], [[0.5, 0.5]], **CLOSE)


@pytest.mark.parametrize(("variant", "expected"), [("rescale", [2.8, -6.8]), ("reveal-cancel", [3, -7])])
def test_a_bias_and_another_reference(variant, expected):
    model = dense([[[2, -1], [-1, 3]], [[1, -2]]], [[-1, 1], [0]])
    baseline = np.array([[1, -1]], np.float32)
    found = explained(model, [2, 1], "deeplift", baseline=baseline, variant=variant)
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)
    assert (found.score, found.baseline_score) == (-2, 2)
    assert found.gap == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("x", "reference", "expected"), [([3, 2], [1, 1], [3, 2]), ([2, -1], [0, 3], [2, -4])])
def test_products_share_the_mean_over_both_orders(x, reference, expected):
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    found = explained(network(nodes, {"x": [2]}, {"y": [1]}, {}, 13), x, "deeplift", baseline=np.float32([reference]))
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)


@pytest.mark.parametrize(("reference", "expected"), [([0, 0], [0.150858, 0.301716]), ([0, -1], [0.166674, 0.666697])])
def test_softmax_of_two_classes_is_a_rescaled_sigmoid(reference, expected):
    nodes = [gemm("x", "W", "z"), helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    model = network(nodes, {"x": [2]}, {"p": [2]}, {"W": [[1, 1], [0, -1]]})
    found = explained(model, [1, 1], "deeplift", "p[0]", baseline=np.float32([reference]))
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)
    assert found.gap == pytest.approx(0, abs=1e-6)
