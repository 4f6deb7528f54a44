"""Gradient methods against numbers from papers, other libraries' tests and by hand."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnxplain
from onnxplain.adapters.torch.gradient import (  # noqa: F401  # registers the methods
    gradient_shap,
    input_x_gradient,
    integrated_gradients,
    saliency,
    taylor,
)
from oracles.gradient_graphs import MODELS

CASES = tomllib.loads((Path(__file__).parent / "gradient.toml").read_text(encoding="utf-8"))["case"]
FLOAT32 = 1e-5  # relative to the largest value


@pytest.mark.parametrize("case", CASES, ids=[f"{c['row']} {c['method']}" for c in CASES])
def test_values_are_those_of_the_source(case):
    model = onnxplain.load(MODELS[case["model"]](), device="cpu", threads=1)
    inputs = {name: np.array([array], dtype=np.float32) for name, array in case["inputs"].items()}
    asked = {"target": case.get("target", 0), "wrt": case.get("wrt"), **case.get("settings", {})}
    found = onnxplain.explain(model, inputs, case["method"], **asked)
    assert found.values.keys() == case["expected"].keys()
    for name, expected in case["expected"].items():
        tolerance = case.get("tolerance", FLOAT32 * np.abs(expected).max())
        np.testing.assert_allclose(found.values[name], [expected], rtol=0, atol=tolerance)


def test_row_1_without_the_input_the_mean_gradient():
    model = onnxplain.load(MODELS["M2"](), device="cpu", threads=1)
    found = onnxplain.explain(model, np.float32([[3, 1]]), "integrated-gradients", target=0, points=2000, baseline=0)
    np.testing.assert_allclose(found.values["x"] / [3, 1], [[0.5, -0.5]], atol=1e-3)
