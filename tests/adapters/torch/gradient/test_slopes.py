"""Slopes: many problems at once, tensors that stand in for integers, inner tensors as starts, and refusals."""

import dataclasses

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402
import whole_models  # noqa: E402
from gradient_problems import (  # noqa: E402
    FLOAT,
    INT,
    loaded,
    problem_of,
    score_of,
    smooth_network,
    tree,
    weights_of,
    words_and_mask,
)
from onnxplain.adapters.torch import layout, twin  # noqa: E402
from onnxplain.adapters.torch.convert import NAMES  # noqa: E402
from onnxplain.adapters.torch.gradient.gradient_shap import GradientShap  # noqa: E402
from onnxplain.adapters.torch.gradient.input_x_gradient import InputXGradient  # noqa: E402
from onnxplain.adapters.torch.gradient.integrated_gradients import IntegratedGradients  # noqa: E402
from onnxplain.adapters.torch.gradient.saliency import Saliency  # noqa: E402
from onnxplain.adapters.torch.gradient.slopes import Slopes, together  # noqa: E402
from onnxplain.adapters.torch.gradient.smooth import SmoothGrad  # noqa: E402
from onnxplain.adapters.torch.gradient.taylor import Taylor  # noqa: E402
from onnxplain.adapters.torch.plan import before  # noqa: E402
from onnxplain.engine.errors import CapabilityError, ModelError, SettingError  # noqa: E402
from small_graphs import model_of  # noqa: E402
from text_models import token_model, worths  # noqa: E402

METHODS = [Saliency(), InputXGradient(), Taylor(), IntegratedGradients(), GradientShap(samples=7), SmoothGrad()]
RNG = np.random.default_rng(2)


def named(methods):
    return [type(m).__name__ for m in methods]


@pytest.mark.parametrize("method", METHODS, ids=named(METHODS))
def test_three_problems_of_different_targets_equal_one_at_a_time(method):
    model = smooth_network(0)
    targets = ["0", "2", "y[1]"]
    problems = [problem_of(model, {"x": RNG.normal(size=(1, 5))}, t, seed=3) for t in targets]
    together_found = method.explain_many(problems)
    for problem, found in zip(problems, together_found, strict=True):
        alone = method.explain(problem)
        np.testing.assert_allclose(found.values["x"], alone.values["x"], rtol=1e-5, atol=1e-9)
        assert found.score == pytest.approx(alone.score)
        assert found.target == problem.target.text
        assert found.evaluations == alone.evaluations
        assert found.manifest["twin_difference"] < 1e-6
    assert not np.allclose(together_found[0].values["x"], together_found[1].values["x"])


@pytest.mark.parametrize("method", METHODS, ids=named(METHODS))
def test_the_batch_size_does_not_change_the_numbers(method, monkeypatch):
    problem = problem_of(smooth_network(1), {"x": RNG.normal(size=(1, 5))}, seed=4)
    whole = method.explain(problem)
    monkeypatch.setattr(layout, "MOST_ROWS", 3)
    parts = method.explain(problem)
    np.testing.assert_allclose(parts.values["x"], whole.values["x"], rtol=1e-9, atol=1e-12)


def test_problems_of_other_tensors_or_shapes_are_solved_apart():
    model = loaded(
        model_of(
            [
                helper.make_node("Mul", ["x", "x"], ["z"]),
                helper.make_node("ReduceSum", ["z", "axis"], ["y"], keepdims=1),
            ],
            {"x": (FLOAT, ["b", "n"])},
            {"y": (FLOAT, ["b", 1])},
            {"axis": np.array([1])},
        )
    )
    rows = [np.float32([[1, 2]]), np.float32([[1, 2, 3]]), np.float32([[4, 5]])]
    problems = [problem_of(model, {"x": r}, t) for r, t in zip(rows, ("0", "0", "z[1]"), strict=True)]
    groups = []
    found = together(problems, lambda s: groups.append(len(s.problems)) or s.explanations(s.values, evaluations=1))
    assert groups == [1, 1, 1]
    for one, row in zip(found, rows, strict=True):
        assert np.array_equal(one.values["x"], row)


