"""LRP as users meet it: conservation, layers by place and name, several samples, inner tensors, what is refused."""

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402  # after the check that torch is there
from gradient_problems import problem_of  # noqa: E402
from onnxplain.adapters.torch.relevance.lrp import Lrp  # noqa: E402
from onnxplain.engine.errors import CapabilityError, InputError, SettingError  # noqa: E402
from relevance_problems import dense, gemm, network  # noqa: E402

RULES = ["zero", "epsilon:1e-9", "gamma:0.3", "literal-gamma:0.3", "alpha-beta:2", "z-plus"]


def mlp(rng):
    return dense([rng.normal(size=(7, 6)), rng.normal(size=(7, 7)), rng.normal(size=(3, 7))]), (6,)


def cnn(rng):
    nodes = [
        helper.make_node("Conv", ["x", "K1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["a1"]),
        helper.make_node("MaxPool", ["a1"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "K2"], ["c2"], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["a2"]),
        helper.make_node("AveragePool", ["a2"], ["m"], kernel_shape=[2, 1]),
        helper.make_node("Flatten", ["m"], ["f"]),
        gemm("f", "W", "y"),
    ]
    constants = {"K1": (4, 2, 3, 3), "K2": (5, 4, 2, 2), "W": (3, 10)}
    drawn = {n: rng.normal(size=s) for n, s in constants.items()}
    return network(nodes, {"x": [2, 8, 8]}, {"y": [3]}, drawn), (2, 8, 8)


def residual_cnn(rng):
    nodes = [
        helper.make_node("Conv", ["x", "K1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["a1"]),
        helper.make_node("Conv", ["a1", "K2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "a1"], ["s"]),
        helper.make_node("Relu", ["s"], ["a2"]),
        helper.make_node("Concat", ["a2", "a1"], ["both"], axis=1),
        helper.make_node("GlobalAveragePool", ["both"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        gemm("f", "W", "y"),
    ]
    constants = {"K1": (4, 2, 3, 3), "K2": (4, 4, 3, 3), "W": (3, 8)}
    drawn = {n: rng.normal(size=s) for n, s in constants.items()}
    return network(nodes, {"x": [2, 6, 6]}, {"y": [3]}, drawn), (2, 6, 6)


NETWORKS = {"MLP": mlp, "CNN": cnn, "residual CNN": residual_cnn}


@pytest.mark.parametrize("rule", [*RULES, "alpha-beta:1.5"])
@pytest.mark.parametrize("name", NETWORKS)
def test_without_biases_relevance_adds_up_to_the_score(name, rule):
    rng = np.random.default_rng(0)
    model, shape = NETWORKS[name](rng)
    x = rng.uniform(0.5, 1, size=(1, *shape)).astype(np.float32)
    found = onnxplain.explain(model, x, "lrp", target=1, rules=rule)
    assert found.values["x"].sum() == pytest.approx(found.score, rel=1e-4)
    assert abs(found.gap) <= 1e-4 * abs(found.score)


@pytest.mark.parametrize("rule", ["alpha-beta:2", "z-plus"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_ledger_tells_what_outputs_without_a_part_to_hand_on_to_keep(name, rule):
    lost = 0.0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        model, shape = NETWORKS[name](rng)
        x = rng.normal(size=(1, *shape)).astype(np.float32)
        found = onnxplain.explain(model, x, "lrp", target=1, rules=f"{rule}, sum={rule}, pool={rule}")
        size = abs(found.extras["lost"]).sum() + abs(found.score)
        assert found.values["x"].sum() + found.extras["lost"].sum() == pytest.approx(found.score, abs=1e-4 * size)
        lost += abs(found.extras["lost"]).sum()
    assert lost > 0.1 or (name, rule) != ("MLP", "alpha-beta:2")


def test_biases_that_are_left_out_keep_nothing():
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(9, 6)), rng.normal(size=(3, 9))]
    model = dense(weights, [rng.normal(size=9), rng.normal(size=3)])
    x = rng.normal(size=(1, 6)).astype(np.float32)
    with_them = onnxplain.explain(model, x, "lrp", target=0, rules="zero")
    without = onnxplain.explain(model, x, "lrp", target=0, rules="zero", bias=False)
    assert abs(with_them.gap) > 0.01
    assert without.gap == pytest.approx(0, abs=1e-4 * abs(without.score))


@pytest.mark.parametrize("method", ["lrp", "deep-taylor", "excitation-backprop", "deeplift", "guided-backprop"])
def test_several_samples_and_targets_give_what_each_alone_gives(method):
    from onnxplain.engine.registry import find

    rng = np.random.default_rng(7)
    model, shape = residual_cnn(rng)
    explainer = find(method).factory()
    images = rng.normal(size=(4, *shape)).astype(np.float32)
    problems = [
        problem_of(model, {"x": image[None]}, str(k % 3), baseline_setting=0.1) for k, image in enumerate(images)
    ]
    for problem, found in zip(problems, explainer.explain_many(problems), strict=True):
        alone = explainer.explain(problem)
        np.testing.assert_allclose(found.values["x"], alone.values["x"], rtol=1e-3, atol=1e-5)
        assert found.score == pytest.approx(alone.score, rel=1e-5)
        if found.gap is not None:
            assert found.gap == pytest.approx(alone.gap, abs=1e-4)
        if "lost" in found.extras:
            assert found.extras["lost"].sum() == pytest.approx(alone.extras["lost"].sum(), abs=1e-4)


def test_relevance_at_inner_tensors_is_what_passes_there():
    rng = np.random.default_rng(2)
    model, shape = residual_cnn(rng)
    x = rng.normal(size=(1, *shape)).astype(np.float32)
    at = {n: onnxplain.explain(model, x, "lrp", target=1, rules="zero", wrt=n) for n in ("c1", "a1", "s", "m", "y")}
    score = at["y"].score
    for name in ("a1", "m", "y"):
        assert at[name].values[name].sum() == pytest.approx(score, rel=1e-4)
    np.testing.assert_allclose(at["c1"].values["c1"], at["a1"].values["a1"], atol=1e-5)
    assert any("by tensors that are not explained" in note for note in at["s"].notes)


def test_a_target_that_is_a_channel_or_a_neuron():
    rng = np.random.default_rng(2)
    model, shape = residual_cnn(rng)
    x = rng.normal(size=(1, *shape)).astype(np.float32)
    for target in ("s[1]", "a2[0,2,3]"):
        found = onnxplain.explain(model, x, "lrp", target=target, rules="zero")
        assert found.values["x"].sum() == pytest.approx(found.score, rel=1e-3, abs=1e-4)


def test_rules_by_third_are_told_by_depth():
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(5, 5)) for _ in range(6)]
    model = dense(weights)
    x = rng.normal(size=(1, 5)).astype(np.float32)
    thirds = onnxplain.explain(model, x, "lrp", target=1, rules="lower=flat, middle=gamma:1, upper=epsilon:0.1")
    named = onnxplain.explain(
        model, x, "lrp", target=1, rules="z0=flat, z1=flat, z[23]=gamma:1, last=epsilon:0.1, dense=epsilon:0.1"
    )
    np.testing.assert_array_equal(thirds.values["x"], named.values["x"])


def test_rules_from_a_file(tmp_path):
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    x = np.float32([[1, 2]])
    path = tmp_path / "rules.toml"
    path.write_text('gamma = 0.5\n[rules]\nfirst = "gamma"\n"z1" = "epsilon:0.01"\n')
    given = onnxplain.explain(model, x, "lrp", target=0, rules=str(path))
    same = onnxplain.explain(model, x, "lrp", target=0, rules="first=gamma:0.5, z1=epsilon:0.01")
    np.testing.assert_array_equal(given.values["x"], same.values["x"])


def test_rules_from_a_dict_are_those_of_the_same_text(tmp_path):
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    x = np.float32([[1, 2]])
    given = onnxplain.explain(model, x, "lrp", target=0, rules={"first": "gamma:0.5", "z1": "epsilon:0.01"})
    same = onnxplain.explain(model, x, "lrp", target=0, rules="first=gamma:0.5, z1=epsilon:0.01")
    np.testing.assert_array_equal(given.values["x"], same.values["x"])
    assert given.values["x"].sum() != pytest.approx(given.score, rel=1e-6)
    again = onnxplain.Explanation.load(given.save(tmp_path / "given.npz"))
    assert again.settings["rules"] == {"first": "gamma:0.5", "z1": "epsilon:0.01"}
    with pytest.raises(SettingError, match="text or dict of text by name"):
        onnxplain.explain(model, x, "lrp", target=0, rules={"first": 2})


def with_norm(kernel, other, scale, bias, mean, deviation):
    nodes = [
        helper.make_node("Conv", ["x", "K1"], ["c1"], name="stem[0]"),
        helper.make_node("BatchNormalization", ["c1", "scale", "bias", "mean", "var"], ["n1"], epsilon=0.0),
        helper.make_node("Relu", ["n1"], ["a1"]),
        helper.make_node("Conv", ["a1", "K2"], ["c2"]),
        helper.make_node("Flatten", ["c2"], ["y"]),
    ]
    constants = {"K1": kernel, "K2": other, "scale": scale, "bias": bias, "mean": mean, "var": deviation**2}
    return network(nodes, {"x": [2, 4, 4]}, {"y": [3]}, constants)


@pytest.mark.parametrize("pattern", ["c1", "n1", "stem*", "stem[0]"])
def test_a_pattern_finds_a_convolution_by_its_own_name_where_it_is_merged_into_its_normalisation(pattern):
    rng = np.random.default_rng(4)
    kernel, other = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(3, 4, 2, 2))
    (scale, bias, mean), deviation = rng.normal(size=(3, 4)), rng.uniform(0.5, 1, size=4)
    by_hand = network(
        [
            helper.make_node("Conv", ["x", "K1", "b1"], ["c1"]),
            helper.make_node("Relu", ["c1"], ["a1"]),
            helper.make_node("Conv", ["a1", "K2"], ["c2"]),
            helper.make_node("Flatten", ["c2"], ["y"]),
        ],
        {"x": [2, 4, 4]},
        {"y": [3]},
        {"K1": kernel * (scale / deviation)[:, None, None, None], "b1": bias - mean * scale / deviation, "K2": other},
    )
    x = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    model = with_norm(kernel, other, scale, bias, mean, deviation)
    found = onnxplain.explain(model, x, "lrp", target=1, rules=f"{pattern}=w-squared, conv=epsilon")
    expected = onnxplain.explain(by_hand, x, "lrp", target=1, rules="first=w-squared, conv=epsilon")
    plain = onnxplain.explain(by_hand, x, "lrp", target=1, rules="conv=epsilon")
    np.testing.assert_allclose(found.values["x"], expected.values["x"], rtol=1e-4, atol=1e-5)
    assert np.abs(plain.values["x"] - expected.values["x"]).max() > 0.01


REFUSED = [
    ({"rules": "gama"}, "no rule 'gama'", "gamma"),
    ({"rules": "first=box, frist=flat"}, "needs the bounds", "low and high"),
    ({"rules": "box:1..0"}, "low <= high", ""),
    ({"rules": "box:0"}, "no two bounds", "box:0..1"),
    ({"rules": "first=box:0..1"}, "outside the box", "after preprocessing"),
    ({"rules": "box:0..1"}, "outside the box", "write first=box"),
    ({"rules": "alpha-beta:0.5"}, "alpha - beta = 1", "alpha-beta:2"),
    ({"rules": "alpha-beta:2/2"}, "alpha - beta = 1", "alpha-beta:2"),
    ({"rules": "z-plus:2"}, "takes no number", ""),
    ({"rules": "epsilon:-1"}, "at least 0", ""),
    ({"rules": "epsilon:x"}, "not a number", ""),
    ({"rules": "flat=first=z"}, "no rule 'first=z'", ""),
    ({"rules": "dense="}, "is no rule", "KEY=RULE"),
    ({"rules": "z0=flat, z0=flat"}, "two rules for 'z0'", ""),
    ({"rules": "z9=flat"}, "no layer or tensor is called 'z9'", "z0, z1"),
    ({"preset": "epsilon-pluss"}, "epsilon-plus", ""),
    ({"preset": "epsilon-gamma-box"}, "needs the bounds", ""),
    ({"epsilon": -1}, "at least 0", ""),
    ({"rules": "nothing.toml"}, "cannot be read", ""),
]


@pytest.mark.parametrize(("settings", "message", "tip"), REFUSED)
def test_what_cannot_be_used_is_refused(settings, message, tip):
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    with pytest.raises((SettingError, InputError)) as caught:
        onnxplain.explain(model, np.float32([[1, 2]]), "lrp", target=0, **settings)
    assert message in str(caught.value)
    assert tip in caught.value.tip
    assert len(str(caught.value).splitlines()) <= 6


def test_a_rule_that_does_not_fit_its_node_is_refused():
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    with pytest.raises(CapabilityError, match="is not for this node"):
        onnxplain.explain(model, np.float32([[1, 2]]), "lrp", target=0, rules="activation=gamma")
    with pytest.raises(CapabilityError, match="it is for products; equal shares"):
        onnxplain.explain(model, np.float32([[1, 2]]), "lrp", target=0, rules="half")
    with pytest.raises(CapabilityError, match="is not for this node"):
        onnxplain.explain(
            model, np.float32([[1, 2]]), "lrp", target=0, rules="z0=pass, activation=pass, dense=detached"
        )


def test_rules_for_kinds_that_the_graph_does_not_have_are_told():
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    found = onnxplain.explain(model, np.float32([[1, 2]]), "lrp", target=0, rules="conv=gamma, dense=epsilon")
    assert "no node that the target depends on fits the rule for 'conv'" in found.notes


def test_two_sets_of_rules_do_not_disturb_each_other():
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    model, shape = residual_cnn(rng)
    x = rng.normal(size=(1, *shape)).astype(np.float32)
    problem = problem_of(model, {"x": x}, "1")
    rules = ["zero", "z-plus", "gamma:1"]
    alone = [Lrp(rules=r).explain(problem) for r in rules]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda r: Lrp(rules=r).explain(problem), rules * 4))
    for one, found in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(one.values["x"], found.values["x"])
        np.testing.assert_array_equal(one.extras["lost"], found.extras["lost"])


def test_losses_are_listed_in_json(tmp_path):
    rng = np.random.default_rng(3)
    model = dense([rng.normal(size=(9, 6)), rng.normal(size=(3, 9))], [rng.normal(size=9), rng.normal(size=3)])
    found = onnxplain.explain(model, rng.normal(size=(1, 6)).astype(np.float32), "lrp", target=0)
    extras = found.to_json()["extras"]
    assert extras["lost"]["data"] == pytest.approx(found.extras["lost"].tolist())
    assert extras["lost_at"]["data"] == found.extras["lost_at"].tolist()
    again = onnxplain.Explanation.load(found.save(tmp_path / "found.npz"))
    assert again == found


def test_deeplift_refuses_a_reference_of_another_shape():
    model = dense([np.array([[1.0, 2], [3, 4]]), np.ones((1, 2))])
    with pytest.raises((SettingError, InputError)) as caught:
        onnxplain.explain(model, np.float32([[1, 2]]), "deeplift", target=0, baseline=np.zeros((1, 3), np.float32))
    assert "3" in str(caught.value)
