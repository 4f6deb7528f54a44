import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import onnxplain
from onnxplain import Features, SettingError
from onnxplain.engine.perturbation.lime import Lime
from onnxplain.models import catalogue
from oracles.games import NumpyGame, explained, relu_game
from oracles.graphs import MODELS, model, random_dense, token_sums

sizes = st.integers(2, 7)
seeds = st.integers(0, 2**32 - 1)


def masked(**settings):
    """LIME that masks features: a game without a model has no rows to draw."""
    return Lime(table="on-off", **settings)


def relu_and_product():
    """relu(x1 + x2 - x3) + x1 x3."""
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["z"], transB=1),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("MatMul", ["x", "Q"], ["half"]),
        helper.make_node("Mul", ["x", "half"], ["terms"]),
        helper.make_node("ReduceSum", ["terms", "last"], ["products"], keepdims=1),
        helper.make_node("Add", ["r", "products"], ["y"]),
    ]
    weights = {"w": np.array([[1, 1, -1]], np.float32), "Q": np.eye(3, k=-2, dtype=np.float32), "last": np.array([1])}
    return model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 1]}, weights)


@pytest.mark.parametrize(
    ("penalty", "intercept", "coefficients", "r2"),
    [
        (0, -0.148148, [1.44444, 0.777778, -0.222222], None),
        (1, 0.613757, [0.619048, 0.333333, -0.0952381], 0.612747),
    ],
)
def test_row_221_weighted_ridge_over_all_masks(penalty, intercept, coefficients, r2):
    """The weight 2^-(number of zeros) is the kernel of L2 distances with the width 1 / sqrt(2 ln 2)."""
    settings = {"samples": 8, "distance": "l2", "width": 1 / math.sqrt(2 * math.log(2)), "penalty": penalty}
    x = np.ones((1, 3), np.float32)
    found = onnxplain.explain(relu_and_product(), x, "lime", target=0, baseline=0, **settings)
    np.testing.assert_allclose(
        found.feature_values if found.feature_values is not None else found.values["x"][0], coefficients, rtol=1e-5
    )
    assert found.extras["intercept"] == pytest.approx(intercept, rel=1e-5)
    assert r2 is None or found.extras["local_r2"] == pytest.approx(r2, rel=1e-5)
    assert found.standard_error is None
    assert found.evaluations == 8
    assert found.notes[0] == "all 8 coalitions: no sampling error"


@pytest.mark.parametrize("settings", [{}, {"distance": "l2"}, {"width": 2.0}, {"samples": 12}, {"samples": 16}])
def test_row_35_linear_models_are_their_own_surrogate(settings):
    found = onnxplain.explain(
        MODELS["x1 + 2 x2 + 3 x3 + 4 x4 + 7"](),
        np.ones((1, 4), np.float32),
        "lime",
        target=0,
        baseline=0,
        penalty=0,
        **settings,
    )
    np.testing.assert_allclose(found.values["x"], [[1, 2, 3, 4]], rtol=1e-5)
    assert found.extras["intercept"] == pytest.approx(7)
    assert found.extras["local_r2"] == pytest.approx(1)
    assert found.extras["local_prediction"] == pytest.approx(17)


def surrogate_by_hand(z, w, y, penalty):
    """Solve the weighted ridge with an intercept that is not penalised, row by row."""
    normal, right = np.zeros((2, z.shape[1] + 1, z.shape[1] + 1)), np.zeros(z.shape[1] + 1)
    for row, weight, score in zip(z, w, y, strict=True):
        one = np.array([1.0, *row])
        normal[0] += weight * np.outer(one, one)
        right += weight * score * one
    return np.linalg.solve(normal[0] + penalty * np.diag([0.0] + [1.0] * z.shape[1]), right)


