import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.perturbation import kernel_shap
from onnxplain.engine.perturbation.coalitions import design
from onnxplain.engine.perturbation.exact_shapley import shapley_values
from onnxplain.engine.perturbation.kernel_shap import KernelShap
from onnxplain.engine.runtime import Layout
from oracles.games import NumpyGame, explained, relu_game, table_game
from oracles.graphs import random_dense

sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)
batches = st.integers(1, 50)


@given(sizes, seeds, batches)
def test_all_coalitions_give_the_exact_values(size, seed, batch):
    v, scores = table_game(size, np.random.default_rng(seed))
    game = NumpyGame(v, size, batch)
    found = explained(KernelShap(), game)
    np.testing.assert_allclose(found.feature_values, shapley_values(scores), atol=1e-9)
    assert found.standard_error is None
    assert found.notes == ("all coalitions: the values are exact",)
    assert found.evaluations == game.evaluations == 2**size


def regression_by_hand(v, size):
    """Solve the constrained weighted least squares over all coalitions with a Lagrange multiplier."""
    z = (np.arange(1, 2**size - 1)[:, None] >> np.arange(size) & 1).astype(float)
    s = z.sum(axis=1)
    weight = (size - 1) / (comb(size, s) * s * (size - s))
    empty, full = v(np.zeros((1, size), dtype=bool))[0], v(np.ones((1, size), dtype=bool))[0]
    ones = np.ones((size, 1))
    normal = np.block([[z.T @ (weight[:, None] * z), ones], [ones.T, np.zeros((1, 1))]])
    right = np.append(z.T @ (weight * (v(z.astype(bool)) - empty)), full - empty)
    return np.linalg.solve(normal, right)[:size]


@given(st.integers(2, 7), seeds)
def test_all_coalitions_solve_the_regression_of_the_paper(size, seed):
    v, _ = table_game(size, np.random.default_rng(seed))
    found = explained(KernelShap(), NumpyGame(v, size))
    np.testing.assert_allclose(found.feature_values, regression_by_hand(v, size), atol=1e-9)


@given(st.integers(6, 12), seeds, st.integers(0, 60), batches)
def test_sampled_values_add_up_within_the_budget(size, seed, more, batch):
    v = relu_game(size, np.random.default_rng(seed))
    budget = 2 * size + 18 + more
    game = NumpyGame(v, size, batch)
    found = explained(KernelShap(budget=budget), game, seed=seed)
    assert game.evaluations == found.evaluations <= budget
    assert game.evaluations >= min(budget - 1, 2**size)
    assert max(map(len, game.asked)) <= batch
    assert found.feature_values.sum() == pytest.approx(game.full - game.empty)
    assert abs(found.gap) < 1e-9


@given(st.integers(8, 14), seeds)
def test_few_pairs_explain_games_of_pairwise_interactions_exactly(size, seed):
    """A pair shows the odd part of a game alone, and that of pairwise interactions is additive."""
    rng = np.random.default_rng(seed)
    interactions = np.triu(rng.normal(size=(size, size)))
    game = NumpyGame(lambda z: np.einsum("bi,ij,bj->b", z, interactions, z) + 3, size)
    found = explained(KernelShap(budget=2 * size + 18), game)
    exact = np.diag(interactions) + (np.triu(interactions, 1).sum(axis=0) + np.triu(interactions, 1).sum(axis=1)) / 2
    np.testing.assert_allclose(found.feature_values, exact, atol=1e-9)
    assert np.abs(found.feature_errors).max() < 1e-7


@given(st.integers(8, 12), seeds)
def test_sampled_values_are_linear_in_the_game(size, seed):
    rng = np.random.default_rng(seed)
    one, two = relu_game(size, rng), relu_game(size, rng)
    found = [
        explained(KernelShap(budget=80), NumpyGame(v, size)).feature_values
        for v in (one, two, lambda z: 2 * one(z) - two(z))
    ]
    np.testing.assert_allclose(found[2], 2 * found[0] - found[1], atol=1e-9)