def test_an_exported_batch_of_four_takes_any_number_of_problems():
    nodes = [helper.make_node("MatMul", ["x", "W"], ["a"]), helper.make_node("Tanh", ["a"], ["h"])]
    nodes += [helper.make_node("Reshape", ["h", "shape"], ["y"])]  # the number of rows is written into the graph
    weights = RNG.normal(size=(3, 2)).astype(np.float32)
    constants = {"W": weights, "shape": np.array([4, 2])}
    model = loaded(model_of(nodes, {"x": (FLOAT, [4, 3])}, {"y": (FLOAT, [4, 2])}, constants))
    rows = RNG.normal(size=(6, 3)).astype(np.float32)
    problems = [problem_of(model, {"x": r[None]}, str(k % 2)) for k, r in enumerate(rows)]
    for k, found in enumerate(Saliency().explain_many(problems)):
        expected = (1 - np.tanh(rows[k] @ weights[:, k % 2]) ** 2) * weights[:, k % 2]
        np.testing.assert_allclose(found.values["x"], [expected], rtol=1e-4, atol=1e-6)
    inner = [problem_of(model, {"x": r[None]}, str(k % 2), wrt="a") for k, r in enumerate(rows)]
    for k, found in enumerate(IntegratedGradients(baseline=0).explain_many(inner)):
        np.testing.assert_allclose(found.values["a"][0, k % 2], np.tanh(rows[k] @ weights[:, k % 2]), atol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "unet", "mobilenet"])
def test_values_add_up_wherever_the_graph_has_the_batch_axis(name):
    model = loaded(whole_models.exported(name, "legacy", 17, whole_models.network(name)))
    (x,) = whole_models.MODELS[name].draw(2)
    problems = [problem_of(model, {"in0": r[None].numpy()}, "out", baseline_setting=0) for r in x]
    module = twin(model, problems[0].sample.feeds)
    needed = before(module.module, [module.module.meta[NAMES]["out"]])
    known = {n for n, f in module.module.meta[NAMES].items() if f in needed and module.layout.probe.is_float(f)}
    names = [t.name for t in model.tensors() if t.name in known][::3]
    axes = {module.layout.axis(module.module.meta[NAMES][n]) for n in names}
    assert axes >= ({0, 1} if name == "lstm" else {0})
    for tensor in names:
        asked = [dataclasses.replace(p, wrt=tensor) for p in problems]
        for found in IntegratedGradients(points=48).explain_many(asked):
            assert found.values.keys() == {tensor}
            change = abs(found.score - found.baseline_score)
            assert abs(found.gap) <= 0.03 * max(change, 0.1 * abs(found.score))


def test_a_model_without_a_batch_axis():
    model = loaded(model_of([helper.make_node("Mul", ["x", "x"], ["y"])], {"x": (FLOAT, [3])}, {"y": (FLOAT, [3])}))
    found = onnxplain.explain(model, np.float32([1, 2, 3]), "integrated-gradients", target="y[2]", baseline=0)
    assert found.values["x"].shape == (3,)
    np.testing.assert_allclose(found.values["x"], [0, 0, 9], atol=1e-5)


def test_words_are_explained_at_their_embedding_and_the_note_says_so():
    module, model, feeds = words_and_mask()
    found = Saliency().explain(problem_of(model, feeds, "1"))
    made = {}
    hook = module.words.register_forward_hook(lambda *a: made.setdefault("words", a[2].detach().requires_grad_()))
    (expected,) = torch.autograd.grad(module(*map(torch.from_numpy, feeds.values()))[:, 1].sum(), made["words"])
    hook.remove()
    names = [n for n, v in found.values.items() if v.shape == (1, 10, 16)]
    np.testing.assert_allclose(found.values[names[0]], expected.numpy(), atol=1e-6)
    assert any(f"'in0' holds integers: the values are those of '{names[0]}'" in n for n in found.notes)


