"""ROAD: filling in from neighbours, against a dense solver, and the curve."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import onnxplain
from onnxplain import CapabilityError
from onnxplain.engine.metrics.imputation import imputed
from oracles.graphs import linear, model


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


@pytest.mark.parametrize("holes", ["scattered", "one", "at the border"])
def test_a_large_picture_is_solved_to_rounding(holes):
    """Many pixels, so that blocks are cut in halves many times; the residual of each removed pixel is its test."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(61, 47, 3))
    removed = {
        "scattered": rng.random((61, 47)) < 0.9,
        "one": (np.hypot(*(np.mgrid[:61, :47] - np.array([30, 20])[:, None, None])) < 19),
        "at the border": np.mgrid[:61, :47][0] > 4,
    }[holes]
    found = np.pad(imputed(image, removed), ((1, 1), (1, 1), (0, 0)))
    there = np.pad(np.ones(removed.shape), 1)
    total, weight = np.zeros(image.shape), np.zeros(removed.shape)
    for down, right in ((a, b) for a in (0, 1, 2) for b in (0, 1, 2) if (a, b) != (1, 1)):
        w = 1 / 6 if 1 in {down, right} else 1 / 12
        total += w * found[down : down + 61, right : right + 47]
        weight += w * there[down : down + 61, right : right + 47]
    residual = (total / weight[..., None] - found[1:-1, 1:-1])[removed]
    assert np.abs(residual).max() < 1e-12


def test_nothing_removed_is_the_image_itself():
    image = np.random.default_rng(0).random((5, 4, 2))
    np.testing.assert_array_equal(imputed(image, np.zeros((5, 4), bool)), image)


def test_a_picture_of_few_pixels_keeps_one():
    """Nine tenths of four pixels round to all of them, of which nothing could be filled in."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["f"]),
        helper.make_node("ReduceSum", ["f", "a"], ["y"], keepdims=1),
    ]
    onnx = model(nodes, {"image": ["batch", 1, 2, 2]}, {"y": ["batch", 1]}, {"a": np.array([1])})
    image = np.array([[[[1.0, 2.0], [3.0, 4.0]]]], np.float32)
    metrics = [("road", {"shares": (0.1, 0.9), "noise": 0.0})]
    (score,) = onnxplain.evaluate(onnx, image, image[0, 0], metrics, target=0)
    np.testing.assert_allclose(score.curve[1], [10, 10, 4])  # all, none removed, three filled in from the first


def test_what_is_left_stays_and_a_grey_picture_stays_grey():
    removed = np.random.default_rng(0).random((12, 9)) < 0.8
    image = np.random.default_rng(1).random((12, 9, 3))
    np.testing.assert_array_equal(imputed(image, removed)[~removed], image[~removed])
    np.testing.assert_allclose(imputed(np.full((12, 9, 1), 0.3), removed), 0.3)


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
    path = onnxplain.models.path("digits-cnn")
    (score,) = onnxplain.evaluate(path, np.zeros((1, 1, 8, 8), np.float32), phi, ["road"])
    assert math.isnan(score.value)
    with pytest.raises(CapabilityError, match="no image"):
        onnxplain.evaluate(linear((1, 2)), np.ones((1, 2), np.float32), np.ones(2), ["road"], target=0)
