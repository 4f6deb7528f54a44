import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.perturbation.exact_shapley import shapley_values
from onnxplain.engine.perturbation.permutation_shap import PermutationShap
from onnxplain.engine.runtime import Layout
from oracles.games import NumpyGame, explained, relu_game, table_game
from oracles.graphs import random_dense

seeds = st.integers(0, 2**32 - 1)


@given(st.integers(1, 7), seeds, st.integers(1, 50))
def test_all_coalitions_give_the_exact_values(size, seed, batch):
    v, scores = table_game(size, np.random.default_rng(seed))
    game = NumpyGame(v, size, batch)
    found = explained(PermutationShap(), game)
    np.testing.assert_allclose(found.feature_values, shapley_values(scores), atol=1e-9)
    assert found.standard_error is None
    assert found.evaluations == game.evaluations == 2**size


def test_one_order_and_its_reverse_are_exact_for_pairwise_interactions():
    """f = x0 x2 + x1 + x2 + x2 x3 at (1, 1, 1, 1, 0): the fifth feature is idle."""

    def v(z):
        return (z[:, 0] & z[:, 2]).astype(float) + z[:, 1] + z[:, 2] + (z[:, 2] & z[:, 3])

    game = NumpyGame(v, 5)
    found = explained(PermutationShap(budget=10), game)
    np.testing.assert_allclose(found.feature_values, [0.5, 1, 2, 0.5, 0], atol=1e-12)
    assert found.evaluations == game.evaluations == 10
    assert found.standard_error is None
    assert found.notes == ("one order and its reverse: no standard error",)


@given(st.integers(8, 14), seeds)
def test_any_order_and_its_reverse_explain_games_of_pairwise_interactions(size, seed):
    interactions = np.triu(np.random.default_rng(seed).normal(size=(size, size)))
    game = NumpyGame(lambda z: np.einsum("bi,ij,bj->b", z, interactions, z) + 3, size)
    found = explained(PermutationShap(budget=2 + 4 * (size - 1)), game)
    exact = np.diag(interactions) + (np.triu(interactions, 1).sum(axis=0) + np.triu(interactions, 1).sum(axis=1)) / 2
    np.testing.assert_allclose(found.feature_values, exact, atol=1e-9)
    assert found.feature_errors.max() < 1e-9


@given(st.integers(6, 12), seeds, st.integers(0, 60), st.integers(1, 50))
def test_values_add_up_within_the_budget(size, seed, more, batch):
    budget = 2 + 2 * (size - 1) + more
    game = NumpyGame(relu_game(size, np.random.default_rng(seed)), size, batch)
    found = explained(PermutationShap(budget=budget), game, seed=seed)
    assert game.evaluations == found.evaluations <= budget
    assert max(map(len, game.asked)) <= batch
    assert found.feature_values.sum() == pytest.approx(game.full - game.empty)


@given(st.integers(8, 11), seeds)
def test_values_are_linear_in_the_game_and_an_idle_player_gets_nothing(size, seed):
    rng = np.random.default_rng(seed)
    one, two = relu_game(size - 1, rng), relu_game(size - 1, rng)
    games = (
        lambda z: one(z[:, :-1]),
        lambda z: two(z[:, :-1]),
        lambda z: 2 * one(z[:, :-1]) - two(z[:, :-1]),
    )
    phi = [explained(PermutationShap(budget=80), NumpyGame(v, size)).feature_values for v in games]
    np.testing.assert_allclose(phi[2], 2 * phi[0] - phi[1], atol=1e-9)
    assert abs(phi[0][-1]) < 1e-9


def test_two_standard_errors_hold_the_truth_95_times_in_100():
    held = []
    for kind in range(5):
        v = relu_game(10, np.random.default_rng(kind))
        exact = shapley_values(v((np.arange(1 << 10)[:, None] >> np.arange(10) & 1).astype(bool)))
        for seed in range(10):
            found = explained(PermutationShap(budget=720), NumpyGame(v, 10, 4096), seed=seed)
            held.append(np.abs(found.feature_values - exact) <= 2 * found.feature_errors)
    assert 0.91 < np.mean(held) < 0.98


def test_tolerance_ends_the_sampling_at_a_multiple_of_sixteen_pairs():
    v = relu_game(12, np.random.default_rng(5))
    found = [
        explained(PermutationShap(budget=4000, tolerance=0.15), NumpyGame(v, 12, batch), seed=1) for batch in (3, 512)
    ]
    assert found[0].feature_errors.max() <= 0.15
    assert found[0].notes == found[1].notes
    assert int(found[0].notes[0].split()[0]) % 16 == 0
    np.testing.assert_allclose(found[0].feature_values, found[1].feature_values, atol=1e-12)


def test_same_seed_gives_the_same_values_whatever_the_batch():
    x = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    usual, other = onnxplain.load(random_dense(2, 16)), onnxplain.load(random_dense(2, 16))
    other.layout = Layout(2, 1, 6)
    one, two = (
        onnxplain.explain(model, x, "permutation-shap", target=0, baseline=0, budget=300, seed=4)
        for model in (usual, other)
    )
    np.testing.assert_allclose(two.values["x"], one.values["x"], rtol=1e-4, atol=1e-5)
    assert one.evaluations == two.evaluations <= 2 + 30 * 9


def test_budget_too_small_for_an_order_is_refused():
    game = NumpyGame(relu_game(10, np.random.default_rng(0)), 10)
    with pytest.raises(SettingError, match=r"permutation-shap\.budget must be at least 58 for 10 features and 3 ref"):
        explained(PermutationShap(budget=57), game, references=3)
    assert game.evaluations == 0