@given(sizes, seeds, st.sampled_from(["cosine", "l2"]))
def test_all_coalitions_stand_for_equal_parts_of_the_samples(size, seed, distance):
    v = relu_game(size, np.random.default_rng(seed))
    z = np.array(list(itertools.product([False, True], repeat=size)))
    kept = z.sum(axis=1)
    d = 1 - np.sqrt(kept / size) if distance == "cosine" else np.sqrt(size - kept)
    width = 0.25 if distance == "cosine" else 0.75 * math.sqrt(size)
    w = np.sqrt(np.exp(-(d**2) / width**2)) * 1000 / 2**size
    found = explained(masked(distance=distance), NumpyGame(v, size))
    expected = surrogate_by_hand(z, w, v(z), 1.0)
    np.testing.assert_allclose(found.feature_values, expected[1:], atol=1e-8)
    assert found.extras["intercept"] == pytest.approx(expected[0], abs=1e-8)


@given(st.integers(8, 14), seeds, st.integers(1, 50))
def test_samples_are_the_same_whatever_the_batch(size, seed, batch):
    v = relu_game(size, np.random.default_rng(seed))
    one, two = (NumpyGame(v, size, b) for b in (batch, 64))
    first, second = (explained(masked(samples=200), game, seed=seed % 1000) for game in (one, two))
    assert np.concatenate(one.asked).tolist() == np.concatenate(two.asked).tolist()
    assert max(map(len, one.asked)) <= batch
    np.testing.assert_allclose(first.feature_values, second.feature_values, atol=1e-9)
    np.testing.assert_allclose(first.feature_errors, second.feature_errors, atol=1e-9)
    assert one.asked[0].all()


@given(st.integers(4, 12), seeds)
def test_words_are_absent_in_uniform_numbers(size, seed):
    game = NumpyGame(lambda z: z @ np.arange(size), size)
    game.features = Features(game.features.names, game.features.labels, "words")
    explained(masked(samples=1500), game, seed=seed)
    absent = size - np.concatenate(game.asked)[1:].sum(axis=1)
    shares = np.bincount(absent, minlength=size + 1) / len(absent)
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], 1 / size, atol=5 * math.sqrt(1 / size / len(absent)))


def test_lime_package_agrees_on_the_same_draws():
    lime_base = pytest.importorskip("lime.lime_base")
    metrics = pytest.importorskip("sklearn.metrics")
    size = 9
    v = relu_game(size, np.random.default_rng(5))
    game = NumpyGame(v, size)
    z_found = explained(masked(samples=300), game, seed=2)
    z = np.concatenate(game.asked).astype(float)
    distances = metrics.pairwise_distances(z, z[:1], metric="cosine").ravel()
    base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    labels = v(z.astype(bool))[:, None]
    intercept, pairs, r2, prediction = base.explain_instance_with_data(z, labels, distances, 0, size, "none")
    np.testing.assert_allclose(z_found.feature_values, [dict(pairs)[k] for k in range(size)], rtol=1e-9)
    assert z_found.extras["intercept"] == pytest.approx(intercept)
    assert z_found.extras["local_r2"] == pytest.approx(r2)
    assert z_found.extras["local_prediction"] == pytest.approx(float(prediction[0]))
    for selection, theirs in (("forward", "forward_selection"), ("lasso", "lasso_path")):
        mine = explained(masked(samples=300, select=3, selection=selection), NumpyGame(v, size), seed=2)
        _, pairs, _, _ = base.explain_instance_with_data(z, labels, distances, 0, 3, theirs)
        assert {k for k, _ in pairs} == set(np.flatnonzero(mine.feature_values).tolist())
        np.testing.assert_allclose([mine.feature_values[k] for k, _ in pairs], [c for _, c in pairs], rtol=1e-9)


def test_two_standard_errors_hold_the_limit_95_times_in_100():
    size = 8
    v = relu_game(size, np.random.default_rng(7))
    limit = explained(masked(samples=10**6, penalty=0), NumpyGame(v, size)).feature_values
    held = []
    for seed in range(60):
        found = explained(masked(samples=250, penalty=0), NumpyGame(v, size), seed=seed)
        held.append(np.abs(found.feature_values - limit) < 2 * found.feature_errors)
    assert 0.92 < np.mean(held) < 0.98


