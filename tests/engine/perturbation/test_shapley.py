import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.perturbation.exact_shapley import shapley_values
from onnxplain.engine.perturbation.kernel_shap import KernelShap
from onnxplain.engine.perturbation.odd_pairs import ordered_pairs, unpacked
from onnxplain.engine.perturbation.odd_process import OddProcess
from onnxplain.engine.perturbation.odd_process_fit import _Evidence
from onnxplain.engine.perturbation.shapley import Shapley
from onnxplain.engine.runtime import Layout
from oracles.games import NumpyGame, explained, relu_game, table_game
from oracles.graphs import random_dense

sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)
batches = st.integers(1, 50)


def all_coalitions(size):
    return (np.arange(1 << size)[:, None] >> np.arange(size) & 1).astype(bool)


@given(sizes, seeds, batches)
def test_all_coalitions_give_the_exact_values(size, seed, batch):
    v, scores = table_game(size, np.random.default_rng(seed))
    game = NumpyGame(v, size, batch)
    found = explained(Shapley(), game)
    np.testing.assert_allclose(found.feature_values, shapley_values(scores), atol=1e-9)
    assert found.standard_error is None
    assert found.evaluations == game.evaluations == 2**size


@given(st.integers(6, 12), seeds, st.integers(0, 60), batches)
def test_sampled_values_add_up_within_the_budget(size, seed, more, batch):
    budget = 24 + more
    game = NumpyGame(relu_game(size, np.random.default_rng(seed)), size, batch)
    found = explained(Shapley(budget=budget), game, seed=seed)
    assert game.evaluations == found.evaluations <= budget
    assert game.evaluations >= min(budget - 1, 2**size)
    assert max(map(len, game.asked)) <= max(batch, 2)
    assert found.feature_values.sum() == pytest.approx(game.full - game.empty)
    assert abs(found.gap) < 1e-9


def test_no_coalition_is_evaluated_twice():
    game = NumpyGame(relu_game(9, np.random.default_rng(0)), 9)
    explained(Shapley(budget=400), game)
    asked = np.packbits(np.concatenate(game.asked), axis=1)
    assert len(np.unique(asked, axis=0)) == len(asked) == 398


@given(st.integers(8, 14), seeds)
def test_few_pairs_explain_games_of_pairwise_interactions(size, seed):
    """A pair shows the odd part of a game alone, and that of pairwise interactions is additive."""
    interactions = np.triu(np.random.default_rng(seed).normal(size=(size, size)))
    game = NumpyGame(lambda z: np.einsum("bi,ij,bj->b", z, interactions, z) + 3, size)
    found = explained(Shapley(budget=2 * size + 18), game)
    exact = np.diag(interactions) + (np.triu(interactions, 1).sum(axis=0) + np.triu(interactions, 1).sum(axis=1)) / 2
    np.testing.assert_allclose(found.feature_values, exact, atol=2e-3)
    assert np.abs(found.feature_errors).max() < 0.05


def test_a_dummy_gets_nothing_and_alike_players_alike_within_the_standard_error():
    size = 12
    inner = relu_game(size - 2, np.random.default_rng(4))

    def v(z):
        merged = np.concatenate([z[:, :1] & z[:, 1:2], z[:, 2:-1]], axis=1)
        return inner(merged)

    away = []
    for seed in range(10):
        found = explained(Shapley(budget=300), NumpyGame(v, size, 512), seed=seed)
        phi, error = found.feature_values, found.feature_errors
        away += [phi[-1] / error[-1], (phi[0] - phi[1]) / np.hypot(error[0], error[1])]
    assert np.abs(away).max() < 3


@pytest.mark.parametrize("budget", [60, 700])
def test_a_game_of_zeros_gives_zeros(budget):
    nothing = explained(Shapley(budget=budget), NumpyGame(lambda z: np.full(len(z), 2.0), 10))
    assert not nothing.feature_values.any()
    assert not nothing.feature_errors.any()


def test_a_game_that_is_zero_almost_everywhere_adds_up():
    game = NumpyGame(lambda z: (z[:, :9].sum(axis=1) == 0) * 1.0 - (z.sum(axis=1) == 0), 16, 512)
    found = explained(Shapley(budget=1200), game)
    assert abs(found.gap) < 1e-9
    assert np.isfinite(found.feature_errors).all()


def test_a_game_that_only_counts_players_is_exact():
    majority = explained(Shapley(budget=60), NumpyGame(lambda z: (z.sum(axis=1) > 6).astype(float), 13, 512))
    np.testing.assert_allclose(majority.feature_values, 1 / 13, atol=1e-4)


