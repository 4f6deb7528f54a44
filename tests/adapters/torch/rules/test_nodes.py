"""Rules of nodes that are no linear maps, and which nodes are recognised as what, beside plain implementations."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
import whole_models  # noqa: E402
from gradient_problems import loaded, problem_of  # noqa: E402
from onnxplain.adapters.torch.gradient.slopes import Slopes  # noqa: E402
from onnxplain.adapters.torch.rules import (  # noqa: E402
    ZERO,
    Averaged,
    Detached,
    Exact,
    Flow,
    Half,
    Pass,
    RuleSet,
    Stop,
    Taylor,
)
from relevance_problems import gemm, network  # noqa: E402

RNG = np.random.default_rng(5)
CLOSE = {"rtol": 2e-4, "atol": 2e-5}
ALL = {
    "linear": ZERO,
    "sum": ZERO,
    "activation": Pass(),
    "max-pool": Exact(),
    "product": Half(),
    "softmax": Taylor(),
    "normalisation": Pass(),
}


def under(model, feeds, rules, target="y[0]", **asked):
    """Run one sample under rules."""
    flow = rules.pop("flow", "relevance")
    rule_set = RuleSet("test", tuple((ALL | rules).items()), flow=flow)
    return Flow(Slopes.of([problem_of(model, feeds, target, **asked)], rules=rule_set))


def test_the_bilinear_rule_of_a_matrix_product():
    """O = A V with R = o * R' where the target weighs O; both factors get half of each term."""
    A, V = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[1.0, -2], [3, 1]])
    R = np.array([[2.0, 1], [-1, 4]])
    O = A @ V  # noqa: E741 - as in the paper
    nodes = [
        helper.make_node("MatMul", ["a", "v"], ["o"]),
        helper.make_node("Flatten", ["o"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    model = network(nodes, {"a": [2, 2], "v": [2, 2]}, {"y": [1]}, {"w": (R / O).reshape(4, 1)})
    feeds = {"a": A[None].astype(np.float32), "v": V[None].astype(np.float32)}
    found = under(model, feeds, {}).at_samples().relevance
    np.testing.assert_allclose(found["a"][0], [[1.25, 0.25], [-2.03846, 3.53846]], **CLOSE)
    np.testing.assert_allclose(found["v"][0], [[0.211538, -1], [0.288462, 3.5]], **CLOSE)


@pytest.mark.parametrize(
    ("x", "R", "expected"),
    [
        ([np.log(2) + 1, np.log(6) + 1], [2.0, 1.0], [2.11643, -3.4897]),
        ([0, np.log(2), np.log(5)], [1.0, -1.0, 2.0], [0, -1.03972, 1.20708]),
    ],
)
def test_the_softmax_rule(x, R, expected):
    s = np.exp(x) / np.exp(x).sum()
    nodes = [helper.make_node("Softmax", ["x"], ["s"], axis=1), helper.make_node("MatMul", ["s", "w"], ["y"])]
    model = network(nodes, {"x": [len(x)]}, {"y": [1]}, {"w": (np.array(R) / s).reshape(-1, 1)})
    found = under(model, {"x": np.float32([x])}, {}).at_samples().relevance["x"]
    np.testing.assert_allclose(found, [expected], **CLOSE)


def layer_norm(decomposed):
    if not decomposed:
        return [helper.make_node("LayerNormalization", ["x", "g"], ["n"], epsilon=0.0)], {"g": np.ones(4)}
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["x", "mean"], ["d"]),
        helper.make_node("Pow", ["d", "two"], ["p"]),
        helper.make_node("ReduceMean", ["p"], ["var"], axes=[-1]),
        helper.make_node("Add", ["var", "eps"], ["ve"]),
        helper.make_node("Sqrt", ["ve"], ["root"]),
        helper.make_node("Div", ["d", "root"], ["n"]),
    ]
    return nodes, {"two": 2.0, "eps": 1e-12}


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [(Pass(), [-1, -2, 3, 4]), (Detached(), [-1.5, -0.5, 1.5, 4.5]), (Taylor(), [-0.5, 0.5, -1.5, 1.5])],
)
def test_rules_of_layer_normalisation(decomposed, rule, expected):
    nodes, constants = layer_norm(decomposed)
    nodes = [*nodes, helper.make_node("MatMul", ["n", "v"], ["y"])]
    model = network(nodes, {"x": [4]}, {"y": [1]}, constants | {"v": [[1], [2], [3], [4]]}, 17)
    flow = under(model, {"x": np.float32([[1, 1, 3, 3]])}, {"normalisation": rule})
    assert ("n", "normalisation") in [node[:2] for node in flow.nodes]
    np.testing.assert_allclose(flow.at_samples().relevance["x"], [expected], **CLOSE)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_held_deviation_of_group_normalisation_shares_what_the_groups_keep(groups):
    nodes = [
        helper.make_node("GroupNormalization", ["x", "g", "b"], ["n"], num_groups=groups, epsilon=1e-3),
        helper.make_node("Flatten", ["n"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    x, w = RNG.normal(size=(1, 4, 3, 2)), RNG.normal(size=(24, 1))
    per_group = RNG.normal(size=groups)
    model = network(nodes, {"x": [4, 3, 2]}, {"y": [1]}, {"g": per_group, "b": np.zeros(groups), "w": w}, 18)
    found = under(model, {"x": x.astype(np.float32)}, {"normalisation": Detached()}).at_samples()
    parts, weights = x.reshape(groups, -1), w.reshape(groups, -1)
    deviation = np.sqrt(parts.var(1, keepdims=True) + 1e-3)
    slope = weights * per_group[:, None] / deviation
    expected = parts * (slope - slope.mean(1, keepdims=True))
    np.testing.assert_allclose(found.relevance["x"].ravel(), expected.ravel(), **CLOSE)
    assert float(found.relevance["x"].sum()) == pytest.approx(float(found.scores[0]), rel=1e-4)


SPELLED = {
    "silu": ([("Sigmoid", ["x"], "s"), ("Mul", ["x", "s"], "z")], "activation"),
    "gelu by tanh": (
        [
            ("Pow", ["x", "c3"], "p"),
            ("Mul", ["p", "c"], "q"),
            ("Add", ["x", "q"], "r"),
            ("Mul", ["r", "c"], "t"),
            ("Tanh", ["t"], "u"),
            ("Add", ["u", "c1"], "v"),
            ("Mul", ["x", "c"], "w"),
            ("Mul", ["w", "v"], "z"),
        ],
        "activation",
    ),
    "hard swish": (
        [("Add", ["x", "c3"], "p"), ("Clip", ["p", "c0", "c6"], "q"), ("Mul", ["x", "q"], "z")],
        "activation",
    ),
    "mish": ([("Softplus", ["x"], "p"), ("Tanh", ["p"], "q"), ("Mul", ["x", "q"], "z")], "activation"),
    "relu": ([("Relu", ["x"], "z")], "activation"),
    "a product of two": ([("MatMul", ["x", "W"], "a"), ("Mul", ["x", "a"], "z")], "product"),
    "rms by division": (
        [
            ("Mul", ["x", "x"], "p"),
            ("ReduceMean", ["p"], "m"),
            ("Add", ["m", "c"], "e"),
            ("Sqrt", ["e"], "r"),
            ("Div", ["x", "r"], "z"),
        ],
        "normalisation",
    ),
    "rms by a reciprocal": (
        [
            ("Pow", ["x", "c2"], "p"),
            ("ReduceMean", ["p"], "m"),
            ("Add", ["m", "c"], "e"),
            ("Sqrt", ["e"], "r"),
            ("Div", ["c1", "r"], "i"),
            ("Mul", ["x", "g"], "h"),
            ("Mul", ["h", "i"], "z"),
        ],
        "normalisation",
    ),
    "attention": (
        [
            ("MatMul", ["x", "W"], "a"),
            ("Softmax", ["a"], "z"),
        ],
        "softmax",
    ),
}
NUMBERS = {"c": 0.1, "c0": 0.0, "c1": 1.0, "c2": 2.0, "c3": 3.0, "c6": 6.0}


@pytest.mark.parametrize("name", SPELLED)
def test_what_several_operators_spell_is_one_node(name):
    spelled, kind = SPELLED[name]
    nodes = [
        helper.make_node(op, reads, [made], **({"axes": [-1]} if op == "ReduceMean" else {}))
        for op, reads, made in spelled
    ]
    nodes += [helper.make_node("MatMul", ["z", "top"], ["y"])]
    constants = NUMBERS | {"W": RNG.normal(size=(4, 4)), "top": RNG.normal(size=(4, 1)), "g": RNG.normal(size=4)}
    used = {i for node in nodes for i in node.input}
    model = network(nodes, {"x": [4]}, {"y": [1]}, {n: c for n, c in constants.items() if n in used})
    flow = under(model, {"x": RNG.normal(size=(1, 4)).astype(np.float32)}, {})
    kinds = {tensor: found for tensor, found, _, _ in flow.nodes}
    assert kinds["z"] == kind
    if kind in {"activation", "normalisation"}:
        assert set(kinds) == {"z", "y"}
        found = flow.at_samples()
        assert float(found.relevance["x"].sum()) == pytest.approx(float(found.scores[0]), rel=1e-4)


def test_a_kind_without_a_rule_names_the_node():
    nodes = [helper.make_node("Softmax", ["x"], ["s"], name="here"), helper.make_node("MatMul", ["s", "w"], ["y"])]
    model = network(nodes, {"x": [3]}, {"y": [1]}, {"w": np.ones((3, 1))})
    rules = RuleSet("few", (("linear", ZERO),))
    problem = problem_of(model, {"x": np.ones((1, 3), np.float32)}, "y[0]")
    with pytest.raises(onnxplain.OnnxplainError, match="few has no rule for nodes of the kind 'softmax'") as caught:
        Flow(Slopes.of([problem], rules=rules)).at_samples()
    assert "'here'" in caught.value.where


def test_elements_that_are_added_while_they_are_scattered_have_no_rule():
    """They look like a shape operation, through which relevance would double without a word."""
    nodes = [
        helper.make_node("ScatterElements", ["x", "i_places", "u"], ["y"], axis=1, reduction="add"),
    ]
    model = network(nodes, {"x": [3], "u": [1]}, {"y": [3]}, {"i_places": [[1]]}, 18)
    feeds = {"x": np.ones((1, 3), np.float32), "u": np.ones((1, 1), np.float32)}
    with pytest.raises(onnxplain.OnnxplainError, match="no rule for nodes of the kind 'other'"):
        onnxplain.explain(model, feeds, "lrp", target="y[1]")


def test_rules_leave_the_plain_gradient_alone():
    model = network(
        [gemm("x", "W", "h"), helper.make_node("Relu", ["h"], ["y"])], {"x": [2]}, {"y": [2]}, {"W": np.eye(2)}
    )
    feeds = {"x": np.float32([[1, 2]])}
    before = onnxplain.explain(model, feeds, "saliency", target="y[1]").values["x"]
    found = under(model, feeds, {"activation": Stop()}, "y[1]").at_samples()
    assert np.all(found.relevance["x"].numpy() == 0)
    assert float(found.lost["y"][0]) == 2
    after = onnxplain.explain(model, feeds, "saliency", target="y[1]").values["x"]
    assert np.array_equal(before, after)


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_gated_cells_give_all_relevance_to_the_signal(operator):
    """One unit, one step, no bias: the output is linear in x once gates and quotients are held."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    W, R = RNG.normal(size=(1, gates * 3, 2)), RNG.normal(size=(1, gates * 3, 3))
    nodes = [
        helper.make_node(operator, ["x", "W", "R"], ["Y", "H"], hidden_size=3),
        helper.make_node("Squeeze", ["H", "i_zero"], ["h"]),
        helper.make_node("MatMul", ["h", "top"], ["y"]),
    ]
    top = RNG.normal(size=(3, 1))
    from small_graphs import model_of

    float_ = 1
    constants = {"W": W, "R": R, "top": top}
    proto = model_of(
        nodes,
        {"x": (float_, [5, "b", 2])},
        {"y": (float_, ["b", 1])},
        {n: a.astype(np.float32) for n, a in constants.items()} | {"i_zero": np.array([0])},
    )
    model = loaded(proto)
    x = RNG.normal(size=(1, 5, 2)).astype(np.float32)
    found = onnxplain.explain(model, np.moveaxis(x, 0, 1), "lrp", target="y[0]", epsilon=0)
    expected = unrolled(operator, x[0].astype(float), W[0], R[0], top[:, 0])
    np.testing.assert_allclose(np.asarray(found.values["x"]).reshape(5, 2), expected, rtol=2e-3, atol=1e-5)
    assert found.gap == pytest.approx(0, abs=1e-4)


def unrolled(operator, x, W, R, top):
    """Step by step in NumPy: states with gates held, as a linear map of all inputs so far."""
    squash = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    hidden = np.zeros(3)
    cell = np.zeros(3)
    of_x = np.zeros((3, *x.shape))  # d hidden / d x with gates and quotients held
    of_x_cell = np.zeros((3, *x.shape))
    for t, now in enumerate(x):
        z, inner = W @ now + R @ hidden, np.zeros((len(W), *x.shape))
        inner[:, t] += W
        inner += np.tensordot(R, of_x, 1)
        if operator == "RNN":
            hidden, of_x = np.tanh(z), inner * (np.tanh(z) / z)[:, None, None]
        elif operator == "GRU":
            update, reset = squash(z[:3]), squash(z[3:6])
            zh = W[6:] @ now + R[6:] @ (reset * hidden)
            by = np.tensordot(R[6:], reset[:, None, None] * of_x, 1)
            by[:, t] += W[6:]
            candidate = np.tanh(zh)
            of_x = (1 - update)[:, None, None] * by * (candidate / zh)[:, None, None] + update[:, None, None] * of_x
            hidden = (1 - update) * candidate + update * hidden
        else:
            i, o, f, c = (z[k * 3 : k * 3 + 3] for k in range(4))
            quotient = (np.tanh(c) / c)[:, None, None]
            of_x_cell = squash(f)[:, None, None] * of_x_cell + squash(i)[:, None, None] * inner[9:] * quotient
            cell = squash(f) * cell + squash(i) * np.tanh(c)
            hidden = squash(o) * np.tanh(cell)
            of_x = (squash(o) * np.tanh(cell) / cell)[:, None, None] * of_x_cell
    return np.tensordot(top, of_x, 1) * x


def test_an_averaged_derivative_of_a_product_and_a_quotient_keeps_differences():
    for operator in ("Mul", "Div"):
        model = network([helper.make_node(operator, ["a", "b"], ["y"])], {"a": [3], "b": [3]}, {"y": [3]}, {})
        a, b, a0, b0 = (RNG.uniform(1, 3, size=(1, 3)).astype(np.float32) for _ in range(4))
        slopes = Slopes.of(
            [problem_of(model, {"a": a, "b": b}, "y[1]")],
            rules=RuleSet("test", (("product", Averaged()),), flow="gradient"),
        )
        points = {"a": torch.from_numpy(a), "b": torch.from_numpy(b)}
        starts = {"a": torch.from_numpy(a0), "b": torch.from_numpy(b0)}
        found = Flow(slopes).run(points, slopes.everyone, starts).relevance
        total = ((a - a0) * found["a"].numpy() + (b - b0) * found["b"].numpy()).sum()
        change = (a * b - a0 * b0 if operator == "Mul" else a / b - a0 / b0)[0, 1]
        assert total == pytest.approx(change, rel=1e-5)


@pytest.mark.parametrize("name", ["vit", "gru", "llama"])
def test_whole_models_have_a_rule_for_every_node(name):
    module = whole_models.network(name)
    model = loaded(whole_models.exported(name, "legacy", 17, module))
    drawn = whole_models.MODELS[name].draw(1)
    feeds = {i.name: t.numpy() for i, t in zip(model.inputs, drawn, strict=True)}
    first = model.outputs[0].name
    places = ",".join("0" for _ in model.predict(feeds)[first].shape[1:])
    for method in ("lrp", "deeplift", "guided-backprop"):
        given = {"baseline": 0.0} if method == "deeplift" else {}
        found = onnxplain.explain(model, feeds, method, target=f"{first}[{places}]", **given)
        assert all(np.isfinite(v).all() for v in found.values.values())
        if method == "deeplift":
            assert abs(found.gap) <= 1e-5 * max(1, abs(found.score - found.baseline_score))


def test_a_scaler_and_a_linear_model_of_classic_learning_are_linear():
    from small_graphs import model_of

    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[1.0, 2, 3], scale=[0.5, 2, 1]),
        helper.make_node(
            "LinearRegressor", ["s"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, -2, 3], intercepts=[0.5], targets=1
        ),
    ]
    proto = model_of(nodes, {"x": (1, ["b", 3])}, {"y": (1, ["b", 1])}, domains={"ai.onnx.ml": 3})
    x, x0 = np.float32([[2, 1, 4]]), np.float32([[1, 0, 0]])
    found = onnxplain.explain(loaded(proto), x, "deeplift", target="y[0]", baseline=x0)
    np.testing.assert_allclose(found.values["x"], (x - x0) * [0.5 * 1, 2 * -2, 1 * 3], **CLOSE)
    relevance = onnxplain.explain(loaded(proto), x, "lrp", target="y[0]")
    np.testing.assert_allclose(relevance.values["x"], (x - [1, 2, 3]) * [0.5 * 1, 2 * -2, 1 * 3], **CLOSE)


@pytest.mark.parametrize("operator", ["ReduceL2", "ReduceLogSumExp", "LpNormalization", "LRN", "ReduceProd"])
def test_functions_of_several_elements_keep_differences_and_norms_keep_relevance(operator):
    given = {"LpNormalization": {"axis": -1, "p": 2}, "LRN": {"size": 3}}.get(operator, {"axes": [2]})
    nodes = [
        helper.make_node(operator, ["x"], ["z"], **given),
        helper.make_node("Flatten", ["z"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    size = 6 if operator.startswith("Reduce") else 24
    model = network(nodes, {"x": [2, 4, 3]}, {"y": [1]}, {"w": RNG.normal(size=(size, 1))})
    x, x0 = (RNG.uniform(0.5, 2, size=(2, 2, 4, 3)).astype(np.float32)[k : k + 1] for k in (0, 1))
    found = onnxplain.explain(model, x, "deeplift", target="y[0]", baseline=x0)
    assert found.gap == pytest.approx(0, abs=1e-4 * max(1, abs(found.score - found.baseline_score)))
    if operator in {"ReduceL2", "LpNormalization", "LRN"}:
        relevance = onnxplain.explain(model, x, "lrp", target="y[0]")
        assert relevance.values["x"].sum() == pytest.approx(relevance.score, rel=1e-4)


def test_a_twin_runs_under_rules_too():
    from onnxplain.adapters.torch.twin import twin

    model = network(
        [gemm("x", "W", "h"), helper.make_node("Relu", ["h"], ["y"])], {"x": [2]}, {"y": [2]}, {"W": np.eye(2)}
    )
    x = np.float32([[1, 2], [3, -4]])
    rules = RuleSet("lrp-0", (("linear", ZERO), ("activation", Pass())))
    found = twin(model, {"x": x}).run({"x": x}, "y[0]", wrt=["x", "h"], rules=rules)
    np.testing.assert_allclose(found.gradients["x"], [[1, 0], [3, 0]])
    np.testing.assert_allclose(found.gradients["h"], [[1, 0], [3, 0]])
