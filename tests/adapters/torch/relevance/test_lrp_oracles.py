"""LRP: numbers from the definitions, worked out by hand or read elsewhere, through the public API."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from oracles import graphs  # noqa: E402
from relevance_problems import CLOSE, N1, dense, gemm, loaded_bytes, network  # noqa: E402


def lrp(model, x, target, **settings):
    return onnxplain.explain(model, np.asarray([x], np.float32), "lrp", target=target, **settings)


N2 = {
    "weights": [[[2, 1], [1, -1], [-1, 1]], [[1, -1, 2], [2, 1, -1]]],
    "biases": [[1, 0, -1], [1, -1]],
    "activation": ("LeakyRelu", {"alpha": 0.5}),
}
SL = [np.full((3, 3), 2.0), np.full((1, 3), 3.0)]
SL_MINUS = [np.array([[-2.0, 2, 2], [2, 2, 2], [2, 2, 2]]), np.full((1, 3), 3.0)]


def test_epsilon_is_input_times_gradient_on_relu_networks():
    image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    found = onnxplain.explain(loaded_bytes(graphs.cv()), image, "lrp", target="relu2[0]", rules="zero")
    expected = [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]
    np.testing.assert_allclose(found.values["image"][0, 0], expected, **CLOSE)


def test_epsilon_on_small_dense_networks():
    found = lrp(dense(SL), [1, 2, 3], 0, rules="epsilon")
    np.testing.assert_allclose(found.values["x"], [[18, 36, 54]], **CLOSE)
    assert found.score == 108
    assert found.gap == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("lower=gamma:1, upper=gamma:0.25", [28 / 3, 104 / 3, 52]),
        ("first=gamma:1, last=gamma:0.25", [28 / 3, 104 / 3, 52]),
        ("z0=gamma:1, dense=gamma:0.25", [28 / 3, 104 / 3, 52]),
        ("alpha-beta:1", [12, 33.6, 50.4]),
        ("z-plus", [12, 33.6, 50.4]),
    ],
)
def test_gamma_and_alpha_beta_on_small_dense_networks(rules, expected):
    found = lrp(dense(SL_MINUS), [1, 2, 3], 0, rules=rules)
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)
    assert found.score == 96


def test_tanh_is_passed():
    found = lrp(dense([np.full((3, 3), 0.1), np.full((1, 3), 0.1)], activation=("Tanh", {})), [1, 2, 3], 0)
    np.testing.assert_allclose(found.values["x"], [[0.0269, 0.0537, 0.0806]], atol=6e-5)


def test_a_skip_connection_keeps_relevance():
    """y = 5 (x1 + x2) + x at (2, 3), of the second output: 10 and 18."""
    nodes = [gemm("x", "W", "f"), helper.make_node("Add", ["f", "x"], ["y"])]
    model = network(nodes, {"x": [2]}, {"y": [2]}, {"W": np.full((2, 2), 5)})
    found = lrp(model, [2, 3], "y[1]", rules="zero", epsilon=0)
    np.testing.assert_allclose(found.values["x"], [[10, 18]], **CLOSE)
    assert found.gap == pytest.approx(0, abs=1e-5)


def test_max_pooling_gives_all_to_the_largest():
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    model = network(nodes, {"x": [1, 2, 2]}, {"y": [1]}, {})
    found = lrp(model, [[[1, 2], [5, 6]]], 0)
    assert found.values["x"].tolist() == [[[[0, 0], [0, 6]]]]


RULES_OF_N2 = [
    ("zero", [2, 3, 2], [5.5, -1], [-1, 2.5]),
    ("epsilon:0.01", [1.99667, 2.99501, 1.99667], [5.44675, -0.967921], [-0.988353, 2.50952]),
    ("literal-gamma:0.5", [2.11765, 3.17647, 1.41176], [5.87899, -1.57311], [-0.705882, 2.4]),
    ("alpha-beta:2", [3.42857, 5.14286, 3.42857], [7.14286, 1.71429], [-6, 3.14286]),
    ("z-plus", [1.71429, 2.57143, 1.71429], [2, 1.71429], [0, 2.28571]),
]


@pytest.mark.parametrize(("rules", "hidden", "inputs", "lost"), RULES_OF_N2)
def test_rules_with_biases_and_negative_activations(rules, hidden, inputs, lost):
    model = dense(**N2)
    found = lrp(model, [1, -2], 1, rules=rules)
    np.testing.assert_allclose(found.values["x"], [inputs], **CLOSE)
    assert found.score == 6
    assert found.gap == pytest.approx(-sum(lost), abs=1e-4)
    kept = dict(zip(found.extras["lost_at"].tolist(), found.extras["lost"].tolist(), strict=True))
    assert [kept.get("z1", 0), kept.get("z0", 0)] == pytest.approx(lost, abs=1e-4)
    inner = lrp(model, [1, -2], 1, rules=rules, wrt="a0")
    np.testing.assert_allclose(inner.values["a0"], [hidden], **CLOSE)
    before = lrp(model, [1, -2], 1, rules=rules, wrt="z0")
    np.testing.assert_allclose(before.values["z0"], [hidden], **CLOSE)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("w-squared", [4.1, 2.9]), ("flat", [3.5, 3.5]), ("box:-3..3", [4.44444, 2.55556])],
)
def test_rules_of_the_first_layer(rule, expected):
    found = lrp(dense(**N2), [1, -2], 1, rules=f"first={rule}, dense=zero")
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)


def test_zero_is_gradient_times_input_without_bias():
    model = dense(N1)
    found = lrp(model, [1, 2, 1], 1, rules="zero")
    np.testing.assert_allclose(found.values["x"], [[-1, 8, -1]], **CLOSE)
    np.testing.assert_allclose(lrp(model, [1, 2, 1], 1, rules="zero", wrt="a0").values["a0"], [[-1, 3, 4]], **CLOSE)


@pytest.mark.parametrize(
    ("rule", "skip", "branch"),
    [
        ("zero", [1, 6], [3, -3]),
        ("z-plus", [1, 3], [3, 0]),
        ("epsilon:0.5", [0.888889, 4], [2.66667, -2]),
        ("flat", [2, 1.5], [2, 1.5]),
    ],
)
def test_addition_with_a_negative_summand(rule, skip, branch):
    nodes = [
        helper.make_node("Add", ["x", "f"], ["s"]),
        helper.make_node("Relu", ["s"], ["h"]),
        gemm("h", "W", "o"),
    ]
    model = network(nodes, {"x": [2], "f": [2]}, {"o": [1]}, {"W": [[1, 3]]})
    feeds = {"x": np.array([[1, 2]], np.float32), "f": np.array([[3, -1]], np.float32)}
    found = onnxplain.explain(model, feeds, "lrp", target=0, rules=f"sum={rule}, dense=zero")
    np.testing.assert_allclose(found.values["x"], [skip], **CLOSE)
    np.testing.assert_allclose(found.values["f"], [branch], **CLOSE)


@pytest.mark.parametrize(
    ("pool", "rules", "expected"),
    [
        ("AveragePool", "zero", [[0.5, 1, 0, 0.75], [1.5, 1, 0.25, 0]]),
        ("MaxPool", "zero", [[0, 0, 0, 3], [6, 0, 0, 0]]),
        ("MaxPool", "zero, max-pool=proportional", [[0.75, 1.5, 0, 2.25], [2.25, 1.5, 0.75, 0]]),
    ],
)
def test_pooling(pool, rules, expected):
    nodes = [
        helper.make_node(pool, ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        gemm("f", "W", "o"),
    ]
    model = network(nodes, {"x": [1, 2, 4]}, {"o": [1]}, {"W": [[2, 1]]})
    found = lrp(model, [[[1, 2, 0, 3], [3, 2, 1, 0]]], 0, rules=rules)
    np.testing.assert_allclose(found.values["x"][0, 0], expected, **CLOSE)


NORM = ["scale", "shift", "mean", "var"]


@pytest.mark.parametrize(
    ("rules", "merge", "expected"),
    [
        ("zero", True, [4, 4, -6]),
        ("zero, batch-norm=zero", False, [4, 4, -6]),
        ("conv=epsilon:0.5, dense=zero", True, [2, 4.66667, -5]),
        ("conv=epsilon:0.5, dense=zero, batch-norm=epsilon:0.5", False, [1.33333, 4, -4]),
        ("conv=z-plus, dense=zero", True, [0.444444, 2.35294, 0]),
    ],
)
def test_batch_normalisation_and_a_convolution(rules, merge, expected):
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["u"]),
        helper.make_node("BatchNormalization", ["u", *NORM], ["v"], epsilon=0.01),
        helper.make_node("Relu", ["v"], ["y"]),
        helper.make_node("Flatten", ["y"], ["f"]),
        gemm("f", "W", "o"),
    ]
    constants = {"k": [[[2, -1]]], "b": [1], "scale": [4], "shift": [0.5], "mean": [1], "var": [3.99], "W": [[1, 1]]}
    model = network(nodes, {"x": [1, 3]}, {"o": [1]}, constants)
    found = lrp(model, [[1, 2, 3]], 0, rules=rules, merge=merge)
    np.testing.assert_allclose(found.values["x"], [[expected]], **CLOSE)


@pytest.mark.parametrize(
    ("rules", "merge", "expected"),
    [
        ("u=z-plus, v=z-plus, o=zero", True, [3.2, 2.51429]),
        ("u=z-plus, o=zero, batch-norm=z-plus", False, [3.2, 0.8]),
    ],
)
def test_batch_normalisation_with_a_negative_scale(rules, merge, expected):
    nodes = [
        gemm("x", "W", "u"),
        helper.make_node("BatchNormalization", ["u", *NORM], ["v"], epsilon=0.0),
        gemm("v", "A", "o"),
    ]
    constants = {
        "W": [[1, -2], [2, 1]],
        "scale": [-2, 1],
        "shift": [1, 0],
        "mean": [1, 1],
        "var": [1, 1],
        "A": [[1, 1]],
    }
    rules = rules.replace("u=z-plus, v", "v") if merge else rules
    found = lrp(network(nodes, {"x": [2]}, {"o": [1]}, constants), [2, 1], 0, rules=rules, merge=merge)
    np.testing.assert_allclose(found.values["x"], [expected], **CLOSE)
