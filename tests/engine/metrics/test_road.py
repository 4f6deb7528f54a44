"""ROAD: filling in from neighbours, against a dense solver, and the curve."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxplain
from onnxplain import CapabilityError
from onnxplain.engine.metrics.road import imputed
from oracles.graphs import linear


def dense(image, removed):
    """Solve ``x_u sum_v w_uv = sum_v w_uv x_v`` pixel by pixel with a full matrix."""
    height, width, channels = image.shape
    size = height * width
    matrix, right = np.eye(size), image.reshape(size, channels).astype(float)
    for row, column in zip(*np.nonzero(removed), strict=True):
        me = row * width + column
        right[me] = 0
        weights = {
            (row + a) * width + column + b: 1 / 6 if a * b == 0 else 1 / 12
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (a or b) and 0 <= row + a < height and 0 <= column + b < width
        }
        for place, weight in weights.items():
            matrix[me, place] = -weight / sum(weights.values())
    return np.linalg.solve(matrix, right).reshape(image.shape)


@given(seed=st.integers(0, 10_000), height=st.integers(2, 7), width=st.integers(2, 7), share=st.floats(0.1, 0.9))
def test_filled_in_pixels_solve_the_equations(seed, height, width, share):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(height, width, 2))
    removed = rng.random((height, width)) < share
    removed.flat[rng.integers(removed.size)] = False
    np.testing.assert_allclose(imputed(image, removed), dense(image, removed), rtol=1e-8, atol=1e-8)


def test_what_is_left_stays_and_a_grey_picture_stays_grey():
    removed = np.random.default_rng(0).random((12, 9)) < 0.8
    image = np.random.default_rng(1).random((12, 9, 3))
    np.testing.assert_array_equal(imputed(image, removed)[~removed], image[~removed])
    np.testing.assert_allclose(imputed(np.full((12, 9, 1), 0.3), removed), 0.3)


@pytest.fixture(scope="module")
def digits():
    return onnxplain.load(onnxplain.models.path("digits-cnn"))


@pytest.fixture(scope="module")
def zero():
    return next(str(p) for p in onnxplain.models.samples("digits-cnn"))


def test_the_most_relevant_pixels_cost_more_than_the_least_relevant_ones(digits, zero):
    metrics = {"road": {}}
    (most,) = onnxplain.evaluate(digits, zero, "occlusion", metrics, window=2)
    (least,) = onnxplain.evaluate(digits, zero, "occlusion", {"road": {"order": "least"}}, window=2)
    assert most.value < 0.5 < least.value  # a road that is always 0 is a known trap
    assert (most.higher_is_better, least.higher_is_better) == (False, True)
    np.testing.assert_allclose(most.curve[0], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9])
    assert most.curve[1][0] == pytest.approx(most.parts["score"])
    assert most.value == pytest.approx(most.curve[1][1:].mean())
    assert most.evaluations == 8


def test_noise_is_drawn_from_the_seed(digits, zero):
    found = [
        onnxplain.evaluate(digits, zero, "occlusion", [("road", {"noise": 0.5})], seed=seed)[0].value
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


def test_a_constant_map_and_a_table_are_told():
    phi = np.ones((8, 8))
    model = onnxplain.models.path("digits-cnn")
    (score,) = onnxplain.evaluate(model, np.zeros((1, 1, 8, 8), np.float32), phi, ["road"])
    assert math.isnan(score.value)
    with pytest.raises(CapabilityError, match="no image"):
        onnxplain.evaluate(linear((1, 2)), np.ones((1, 2), np.float32), np.ones(2), ["road"], target=0)
