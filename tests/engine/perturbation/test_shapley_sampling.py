import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.masking.baselines import Baseline
from onnxplain.engine.perturbation.exact_shapley import shapley_values
from onnxplain.engine.perturbation.permutations import Mean, gains
from onnxplain.engine.perturbation.shapley_sampling import ShapleySampling
from onnxplain.engine.runtime import Layout
from oracles.games import NumpyGame, explained, relu_game, table_game
from oracles.graphs import random_dense

seeds = st.integers(0, 2**32 - 1)


@given(st.integers(1, 7), seeds, st.integers(1, 50))
def test_all_coalitions_give_the_exact_values(size, seed, batch):
    v, scores = table_game(size, np.random.default_rng(seed))
    game = NumpyGame(v, size, batch)
    found = explained(ShapleySampling(), game)
    np.testing.assert_allclose(found.feature_values, shapley_values(scores), atol=1e-9)
    assert found.evaluations == game.evaluations == 2**size


def test_given_orders_give_the_means_and_standard_errors_of_their_gains():
    """f = x1 x2 + x2 x3 + x3 at (1, 2, 3) against zero, over four orders; standard errors with divisor m - 1."""

    def v(z):
        x = z * np.array([1.0, 2.0, 3.0])
        return x[:, 0] * x[:, 1] + x[:, 1] * x[:, 2] + x[:, 2]

    orders = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1], [1, 0, 2]])
    mean = Mean(3)
    found = []
    game = NumpyGame(v, 3, batch=2)
    for gain in gains(game, orders, game.full):
        mean.add(gain)
        found.append(gain)
    np.testing.assert_allclose(found, [[0, 2, 9], [2, 0, 9], [0, 8, 3], [2, 0, 9]])
    np.testing.assert_allclose(mean.values(), [1, 2.5, 7.5])
    np.testing.assert_allclose(mean.standard_error(), [0.57735, 1.89297, 1.5], atol=1e-5)
    assert [len(chunk) for chunk in game.asked] == [2, 2, 2, 2]
    together = NumpyGame(v, 3, batch=7)  # three orders of two coalitions each, and the last one
    np.testing.assert_allclose(list(gains(together, orders, together.full)), found)
    assert [len(chunk) for chunk in together.asked] == [6, 2]


@given(st.integers(6, 12), seeds, st.integers(0, 60), st.integers(1, 50))
def test_values_add_up_within_the_budget(size, seed, more, batch):
    budget = 2 + 2 * (size - 1) + more
    game = NumpyGame(relu_game(size, np.random.default_rng(seed)), size, batch)
    found = explained(ShapleySampling(budget=budget), game, seed=seed)
    assert game.evaluations == found.evaluations <= budget
    assert max(map(len, game.asked)) <= batch
    assert found.feature_values.sum() == pytest.approx(game.full - game.empty)


def test_two_standard_errors_hold_the_truth_95_times_in_100():
    held = []
    for kind in range(5):
        v = relu_game(10, np.random.default_rng(kind))
        exact = shapley_values(v((np.arange(1 << 10)[:, None] >> np.arange(10) & 1).astype(bool)))
        for seed in range(10):
            found = explained(ShapleySampling(budget=500), NumpyGame(v, 10, 4096), seed=seed)
            held.append(np.abs(found.feature_values - exact) <= 2 * found.feature_errors)
    assert 0.92 < np.mean(held) < 0.98


def many_references(count=20, weights=None):
    rng = np.random.default_rng(3)
    model, x = random_dense(2, 9), rng.normal(size=(1, 9)).astype(np.float32)
    references = rng.normal(size=(count, 9)).astype(np.float32)
    return onnxplain.load(model), x, Baseline("rows", {"x": references}, weights=weights)


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 21.0)])
def test_an_order_costs_no_more_with_many_references(weights):
    model, x, baseline = many_references(weights=weights)
    exact = onnxplain.explain(model, x, "exact-shapley", target=0, baseline=baseline)
    found = onnxplain.explain(model, x, "shapley-sampling", target=0, baseline=baseline, budget=1 + 20 + 8 * 100)
    assert 700 < found.evaluations <= 1 + 20 + 8 * 100
    assert found.notes == ("100 orders",)
    assert found.baseline_score == pytest.approx(exact.baseline_score, abs=1e-5)
    assert abs(found.gap) < 1e-9
    away = (found.values["x"] - exact.values["x"]) / found.standard_error["x"]
    assert np.abs(away).max() < 3.5
    assert found.standard_error["x"].max() < np.abs(exact.values["x"]).max() / 3


def test_references_are_used_in_proportion_to_their_weights():
    model, x, baseline = many_references(3, weights=np.array([1.0, 0.0, 3.0]))
    found = onnxplain.explain(model, x, "shapley-sampling", target=0, baseline=baseline, budget=1200)
    only = [Baseline("row", {"x": baseline.references["x"][k : k + 1]}) for k in (0, 2)]
    one, three = (onnxplain.explain(model, x, "exact-shapley", target=0, baseline=b).values["x"] for b in only)
    assert np.abs(found.values["x"] - (one + 3 * three) / 4).max() < 4 * found.standard_error["x"].max()


def test_tolerance_ends_the_sampling():
    v = relu_game(12, np.random.default_rng(5))
    found = [explained(ShapleySampling(budget=3000, tolerance=0.3), NumpyGame(v, 12, b), seed=1) for b in (3, 512)]
    assert found[0].feature_errors.max() <= 0.3
    assert found[0].notes == found[1].notes
    assert int(found[0].notes[0].split()[0]) % 16 == 0


@pytest.mark.parametrize("references", [1, 5])
def test_same_seed_gives_the_same_values_whatever_the_batch(references):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 16)).astype(np.float32)
    rows = rng.normal(size=(references, 16)).astype(np.float32)
    usual, other = onnxplain.load(random_dense(2, 16)), onnxplain.load(random_dense(2, 16))
    other.layout = Layout(2, 1, 6)
    one, two = (
        onnxplain.explain(model, x, "shapley-sampling", target=0, baseline=rows, budget=300, seed=4)
        for model in (usual, other)
    )
    np.testing.assert_allclose(two.values["x"], one.values["x"], rtol=1e-4, atol=1e-5)
    assert one.evaluations == two.evaluations <= 300


def test_budget_too_small_for_two_orders_is_refused():
    model, x, baseline = many_references()
    with pytest.raises(SettingError, match=r"shapley-sampling\.budget must be at least 37 for 9 features and 20 ref"):
        onnxplain.explain(model, x, "shapley-sampling", target=0, baseline=baseline, budget=36)


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([[0, 1, 2]], r"at least 2 rows of 3 whole numbers, not an array \(1, 3\)"),
        ([[0, 1], [1, 0]], "at least 2 rows of 3 whole numbers"),
        ([[0, 1, 2], [0, 1, 1]], "holds the numbers 0 to 2 once"),
        ([[0, 1, 2], [1, 2, 3]], "holds the numbers 0 to 2 once"),
    ],
)
def test_orders_that_do_not_name_all_features_are_refused(orders, message):
    with pytest.raises(SettingError, match=message):
        onnxplain.explain(random_dense(0, 3), np.ones((1, 3), np.float32), "shapley-sampling", orders=orders)
