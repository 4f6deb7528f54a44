"""What the graph tells of signs: where nothing is below zero, and where nothing comes back to what is."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

from gradient_problems import problem_of  # noqa: E402  # after the check that torch is there
from onnxplain.adapters.torch.gradient.slopes import Slopes  # noqa: E402
from onnxplain.adapters.torch.relevance.lrp import Lrp  # noqa: E402
from onnxplain.adapters.torch.rules import Flow  # noqa: E402
from onnxplain.adapters.torch.rules.ruled import Ruled  # noqa: E402
from relevance_problems import gemm, network  # noqa: E402

NODES = [
    helper.make_node("Conv", ["x", "K1"], ["c1"], pads=[1, 1, 1, 1]),
    helper.make_node("Clip", ["c1", "zero", "six"], ["a1"]),
    helper.make_node("Conv", ["a1", "K2"], ["c2"], pads=[1, 1, 1, 1]),
    helper.make_node("Add", ["c2", "a1"], ["s"]),
    helper.make_node("Relu", ["s"], ["a2"]),
    helper.make_node("MaxPool", ["a2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
    helper.make_node("Conv", ["p", "K2"], ["c3"]),
    helper.make_node("LeakyRelu", ["c3"], ["a3"]),
    helper.make_node("GlobalAveragePool", ["a3"], ["m"]),
    helper.make_node("Flatten", ["m"], ["f"]),
    gemm("f", "W", "y"),
]


def sites(**settings):
    rng = np.random.default_rng(0)
    constants = {"K1": (4, 2, 3, 3), "K2": (4, 4, 3, 3), "W": (3, 4)}
    drawn = {n: rng.normal(size=s) for n, s in constants.items()} | {"zero": 0.0, "six": 6.0}
    model = network(NODES, {"x": [2, 6, 6]}, {"y": [3]}, drawn)
    problem = problem_of(
        model, {"x": rng.normal(size=(1, 2, 6, 6)).astype(np.float32)}, "1", wrt=settings.pop("wrt", None)
    )
    flow = Flow(Slopes.of([problem], rules=Lrp(**settings).rule_set(problem)))
    return {m.site.tensor: m.site for m in flow.part.modules() if isinstance(m, Ruled)}


def test_what_relus_make_is_not_below_zero_and_stays_so_behind_pooling():
    found = {name for name, site in sites().items() if site.nonnegative}
    assert found == {"c2", "c3"}  # c1 reads the input, y what a leaky ReLU makes


def test_other_values_may_be_put_in_the_place_of_a_tapped_tensor():
    assert not sites(wrt="a1")["c2"].nonnegative


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("conv=gamma", {"c1", "s"}),  # c2 and y go on as they are, c3 to a leaky ReLU
        ("conv=gamma, c3=w-squared", {"c1"}),  # a dead element behind s gets a share by weight
        ("conv=gamma, c2=flat", {"s"}),
        ("conv=gamma, activation=taylor", set()),
    ],
)
def test_nothing_comes_back_to_what_a_relu_cuts_off_unless_a_rule_gives_to_zeros(rules, expected):
    assert {name for name, site in sites(rules=rules).items() if site.rectified} == expected


def test_a_layer_that_an_input_reaches_by_its_shape_alone_is_not_the_first():
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["h"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Reshape", ["h", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "W2"], ["y"]),
    ]
    model = network(nodes, {"x": [3]}, {"y": [3]}, {"W1": np.eye(3), "W2": np.eye(3)})
    problem = problem_of(model, {"x": np.ones((1, 3), np.float32)}, "y[1]")
    flow = Flow(Slopes.of([problem], rules=Lrp(rules="first=box:0..1, dense=epsilon").rule_set(problem)))
    assert [rule for _, _, form, rule in flow.nodes if form == "dense"] == ["box:0..1", "epsilon:1e-06"]
