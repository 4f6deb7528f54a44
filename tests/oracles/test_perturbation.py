"""Occlusion, ablation, Shapley values and RISE against numbers from papers, other libraries' tests and by hand."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import onnxplain
from onnxplain.engine.perturbation.coalitions import pairs_of, stratum_mass
from onnxplain.engine.runtime import Layout
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


def test_row_218_rise_over_all_masks_is_the_mean_score_given_the_pixel():
    model = onnxplain.load(MODELS["x11 x22 + 2 x12 - x21"]())
    x = np.array([[[[1, 2], [3, 2]]]], dtype=np.float32)
    masks = (np.arange(16)[:, None] >> np.arange(4) & 1).reshape(16, 2, 2)
    found = onnxplain.explain(model, x, "rise", target=0, masks=masks, baseline=0)
    np.testing.assert_allclose(found.values["x"], [[[[1.5, 3], [-0.5, 1.5]]]], rtol=1e-6)
    scores = model.predict({"x": x * masks[:, None].astype(np.float32)})["y"][:, 0]
    given = [[scores[masks[:, i, j] == 1].mean() for j in (0, 1)] for i in (0, 1)]
    np.testing.assert_allclose(found.values["x"], [[given]], rtol=1e-6)


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [("probability", [0.933348, 1.02577, 0.952319]), ("coverage", [0.77779, 0.85481, 0.595199])],
)
@pytest.mark.parametrize("batch", [2, 8])
def test_row_219_rise_with_given_masks(normalise, expected, batch):
    model = onnxplain.load(MODELS["sigmoid(x1 + 2 x2 - x3)"]())
    model.layout = Layout(1, 1, batch)
    masks = [[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]]
    settings = {"masks": masks, "normalise": normalise, "baseline": 0}
    found = onnxplain.explain(model, np.ones((1, 3), np.float32), "rise", target="probability:0", **settings)
    np.testing.assert_allclose(found.values["x"], [expected], rtol=5e-6)


def test_row_228_given_orders_give_the_means_and_standard_errors_of_their_gains():
    model, x = MODELS["x1 x2 + x2 x3 + x3"](), np.array([[1, 2, 3]], dtype=np.float32)
    orders = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [1, 0, 2]]
    found = onnxplain.explain(model, x, "shapley-sampling", target=0, baseline=0, orders=orders)
    np.testing.assert_allclose(found.values["x"], [[1, 2.5, 7.5]], rtol=1e-6)
    np.testing.assert_allclose(found.standard_error["x"], [[0.57735, 1.89297, 1.5]], rtol=1e-5)
    assert abs(found.gap) < 1e-9