def test_the_way_between_words_goes_through_their_embeddings():
    _, model, feeds = words_and_mask()
    pads = {"in0": np.zeros((1, 10), np.int64)}
    found = IntegratedGradients(points=64, baseline=pads).explain(problem_of(model, feeds, "1", baseline_setting=pads))
    base = score_of(model, problem_of(model, feeds, "1").target, {**feeds, **pads})[0]
    assert found.baseline_score == pytest.approx(base, abs=1e-5)
    assert abs(found.gap) < 1e-3 * abs(found.score - base)
    mask = next(v for n, v in found.values.items() if v.shape[-1] != 16)
    assert not mask.any()


def test_several_problems_of_words_are_solved_together():
    _, model, feeds = words_and_mask(3)
    problems = [problem_of(model, {n: a[k : k + 1] for n, a in feeds.items()}, str(k)) for k in range(3)]
    for problem, found in zip(problems, IntegratedGradients(points=4).explain_many(problems), strict=True):
        alone = IntegratedGradients(points=4).explain(problem)
        for name, values in found.values.items():
            np.testing.assert_allclose(values, alone.values[name], rtol=1e-4, atol=1e-6)


def test_an_inner_tensor_takes_the_place_of_what_makes_it():
    model = smooth_network(0)
    problem = problem_of(model, {"x": RNG.normal(size=(1, 5))}, "1", wrt="h")
    slopes = Slopes.of([problem])
    points = RNG.normal(size=(4, 6))
    W2, W3 = (weights_of(model, n) for n in ("W2", "W3"))
    step = slopes.run({"h": torch.from_numpy(points)}, torch.zeros(4, dtype=torch.int64))
    b = points @ W2
    s = 1 / (1 + np.exp(-b))
    np.testing.assert_allclose(step.scores, (b * s @ W3)[:, 1], rtol=1e-12)
    expected = ((s + b * s * (1 - s)) * W3[:, 1]) @ W2.T
    np.testing.assert_allclose(step.gradients["h"], expected, rtol=1e-12)
    np.testing.assert_allclose(step.activations["h"], points)


def test_gradients_at_taps_while_inputs_move():
    model = smooth_network(0)
    x = RNG.normal(size=(3, 5))
    slopes = Slopes.of([problem_of(model, {"x": x[:1]}, "1")], taps=["h"])
    step = slopes.gradients_at({"x": torch.from_numpy(x)}, torch.zeros(3, dtype=torch.int64))
    (h,) = model.rows({"x": x}, ("h",))
    np.testing.assert_allclose(step.activations["h"], h, rtol=1e-12)
    assert step.gradients.keys() == {"h"}
    assert step.gradients["h"].shape == (3, 6)


def two_inputs():
    """y = 3 a, and z = a b of another input, whose target this is not."""
    nodes = [
        helper.make_node("Add", ["a", "a"], ["aa"]),
        helper.make_node("Add", ["aa", "a"], ["y"]),
        helper.make_node("Mul", ["a", "b"], ["z"]),
    ]
    ends = {"y": (FLOAT, ["n", 2]), "z": (FLOAT, ["n", 2])}
    return loaded(model_of(nodes, {"a": (FLOAT, ["n", 2]), "b": (FLOAT, ["n", 2])}, ends))


def test_an_input_that_the_target_does_not_depend_on_gets_zeros():
    feeds = {"a": np.float32([[1, 2]]), "b": np.float32([[3, 4]])}
    found = InputXGradient().explain(problem_of(two_inputs(), feeds, "y[1]"))
    assert np.array_equal(found.values["a"], [[0, 6]])
    assert np.array_equal(found.values["b"], [[0, 0]])
    assert found.notes == ("the target does not depend on input 'b'",)
    both = InputXGradient().explain(problem_of(two_inputs(), feeds, "z[1]"))
    assert np.array_equal(both.values["b"], [[0, 8]])
    assert both.notes == ()


