"""Integrated gradients: points and weights, completeness, refinement, inner tensors, memory."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxplain  # noqa: E402
from gradient_problems import finite_differences, problem_of, score_of, smooth_network, weights_of  # noqa: E402
from onnxplain.adapters.torch.gradient import slopes  # noqa: E402
from onnxplain.adapters.torch.gradient.integrated_gradients import (  # noqa: E402
    IntegratedGradients,
    nodes,
)
from onnxplain.engine.errors import SettingError  # noqa: E402

RNG = np.random.default_rng(4)
RULES = ["gauss-legendre", "riemann-left", "riemann-right", "riemann-middle", "trapezoid"]
DIGIT = RNG.random((1, 1, 8, 8)).astype(np.float32)


def digits(**asked):
    model = onnxplain.load(onnxplain.models.path("digits-cnn"), device="cpu", threads=1)
    return problem_of(model, {"image": DIGIT}, "3", **asked)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [2, 7, 300])
def test_weights_add_up_to_one_and_points_lie_between(rule, count):
    t, weights = nodes(rule, count)
    assert len(t) == len(weights) == count
    assert weights.sum() == pytest.approx(1)
    assert t.min() >= 0
    assert t.max() <= 1
    assert np.all(np.diff(t) > 0)


@pytest.mark.parametrize(
    ("rule", "count", "degree"), [("gauss-legendre", 1, 1), ("gauss-legendre", 3, 5), ("gauss-legendre", 600, 40)]
)
def test_gauss_legendre_is_exact_for_polynomials(rule, count, degree):
    t, weights = nodes(rule, count)
    for power in range(degree + 1):
        assert weights @ t**power == pytest.approx(1 / (power + 1), rel=1e-12)


def test_rules_at_four_points():
    assert nodes("riemann-left", 4)[0].tolist() == [0, 0.25, 0.5, 0.75]
    assert nodes("riemann-right", 4)[0].tolist() == [0.25, 0.5, 0.75, 1]
    assert nodes("riemann-middle", 4)[0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert nodes("trapezoid", 4)[1].tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 3, 1 / 6])


@pytest.mark.parametrize("rule", RULES)
def test_values_are_the_sum_over_points_of_finite_differences(rule):
    model = smooth_network(0)
    x, x0 = RNG.normal(size=(1, 5)), RNG.normal(size=(1, 5))
    problem = problem_of(model, {"x": x}, "1", baseline_setting=x0)
    function = lambda rows: score_of(model, problem.target, {"x": rows})  # noqa: E731
    t, weights = nodes(rule, 5)
    expected = sum(
        w * (x - x0) * finite_differences(function, x0 + s * (x - x0)) for s, w in zip(t, weights, strict=True)
    )
    found = IntegratedGradients(points=5, rule=rule).explain(problem)
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-6, atol=1e-9)
    assert found.baseline_score == pytest.approx(function(x0)[0], rel=1e-12)
    assert found.gap == pytest.approx(expected.sum() - (function(x) - function(x0))[0], abs=1e-8)
    assert found.evaluations == 2 + 5


def test_values_of_a_smooth_model_add_up():
    model = smooth_network(1, 4)
    problem = problem_of(
        model, {"x": RNG.normal(size=(1, 2, 5, 4))}, "2", baseline_setting=RNG.normal(size=(2, 2, 5, 4))
    )
    found = IntegratedGradients(points=64).explain(problem)
    assert abs(found.score - found.baseline_score) > 0.1
    assert abs(found.gap) < 1e-9


@pytest.mark.parametrize("wrt", [None, "image"])
def test_values_of_the_digits_model_add_up(wrt):
    found = IntegratedGradients(points=1000).explain(digits(wrt=wrt))
    assert abs(found.score - found.baseline_score) > 0.5
    assert abs(found.gap) < 5e-3 * abs(found.score - found.baseline_score)


def test_values_add_up_at_every_float_tensor_of_the_digits_model():
    problem = digits()
    names = [t.name for t in problem.model.tensors() if t.dtype == "float32"]
    before = names[: names.index(problem.target.tensor) + 1]
    assert len(before) >= 6
    for name in before:
        found = IntegratedGradients(points=200).explain(digits(wrt=name))
        assert found.values.keys() == {name}
        assert abs(found.gap) < 1e-2 * abs(found.score - found.baseline_score)


def test_a_side_branch_adds_up_to_what_setting_it_to_its_baseline_changes():
    model = smooth_network(3)
    x, x0 = RNG.normal(size=(1, 5)), RNG.normal(size=(1, 5))
    found = IntegratedGradients().explain(problem_of(model, {"x": x}, "0", wrt="s", baseline_setting=x0))
    (b, s0) = (model.rows({"x": v}, (n,))[0] for v, n in ((x, "b"), (x0, "s")))
    assert found.baseline_score == pytest.approx(float((b * s0 @ weights_of(model, "W3"))[0, 0]), rel=1e-9)
    assert abs(found.gap) < 1e-12


def test_points_are_doubled_until_the_tolerance_is_met():
    coarse = IntegratedGradients(points=2).explain(digits())
    fine = IntegratedGradients(points=2, tolerance=1e-2).explain(digits())
    limit = 1e-2 * max(1, abs(fine.score - fine.baseline_score))
    assert abs(coarse.gap) > limit
    assert abs(fine.gap) <= limit
    rows = [sum(2 + 2**k for k in range(1, last)) for last in range(3, 12)]
    assert fine.evaluations in rows
    assert fine.notes == ()


def test_problems_are_refined_each_as_far_as_it_needs():
    model = digits().model
    rows = RNG.random((3, 1, 8, 8)).astype(np.float32)
    problems = [problem_of(model, {"image": r[None]}, "3") for r in rows]
    method = IntegratedGradients(points=4, tolerance=0.02)
    for problem, found in zip(problems, method.explain_many(problems), strict=True):
        alone = method.explain(problem)
        assert found.evaluations == alone.evaluations
        np.testing.assert_allclose(found.values["image"], alone.values["image"], rtol=1e-4, atol=1e-6)


def test_a_tolerance_that_cannot_be_met_is_told(monkeypatch):
    monkeypatch.setattr("onnxplain.adapters.torch.gradient.integrated_gradients.MOST_REFINED", 8)
    found = IntegratedGradients(points=4, tolerance=1e-12).explain(digits())
    assert found.notes == ("the tolerance 1e-12 is not met with 8 points",)
    assert found.evaluations == (2 + 4) + (2 + 8)


def test_points_go_through_in_batches_and_are_not_kept(monkeypatch):
    sizes = []
    run = slopes.Slopes.run
    monkeypatch.setattr(
        slopes.Slopes, "run", lambda self, points, owners: sizes.append(len(owners)) or run(self, points, owners)
    )
    IntegratedGradients(points=1000).explain(digits())
    assert sum(sizes) == 1000
    assert max(sizes) <= 64


def test_memory_does_not_grow_with_the_points():
    import tracemalloc

    problem = digits()
    peaks = []
    for points in (128, 128, 2048):
        tracemalloc.start()
        with problem.model.remembering():
            IntegratedGradients(points=points, rule="riemann-middle").explain(problem)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 200_000


def test_one_point_is_too_few_for_trapezoids():
    with pytest.raises(SettingError, match="at least 2 points"):
        IntegratedGradients(points=1, rule="trapezoid").explain(digits())
    with pytest.raises(SettingError, match="must be 1 to"):
        onnxplain.explain(digits().model, DIGIT, "integrated-gradients", points=0)