@given(st.integers(3, 7), seeds)
def test_alike_players_get_alike_and_idle_ones_nothing(size, seed):
    rng = np.random.default_rng(seed)
    v, _ = table_game(size, rng)

    def game(z):
        merged = np.concatenate([z[:, :1] & z[:, 1:2], z[:, 1:2] | z[:, :1], z[:, 2:-1]], axis=1)
        return v(np.concatenate([merged, np.zeros((len(z), 1), dtype=bool)], axis=1))

    phi = explained(KernelShap(), NumpyGame(game, size)).feature_values
    assert phi[0] == pytest.approx(phi[1], abs=1e-9)
    assert phi[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("budget", [60, 150, 900, 3000])
def test_two_standard_errors_hold_the_truth_95_times_in_100(budget):
    size, seeds_tried = 12, 150
    held, errors = [], []
    for kind in range(3):
        rng = np.random.default_rng(kind)
        v, scores = table_game(size, rng)
        if kind:
            v = relu_game(size, rng)
            scores = v((np.arange(1 << size)[:, None] >> np.arange(size) & 1).astype(bool))
        exact = shapley_values(scores)
        for seed in range(seeds_tried // 3):
            found = explained(KernelShap(budget=budget), NumpyGame(v, size, 4096), seed=seed)
            held.append(np.abs(found.feature_values - exact) <= 2 * found.feature_errors)
            errors.append((found.feature_values - exact) / found.feature_errors)
    assert 0.92 < np.mean(held) < 0.98
    assert abs(np.mean(errors)) < 0.1


def test_error_falls_with_the_budget_and_is_zero_in_the_end():
    v = relu_game(12, np.random.default_rng(3))
    errors = [
        np.median(explained(KernelShap(budget=b), NumpyGame(v, 12, 512)).feature_errors) for b in (100, 400, 1600)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0
    assert explained(KernelShap(budget=4096), NumpyGame(v, 12, 512)).feature_errors is None


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_tolerance_ends_the_sampling_at_the_same_pair_whatever_the_batch(batch):
    v = relu_game(14, np.random.default_rng(5))
    game = NumpyGame(v, 14, batch)
    found = explained(KernelShap(budget=3000, tolerance=0.03), game, seed=1)
    assert found.feature_errors.max() <= 0.03
    assert found.notes == (f"{14 + 91 + 364 + 3 * 128} pairs of coalitions",)
    exact = shapley_values(v((np.arange(1 << 14)[:, None] >> np.arange(14) & 1).astype(bool)))
    assert np.abs(found.feature_values - exact).max() < 0.1


@pytest.mark.parametrize("batch", [1, 6, 64])
def test_same_seed_gives_the_same_values_whatever_the_batch(batch):
    x = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    usual, other = onnxplain.load(random_dense(2, 16)), onnxplain.load(random_dense(2, 16))
    other.layout = Layout(2, 1, batch)
    one, two = (
        onnxplain.explain(model, x, "kernel-shap", target=0, baseline=0, budget=300, seed=4) for model in (usual, other)
    )
    np.testing.assert_allclose(two.values["x"], one.values["x"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(two.standard_error["x"], one.standard_error["x"], rtol=1e-4)
    assert one.evaluations == two.evaluations == 300
    other_seed = onnxplain.explain(usual, x, "kernel-shap", target=0, baseline=0, budget=300, seed=5)
    assert np.abs(other_seed.values["x"] - one.values["x"]).max() > 1e-4


def test_budget_counts_every_reference():
    rng = np.random.default_rng(0)
    model, x = random_dense(2, 10), rng.normal(size=(1, 10)).astype(np.float32)
    references = rng.normal(size=(4, 10)).astype(np.float32)
    found = onnxplain.explain(model, x, "kernel-shap", target=0, baseline=references, budget=400)
    assert found.evaluations == 1 + 4 * (1 + 2 * 49)
    assert found.evaluations <= 400
    assert abs(found.gap) < 1e-9


def test_default_budget_is_all_coalitions_or_two_per_feature_and_2048():
    small = NumpyGame(relu_game(10, np.random.default_rng(0)), 10, 512)
    assert explained(KernelShap(), small).evaluations == 2**10
    large = NumpyGame(relu_game(30, np.random.default_rng(0)), 30, 512)
    assert explained(KernelShap(), large).evaluations == 2 * 30 + 2048


@pytest.mark.parametrize(("references", "least"), [(1, 38), (3, 112)])
def test_budget_too_small_for_an_estimate_is_refused_with_the_least_that_is_not(references, least):
    game = NumpyGame(relu_game(10, np.random.default_rng(0)), 10)
    with pytest.raises(SettingError, match=f"kernel-shap.budget must be at least {least} for 10 features") as caught:
        explained(KernelShap(budget=least - 1), game, references=references)
    assert ("fewer references" in caught.value.tip) == (references > 1)
    assert game.evaluations == 0
    assert explained(KernelShap(budget=least), game, references=references).feature_errors.min() > 0


def test_thousands_of_features_are_refused():
    game = NumpyGame(lambda z: z.sum(axis=1), 5000)
    with pytest.raises(SettingError, match="at most 4096 features, not 5000"):
        explained(KernelShap(), game)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_what_whole_strata_add_to_the_regression_is_their_sum(size):
    whole = design(size, 1 << size, np.random.default_rng(0))
    summed = np.zeros((size, size))
    for z, mass in whole.blocks(5):
        p = z - z.mean(axis=1, keepdims=True)
        summed += (p.T * mass) @ p
    known = kernel_shap.spread(size, whole.enumerated) * (np.eye(size) - 1 / size)
    np.testing.assert_allclose(known, summed, atol=1e-14)


def test_the_pairs_of_the_sample_before_are_taken_again_for_the_same_seed_only():
    weights = np.random.default_rng(3).normal(size=(12, 12))

    def values(seed):
        game = NumpyGame(lambda z: np.tanh(np.einsum("bi,ij,bj->b", z, weights, z)), 12)
        return explained(KernelShap(budget=400), game, seed=seed).feature_values.tolist()

    first, second = values(0), values(1)
    assert first != second
    assert [values(1), values(1), values(0)] == [second, second, first]
