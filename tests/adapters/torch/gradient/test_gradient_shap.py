"""Gradient SHAP: expectations, draws, noise and standard errors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradient_problems import finite_differences, problem_of, score_of, smooth_network  # noqa: E402
from onnxplain.adapters.torch.gradient.gradient_shap import NOISE, POINTS, REFERENCES, GradientShap  # noqa: E402
from onnxplain.adapters.torch.gradient.integrated_gradients import IntegratedGradients  # noqa: E402

RNG = np.random.default_rng(6)
X, BACKGROUND = RNG.normal(size=(1, 5)), RNG.normal(size=(4, 5))


def problem(**asked):
    return problem_of(smooth_network(0), {"x": X}, "1", **{"baseline_setting": BACKGROUND, **asked})


def test_values_are_the_mean_over_the_draws_of_the_formula():
    found = GradientShap(samples=6, noise=0.3).explain(problem(seed=9))
    asked = problem(seed=9)
    references, points, noise = (asked.rng(s) for s in (REFERENCES, POINTS, NOISE))
    function = lambda rows: score_of(asked.model, asked.target, {"x": rows})  # noqa: E731
    terms = []
    for _ in range(6):
        x0 = BACKGROUND[[references.integers(4)]]
        way = X + 0.3 * noise.standard_normal((1, 5)) - x0
        terms.append(way * finite_differences(function, x0 + points.random() * way))
    np.testing.assert_allclose(found.values["x"], np.mean(terms, axis=0), rtol=1e-6, atol=1e-9)
    errors = np.std(terms, axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(found.standard_error["x"], errors, rtol=1e-5)
    assert found.evaluations == 6 + 4 + 1
    assert found.baseline_score == pytest.approx(function(BACKGROUND).mean(), rel=1e-12)
    assert found.gap == pytest.approx(np.mean(terms, axis=0).sum() - (found.score - found.baseline_score), abs=1e-6)


def test_the_expectation_is_that_of_integrated_gradients():
    exact = IntegratedGradients().explain(problem()).values["x"]
    found = GradientShap(samples=2000).explain(problem())
    assert np.all(np.abs(found.values["x"] - exact) < 4 * found.standard_error["x"])
    assert found.standard_error["x"].max() < 0.1 * np.abs(exact).max()
    few = GradientShap(samples=20).explain(problem())
    assert few.standard_error["x"].sum() > 5 * found.standard_error["x"].sum()


def test_the_seed_decides_and_nothing_else():
    one, same, other = (GradientShap(samples=5).explain(problem(seed=s)).values["x"] for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_an_inner_tensor_is_explained_in_its_own_space():
    found = GradientShap(samples=3000).explain(problem(wrt="h"))
    exact = IntegratedGradients().explain(problem(wrt="h")).values["h"]
    assert np.all(np.abs(found.values["h"] - exact) < 5 * found.standard_error["h"])
