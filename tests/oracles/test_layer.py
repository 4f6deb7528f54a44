"""Methods for layers and guided integrated gradients against numbers from other libraries' tests."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import onnxplain
from oracles.graphs import linear, ml, quadratic

pytest.importorskip("torch")

from onnxplain.adapters.torch.gradient import (  # noqa: F401 - registers the plug-ins
    conductance,
    gradient_x_activation,
    guided_integrated_gradients,
    internal_influence,
)

CASES = tomllib.loads((Path(__file__).parent / "layer.toml").read_text(encoding="utf-8"))["case"]
RUNS = [(case, method) for case in CASES for method in case["methods"]]
FLOAT32 = 1e-6  # relative to the largest value
MODELS = {
    "ML": ml,
    "2x + y": lambda: linear((2, 1)),
    "2x^2 + y^2": lambda: quadratic(2, {}, {(0, 0): 2, (1, 1): 1}),
    "(2x + y)^2": lambda: quadratic(2, {}, {(0, 0): 4, (0, 1): 4, (1, 1): 1}),
}


@pytest.mark.parametrize(("case", "method"), RUNS, ids=[f"{c['row']} {m} {c['model']} {c.get('wrt')}" for c, m in RUNS])
def test_values_are_those_of_the_source(case, method):
    model = onnxplain.load(MODELS[case["model"]](), device="cpu", threads=1)
    settings = {name: np.array(v) if isinstance(v, list) else v for name, v in case.get("settings", {}).items()}
    x = np.array([case["input"]], dtype=np.float32)
    found = onnxplain.explain(model, x, method, target=0, wrt=case.get("wrt"), **settings)
    tolerance = case.get("tolerance", FLOAT32) * np.abs(case["expected"]).max()
    assert list(found.values) == [case.get("wrt", "x")]
    np.testing.assert_allclose(found.values[case.get("wrt", "x")], [case["expected"]], rtol=0, atol=tolerance)