def test_what_is_not_maskable_stays_as_it_is():
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 2]), "factor": (FLOAT, [])}, {"y": (FLOAT, ["b", 2])}))
    feeds = [{"x": np.float32([[1, 2]]), "factor": np.float32(k)} for k in (2, 5)]
    found = IntegratedGradients().explain_many([problem_of(model, f, "1") for f in feeds])
    np.testing.assert_allclose(found[0].values["x"], [[0, 4]], rtol=1e-6)
    np.testing.assert_allclose(found[1].values["x"], [[0, 10]], rtol=1e-6)
    assert found[1].values.keys() == {"x"}


@pytest.mark.parametrize(("axes", "slope"), [([], 4), ([2], [0, 4]), ([1, 2], [[0, 4]])])
def test_an_input_that_all_rows_share_is_explained_where_it_is_named(axes, slope):
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 2]), "factor": (FLOAT, axes)}, {"y": (FLOAT, ["b", 2])}))
    feeds = {"x": np.float32([[3, 4]]), "factor": np.full(axes, 5, np.float32)}
    (note,) = Saliency().explain(problem_of(model, feeds, "1")).notes
    assert "input 'factor' is the same for all rows" in note
    for method, times in ((Saliency(), 1), (InputXGradient(), 5)):
        found = method.explain(problem_of(model, feeds, "1", wrt="factor"))
        assert found.values["factor"].tolist() == np.multiply(times, slope).tolist()
    with pytest.raises(SettingError, match="no baseline stands in for input 'factor'"):
        IntegratedGradients().explain(problem_of(model, feeds, "1", wrt="factor"))


def test_a_model_of_nothing_but_a_scalar_asks_for_its_name():
    model = loaded(model_of([helper.make_node("Sin", ["x"], ["y"])], {"x": (FLOAT, [])}, {"y": (FLOAT, [])}))
    feeds = {"x": np.array(0.3, np.float32)}
    with pytest.raises(SettingError, match="no input has rows of its own"):
        Saliency().explain(problem_of(model, feeds, "y"))
    found = Saliency().explain(problem_of(model, feeds, "y", wrt="x"))
    np.testing.assert_allclose(found.values["x"], np.cos(0.3), rtol=1e-6)


def test_rounding_that_leaves_no_slope_is_named():
    nodes = [helper.make_node("Round", ["x"], ["r"]), helper.make_node("Mul", ["r", "r"], ["y"])]
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 2])}, {"y": (FLOAT, ["b", 2])}))
    found = Saliency().explain(problem_of(model, {"x": np.float32([[1.2, 2.7]])}, "1"))
    assert found.notes == ("every value is zero: Round on the way to the target has no slope",)


def test_unknown_and_unrelated_tensors_are_refused():
    x = {"x": np.zeros((1, 5))}
    with pytest.raises(SettingError, match="no tensor 'hh'"):
        Saliency().explain(problem_of(smooth_network(0), x, wrt="hh"))
    with pytest.raises(SettingError, match="does not depend on tensor 'y'"):
        Saliency().explain(problem_of(smooth_network(0), x, "h[0]", wrt="y"))


@pytest.mark.parametrize("method", METHODS, ids=named(METHODS))
def test_trees_are_refused_with_the_methods_that_work(method):
    with pytest.raises(CapabilityError) as caught:
        method.explain(problem_of(tree(), {"x": np.zeros((1, 3), np.float32)}))
    assert "TreeEnsembleRegressor has no gradient" in str(caught.value)
    assert "kernel-shap" in str(caught.value)


def test_integers_without_a_way_to_the_target_are_refused():
    nodes = [helper.make_node("Add", ["n", "n"], ["m"]), helper.make_node("Mul", ["x", "x"], ["y"])]
    ends = {"y": (FLOAT, ["b", 3]), "m": (INT, ["b", 3])}
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 3]), "n": (INT, ["b", 3])}, ends))
    feeds = {"x": np.ones((1, 3), np.float32), "n": np.ones((1, 3), np.int64)}
    with pytest.raises(CapabilityError, match="methods that need no gradient"):
        Saliency().explain(problem_of(model, feeds, "m[0]"))