def test_unanimity_of_two_beside_the_number_of_players():
    """The game |S| / n + 1 if both of two players are in S gives everyone 1/n, and those two a half more."""
    exact = np.where(np.isin(np.arange(13), (1, 2)), 0.5, 0.0) + 1 / 13
    game = NumpyGame(lambda z: z.mean(axis=1) + (z[:, 1] & z[:, 2]), 13, 512)
    found = explained(Shapley(budget=80), game)
    np.testing.assert_allclose(found.feature_values, exact, atol=1e-3)


@pytest.mark.parametrize(("budget", "repeats"), [(64, 6), (150, 6), (500, 2)])
def test_two_standard_errors_hold_the_truth_95_times_in_100(budget, repeats):
    size, held = 12, []
    for kind in range(5):
        rng = np.random.default_rng(kind)
        v = table_game(size, rng)[0] if kind == 0 else relu_game(size, rng)
        exact = shapley_values(v(all_coalitions(size)))
        for seed in range(repeats):
            found = explained(Shapley(budget=budget), NumpyGame(v, size, 4096), seed=seed)
            held.append(np.abs(found.feature_values - exact) <= 2 * found.feature_errors)
    assert 0.89 < np.mean(held) <= 0.995


def test_error_is_less_than_half_of_kernel_shap():
    ours, theirs = [], []
    for kind in range(3):
        v = relu_game(12, np.random.default_rng(kind))
        exact = shapley_values(v(all_coalitions(12)))
        for seed in range(2):
            for method, errors in ((Shapley, ours), (KernelShap, theirs)):
                phi = explained(method(budget=900), NumpyGame(v, 12, 4096), seed=seed).feature_values
                errors.append(np.sum((phi - exact) ** 2) / np.sum(exact**2))
    assert np.mean(ours) < np.mean(theirs) / 2


def test_pairs_beyond_those_of_the_process_correct_it(monkeypatch):
    monkeypatch.setattr("onnxplain.engine.perturbation.odd_quadrature.MOST_PAIRS", 200)
    v = relu_game(12, np.random.default_rng(8))
    exact = shapley_values(v(all_coalitions(12)))
    away, few, many = [], [], []
    for seed in range(6):
        found = explained(Shapley(budget=3600), NumpyGame(v, 12, 4096), seed=seed)
        few.append(explained(Shapley(budget=400), NumpyGame(v, 12, 4096), seed=seed).feature_values - exact)
        many.append(found.feature_values - exact)
        away.append(np.abs(many[-1]) <= 2 * found.feature_errors)
        assert abs(found.gap) < 1e-9
    assert np.mean(np.square(many)) < np.mean(np.square(few)) / 3
    assert np.mean(away) > 0.88


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_tolerance_ends_the_sampling_at_the_same_pair_whatever_the_batch(batch):
    game = NumpyGame(relu_game(14, np.random.default_rng(5)), 14, batch)
    found = explained(Shapley(budget=3000, tolerance=0.15), game, seed=1)
    assert found.feature_errors.max() <= 0.15
    assert found.notes == ("96 pairs of coalitions",)
    assert found.evaluations == 192


@pytest.mark.parametrize("batch", [1, 6, 64])
def test_same_seed_gives_the_same_values_whatever_the_batch(batch):
    x = np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)
    usual, other = onnxplain.load(random_dense(2, 16)), onnxplain.load(random_dense(2, 16))
    other.layout = Layout(2, 1, batch)
    one, two = (
        onnxplain.explain(model, x, "shapley", target=0, baseline=0, budget=300, seed=4) for model in (usual, other)
    )
    np.testing.assert_allclose(two.values["x"], one.values["x"], rtol=1e-4, atol=1e-5)
    assert one.evaluations == two.evaluations == 300
    other_seed = onnxplain.explain(usual, x, "shapley", target=0, baseline=0, budget=300, seed=5)
    assert np.abs(other_seed.values["x"] - one.values["x"]).max() > 1e-4


def test_budget_counts_every_reference():
    rng = np.random.default_rng(0)
    model, x = random_dense(2, 10), rng.normal(size=(1, 10)).astype(np.float32)
    references = rng.normal(size=(4, 10)).astype(np.float32)
    found = onnxplain.explain(model, x, "shapley", target=0, baseline=references, budget=400)
    assert found.evaluations == 1 + 4 * (2 * 50 - 1)
    assert abs(found.gap) < 1e-9


