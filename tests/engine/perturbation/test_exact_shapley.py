import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.perturbation.exact_shapley import ExactShapley, shapley_values
from oracles.games import NumpyGame, explained, shapley_by_orders, table_game
from oracles.graphs import MODELS, linear

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)


def random_scores(size, seed):
    return table_game(size, np.random.default_rng(seed))


@given(sizes, seeds)
def test_values_are_the_mean_marginal_contribution_over_all_orders(size, seed):
    v, scores = random_scores(size, seed)
    np.testing.assert_allclose(shapley_values(scores), shapley_by_orders(v, size), atol=1e-12)


@given(sizes, seeds, st.integers(1, 9))
def test_explanation_is_complete_whatever_the_batch(size, seed, batch):
    v, scores = random_scores(size, seed)
    game = NumpyGame(v, size, batch)
    found = explained(ExactShapley(), game)
    np.testing.assert_allclose(found.feature_values, shapley_values(scores), atol=1e-12)
    assert found.feature_values.sum() == pytest.approx(scores[-1] - scores[0])
    assert abs(found.gap) < 1e-12
    assert found.standard_error is None
    assert sum(map(len, game.asked)) == 2**size


@given(sizes, seeds)
def test_player_who_adds_nothing_gets_nothing(size, seed):
    v, _ = random_scores(size, seed)
    scores = np.repeat(v(coalitions(size))[None], 2, axis=0).reshape(-1)  # player M joins without effect
    phi = shapley_values(scores)
    assert abs(phi[size]) < 1e-12
    np.testing.assert_allclose(phi[:size], shapley_values(v(coalitions(size))), atol=1e-12)


@given(sizes, seeds)
def test_values_are_linear_in_the_game(size, seed):
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(2, 1 << size))
    together = 3 * shapley_values(one) - shapley_values(two)
    np.testing.assert_allclose(shapley_values(3 * one - two), together, atol=1e-12)


@given(st.integers(2, 6), seeds)
def test_players_who_are_alike_get_alike(size, seed):
    z = coalitions(size)
    _, scores = random_scores(size, seed)
    swapped = z[:, [1, 0, *range(2, size)]] @ (1 << np.arange(size))
    phi = shapley_values(scores + scores[swapped])
    assert phi[0] == pytest.approx(phi[1])


def coalitions(size):
    return (np.arange(1 << size)[:, None] >> np.arange(size) & 1).astype(bool)


def test_too_many_features_are_refused_with_a_way_out():
    with pytest.raises(SettingError, match="at most 20 features, not 21") as refusal:
        onnxplain.explain(linear([1.0] * 21), np.ones((1, 21), np.float32), "exact-shapley", target=0, baseline=0)
    assert "kernel-shap" in refusal.value.tip


def test_every_coalition_is_evaluated_once_on_every_reference():
    model = MODELS["relu(x1 + 2 x2 - x3 - 1)"]()
    x = np.array([[1, 1, 0]], dtype=np.float32)
    found = onnxplain.explain(model, x, "exact-shapley", target=0, baseline=[[0, 0, 1], [1, -1, 0]])
    assert found.evaluations == 1 + 2 * (2**3 - 1)
