"""Occlusion, ablation, Shapley values and RISE against numbers from papers, other libraries' tests and by hand."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import onnxplain
from onnxplain.engine.perturbation.coalitions import pairs_of, stratum_mass
from onnxplain.engine.perturbation.rise import MaskAverage
from oracles.graphs import MODELS

CASES = tomllib.loads((Path(__file__).parent / "perturbation.toml").read_text(encoding="utf-8"))["case"]
ENDS_OF_ONE = [(case, method) for case in CASES for method in case["methods"]]
FLOAT32 = 1e-5  # relative to the largest value


def batch_of_one(arrays):
    return {name: np.array([array], dtype=np.float32) for name, array in arrays.items()}


@pytest.mark.parametrize(("case", "method"), ENDS_OF_ONE, ids=[f"{c['row']} {m}" for c, m in ENDS_OF_ONE])
def test_values_are_those_of_the_source(case, method):
    settings = {"baseline": 0} | case.get("settings", {})
    found = onnxplain.explain(MODELS[case["model"]](), batch_of_one(case["inputs"]), method, target=0, **settings)
    assert found.values.keys() == case["expected"].keys()
    for name, expected in case["expected"].items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.values[name], [expected], rtol=0, atol=FLOAT32 * scale)
    assert found.evaluations == case.get("evaluations", found.evaluations)
    assert found.score == pytest.approx(case.get("score", found.score))


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap"])
def test_row_35_intercept_is_the_score_of_nothing(method):
    model = MODELS["x1 + 2 x2 + 3 x3 + 4 x4 + 7"]()
    found = onnxplain.explain(model, np.ones((1, 4), np.float32), method, target=0, baseline=0)
    assert found.baseline_score == pytest.approx(7)
    assert abs(found.gap) < 1e-9


def test_row_33_size_masses_of_the_shapley_kernel():
    """Mass 1 / (k (n - k)) of size k, n = 5; a stratum holds the sizes k and n - k."""
    assert [stratum_mass(5, s) for s in (1, 2)] == pytest.approx([2 / 4, 2 / 6])
    per_coalition = [stratum_mass(5, s) / (2 * pairs_of(5, s)) for s in (1, 2)]
    kernel = [4 / (5 * 1 * 4), 4 / (10 * 2 * 3)]  # (n - 1) / (C(n, k) k (n - k))
    assert np.divide(per_coalition, kernel) == pytest.approx([1 / 4, 1 / 4])


def masked_scores(name, x, masks):
    """Return the scores of a model at x * mask, for masks of the input's shape."""
    model = onnxplain.load(MODELS[name]())
    x = np.array([x], dtype=np.float32)
    labels = np.arange(x.size).reshape(x.shape)
    game = onnxplain.Game(
        model,
        onnxplain.Sample({"x": x}),
        onnxplain.Target("y", "y", (0,)),
        onnxplain.Features(tuple(map(str, range(x.size))), {"x": labels}),
        onnxplain.Baseline("zero", {"x": np.zeros_like(x)}),
    )
    return game(masks)


def test_row_218_rise_over_all_masks_is_the_mean_score_given_the_pixel():
    masks = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.float32)
    scores = masked_scores("x11 x22 + 2 x12 - x21", [[[1, 2], [3, 2]]], masks)
    average = MaskAverage(4, 0.5)
    average.add(masks, scores)
    np.testing.assert_allclose(average.mean(), [1.5, 3, -0.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(average.mean() - scores.mean(), [0.5, 2, -1.5, 0.5], rtol=1e-6)
    given = [scores[masks[:, k] == 1].mean() for k in range(4)]
    np.testing.assert_allclose(average.mean(), given, rtol=1e-6)


@pytest.mark.parametrize(
    ("coverage", "expected"), [(False, [0.933348, 1.02577, 0.952319]), (True, [0.77779, 0.85481, 0.595199])]
)
def test_row_219_rise_with_given_masks(coverage, expected):
    masks = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]], dtype=bool)
    scores = masked_scores("sigmoid(x1 + 2 x2 - x3)", [1, 1, 1], masks)
    np.testing.assert_allclose(scores, [0.952574, 0.731059, 0.5, 0.880797, 0.268941], rtol=2e-6)
    average = MaskAverage(3, 0.5, coverage=coverage, centre=scores[3])
    for part in np.split(np.arange(5), [2, 3]):
        average.add(masks[part], scores[part])
    np.testing.assert_allclose(average.mean(), expected, rtol=5e-6)