def test_tolerance_ends_the_sampling():
    v = relu_game(14, np.random.default_rng(3))
    loose, tight = (explained(masked(samples=40_000, tolerance=t), NumpyGame(v, 14)) for t in (0.5, 0.1))
    assert loose.evaluations < tight.evaluations < 16_000
    assert loose.feature_errors.max() <= 0.5
    assert tight.feature_errors.max() <= 0.1
    for batch in (1, 100, 16_384):
        again = explained(masked(samples=40_000, tolerance=0.1), NumpyGame(v, 14, batch))
        assert again.notes[0] == tight.notes[0]
        np.testing.assert_allclose(again.feature_values, tight.feature_values, rtol=1e-9)
    all_at_once = explained(masked(samples=40_000), NumpyGame(v, 14, 16_384))
    assert all_at_once.notes[0] == "all 16384 coalitions: no sampling error"


@pytest.mark.parametrize("references", [1, 4])
def test_budget_holds_with_several_references(references):
    opened = onnxplain.load(random_dense(1, 12))
    x = np.ones((1, 12), np.float32)
    baseline = np.random.default_rng(0).normal(size=(references, 12)).astype(np.float32)
    found = onnxplain.explain(opened, x, "lime", target=0, baseline=baseline, budget=101)
    assert 80 < found.evaluations <= 101
    assert found.notes[0] == f"{1 + (100 - references) // references} samples"


def test_equal_coalitions_are_run_once():
    opened = onnxplain.load(random_dense(1, 6))
    x = np.ones((1, 6), np.float32)
    found = onnxplain.explain(opened, x, "lime", target=0, baseline=0, samples=63)
    again = onnxplain.explain(opened, x, "lime", target=0, baseline=0, samples=2000)
    assert found.evaluations < 63
    assert again.evaluations == 64


def test_superpixels_of_a_photograph_share_their_value():
    digit = next(p for p in catalogue.samples("digits-cnn") if p.name == "digits-0.png")
    found = onnxplain.explain(catalogue.path("digits-cnn"), str(digit), "lime", features="slic:8", samples=300)
    labels = found.feature_labels["image"]
    for k, value in enumerate(found.feature_values):
        assert np.unique(found.values["image"][np.broadcast_to(labels == k, found.values["image"].shape)]) == value
    assert 0.3 < found.extras["local_r2"] <= 1
    assert found.extras["local_prediction"] == pytest.approx(
        found.extras["intercept"] + found.feature_values.sum(), rel=1e-6
    )


def test_positions_of_whole_numbers_are_explained():
    opened = onnxplain.load(token_sums(0, words=20, length=6))
    tokens = np.arange(6, dtype=np.int64)[None] + 5
    found = onnxplain.explain(opened, tokens, "lime", target=0, baseline=1, penalty=0, features="elements")
    assert found.values["tokens"].shape == (1, 6)
    assert np.isfinite(found.values["tokens"]).all()
    assert found.evaluations == 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "lime.samples must be at least 2"),
        ({"budget": 1}, "lime.budget must be at least 3 for 4 features, not 1"),
        ({"width": 0}, "lime.width must be above 0"),
        ({"width": 1e-3}, "lime.width 0.001 is too small"),
        ({"select": 0}, "lime.select must be at least 1"),
        ({"regression": "ridgy"}, "lime.regression takes one of ridge, lasso"),
        ({"distance": "cosin"}, "did you mean 'cosine'?"),
        ({"table": "quartiles"}, "needs a row of a table and background data"),
        ({"penalty": -1}, "lime.penalty must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    x = np.ones((1, 4), np.float32)
    with pytest.raises(SettingError, match=message) as caught:
        onnxplain.explain(MODELS["x1 + 2 x2 + 3 x3 + 4 x4 + 7"](), x, "lime", target=0, **settings)
    assert len(str(caught.value).splitlines()) <= 6


def test_too_many_features_are_refused():
    x = np.ones((1, 5000), np.float32)
    with pytest.raises(SettingError, match="lime takes at most 4096 features, not 5000"):
        onnxplain.explain(random_dense(0, 5000), x, "lime", target=0)