def test_default_budget_is_all_coalitions_or_two_per_feature_and_2048():
    assert explained(Shapley(), NumpyGame(relu_game(10, np.random.default_rng(0)), 10, 512)).evaluations == 2**10
    assert explained(Shapley(), NumpyGame(relu_game(30, np.random.default_rng(0)), 30, 512)).evaluations == 2108


@pytest.mark.parametrize(("references", "least"), [(1, 24), (3, 70)])
def test_budget_too_small_for_an_estimate_is_refused_with_the_least_that_is_not(references, least):
    game = NumpyGame(relu_game(10, np.random.default_rng(0)), 10)
    with pytest.raises(SettingError, match=f"shapley.budget must be at least {least} for 10 features") as caught:
        explained(Shapley(budget=least - 1), game, references=references)
    assert ("fewer references" in caught.value.tip) == (references > 1)
    assert game.evaluations == 0
    assert explained(Shapley(budget=least), game, references=references).feature_errors.min() > 0


@pytest.mark.parametrize("size", [300, 5000])
def test_more_features_than_pairs_still_add_up_and_find_the_few_that_matter(size):
    game = NumpyGame(lambda z: 5.0 * z[:, 3] - 4.0 * z[:, 7] + 0.01 * z.sum(axis=1), size, 512)
    found = explained(Shapley(budget=400), game)
    assert abs(found.gap) < 1e-9
    assert np.argmax(found.feature_values) == 3
    assert np.argmin(found.feature_values) == 7
    assert found.evaluations == 400


@pytest.mark.parametrize(("size", "pairs", "alone"), [(14, 400, 14), (60, 71, 0), (60, 90, 60)])
def test_pairs_are_different_and_each_size_is_as_frequent_as_any_other(size, pairs, alone):
    z = unpacked(ordered_pairs(size, pairs, np.random.default_rng(0)), size)
    assert z.shape == (pairs, size)
    assert z[0].all()
    assert len(np.unique(np.where(z[:, :1], z, ~z), axis=0)) == pairs
    sizes = z[1:].sum(axis=1)
    np.testing.assert_array_equal(sizes[:alone], 1)
    counts = np.bincount(sizes[alone:], minlength=size // 2 + 1)[2 if alone else 1 :]
    counts[-1] *= 2  # of size M/2, both coalitions of a pair are
    assert counts.max() - counts.min() <= max(2, counts.max() / 3)


def rates_of(size):
    return np.random.default_rng(size).uniform(0.05, 0.8, size)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_covariances_of_shapley_values_are_those_of_the_definition(size):
    process = OddProcess(0.7, 0.9, 1.3, 0.4, rates_of(size))
    z = all_coalitions(size)
    rough = process.rough * (np.eye(len(z)) - np.eye(len(z))[::-1])
    covariance = process.between(z, z) + rough
    with_values = np.array([shapley_values(covariance[:, k]) for k in range(len(z))])
    found = np.concatenate([part for _, part in process.with_values(z)], axis=1)
    np.testing.assert_allclose(found, with_values, atol=1e-12)
    among_values = [shapley_values(with_values[:, i])[i] for i in range(size)]
    np.testing.assert_allclose(process.variances(), among_values, atol=1e-12)
    np.testing.assert_allclose(covariance, -covariance[::-1], atol=1e-12)


@pytest.mark.parametrize("several", [True, False])
def test_gradient_of_the_evidence_is_that_of_finite_differences(several):
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], size=(30, 6))
    evidence = _Evidence(x, x[:, 0] + rng.normal(size=30), several=several)
    theta = rng.normal(size=10 if several else 5) / 3 - 1
    steps = 1e-5 * np.eye(len(theta))
    numeric = [(evidence(theta + h)[0] - evidence(theta - h)[0]) / 2e-5 for h in steps]
    np.testing.assert_allclose(evidence(theta)[1], numeric, rtol=1e-5, atol=1e-6)


def test_agrees_with_the_shap_library():
    shap = pytest.importorskip("shap")
    v = relu_game(8, np.random.default_rng(2))
    theirs = shap.KernelExplainer(lambda z: v(z > 0.5), np.zeros((1, 8)))
    phi = theirs.shap_values(np.ones((1, 8)), nsamples=256, l1_reg=False, silent=True)[0]
    np.testing.assert_allclose(explained(Shapley(), NumpyGame(v, 8, 512)).feature_values, phi, atol=1e-6)
