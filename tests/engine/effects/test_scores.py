import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from onnxplain.engine.effects.scores import SCORES, accuracy, auc, log_loss, mae, mse, r2

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(2, 4))
def test_scores_of_classes_are_those_of_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 30)])
    probabilities = np.round(rng.dirichlet(np.ones(classes), size=len(labels)), 1) + 1e-3  # with ties
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert accuracy(labels, probabilities) == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert log_loss(labels, probabilities) == pytest.approx(metrics.log_loss(labels, probabilities))
    if classes == 2:
        expected = metrics.roc_auc_score(labels, probabilities[:, 1])
    else:
        expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert auc(labels, probabilities) == pytest.approx(expected)


@given(seeds)
def test_scores_of_values_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y, found = rng.normal(size=(2, 25))
    assert r2(y, found[:, None]) == pytest.approx(metrics.r2_score(y, found))
    assert mae(y, found[:, None]) == pytest.approx(metrics.mean_absolute_error(y, found))
    assert mse(y, found[:, None]) == pytest.approx(metrics.mean_squared_error(y, found))


def test_a_drop_is_how_much_worse_whichever_way_a_score_runs():
    assert SCORES["accuracy"].drop(0.9, 0.6) == pytest.approx(0.3)
    assert SCORES["log-loss"].drop(0.2, 0.5) == pytest.approx(0.3)
    assert SCORES["r2"].drop(0.5, -1.0) == pytest.approx(1.5)
