"""Gradient methods count references alike: a baseline that weighs them is refused rather than averaged wrongly."""

import numpy as np
import pytest

import onnxplain
from onnxplain import Baseline, SettingError
from small_graphs import affine


@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-shap", "taylor"])
def test_weighted_references_are_refused(method):
    model = onnxplain.load(affine(np.eye(2), np.zeros(2), activation="Tanh").SerializeToString())
    baseline = Baseline("mine", {"x": np.array([[0, 0], [1, 1]], np.float32)}, weights=np.array([1.0, 3.0]))
    with pytest.raises(SettingError, match="this baseline weighs them"):
        onnxplain.explain(model, np.ones((1, 2), np.float32), method, baseline=baseline)