def test_infinite_gradients_are_an_error_that_names_the_tensor():
    model = loaded(
        model_of([helper.make_node("Sqrt", ["x"], ["y"])], {"x": (FLOAT, ["b", 2])}, {"y": (FLOAT, ["b", 2])})
    )
    with pytest.raises(ModelError, match="at 'x' holds NaN or infinity"):
        Saliency().explain(problem_of(model, {"x": np.float32([[0, 1]])}, "0"))


def test_a_baseline_of_largest_effect_keeps_one_reference():
    model = loaded(
        model_of([helper.make_node("Mul", ["x", "x"], ["y"])], {"x": (FLOAT, ["b", 1])}, {"y": (FLOAT, ["b", 1])})
    )
    rows = {"x": np.float32([[1], [3], [0]])}
    baseline = onnxplain.Baseline("three", rows, "largest-effect")
    found = IntegratedGradients().explain(problem_of(model, {"x": np.float32([[2]])}, baseline_setting=baseline))
    assert found.baseline_score == pytest.approx(9)
    np.testing.assert_allclose(found.values["x"], [[-5]], rtol=1e-6)
    averaged = onnxplain.Baseline("three", rows)
    found = IntegratedGradients().explain(problem_of(model, {"x": np.float32([[2]])}, baseline_setting=averaged))
    assert found.baseline_score == pytest.approx(10 / 3)


def test_integers_that_only_choose_among_explained_numbers_are_left_out():
    nodes = [helper.make_node("GatherElements", ["x", "n"], ["chosen"], axis=1)]
    nodes += [helper.make_node("Mul", ["chosen", "chosen"], ["y"])]
    model = loaded(model_of(nodes, {"x": (FLOAT, ["b", 3]), "n": (INT, ["b", 1])}, {"y": (FLOAT, ["b", 1])}))
    feeds = {"x": np.float32([[1, 2, 3]]), "n": np.int64([[2]])}
    found = IntegratedGradients().explain(problem_of(model, feeds, "0", baseline_setting={"x": 0}))
    assert found.values.keys() == {"x"}
    np.testing.assert_allclose(found.values["x"], [[0, 0, 9]], atol=1e-5)
    assert found.notes == ("input 'n' holds integers without a gradient: it is left out",)


def test_the_mask_of_a_text_is_explained_where_it_is_asked_for_only():
    model = loaded(token_model(types=True))  # (worth[token] + 100 type) * mask, added up
    codes = np.int64([[5, 6, 7]])
    feeds = {"input_ids": codes, "attention_mask": np.int64([[1, 1, 0]]), "token_type_ids": np.int64([[0, 1, 1]])}
    found = InputXGradient().explain(problem_of(model, feeds, "1"))
    worth = worths()[codes[0]]
    np.testing.assert_allclose(found.values["e0"], [[[0, worth[0, 1]], [0, worth[1, 1]], [0, 0]]], rtol=1e-6)
    assert sorted(found.values) == ["e0", "token_type_ids.f"]
    assert "input 'attention_mask' says which tokens are there: it is left out (--wrt explains it)" in found.notes
    asked = InputXGradient().explain(problem_of(model, feeds, "1", wrt="attention_mask"))
    np.testing.assert_allclose(asked.values["attention_mask.f"], [[worth[0, 1], worth[1, 1] + 100, 0]], rtol=1e-6)


def test_progress_counts_the_points():
    class Heard:
        done = 0

        def start(self, description, total):
            self.told = description, total

        def advance(self, done):
            self.done += done

    heard = Heard()
    problem = problem_of(smooth_network(0), {"x": RNG.normal(size=(1, 5))}, progress=heard)
    IntegratedGradients(points=100).explain(problem)
    assert heard.told == ("integrated-gradients", 100)
    assert heard.done == 100
