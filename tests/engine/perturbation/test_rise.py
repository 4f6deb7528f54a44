import math

import numpy as np
import pytest
from skimage.transform import resize

import onnxplain
from onnxplain import SettingError
from onnxplain.engine.perturbation.rise import MaskAverage
from onnxplain.engine.runtime import Layout
from oracles.games import relu_game
from oracles.graphs import MODELS, random_convolutions, random_dense, token_sums

CONVOLUTIONS = onnxplain.load(random_convolutions(3))
IMAGE = np.random.default_rng(4).normal(size=(1, 3, 9, 9)).astype(np.float32)


def rise_by_loops(model, image, count, probability, cells, baseline, seed):
    """Return masks and scores of RISE, mask by mask, with the draws that onnxplain documents."""
    bits_rng, shift_rng = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    height, width = image.shape[2:]
    masks, scores = [], []
    for _ in range(count):
        grid = (bits_rng.random((cells, cells)) < probability).astype(np.float64)
        _, down, right = shift_rng.random(3)
        cell_h, cell_w = math.ceil(height / cells), math.ceil(width / cells)
        shape = ((cells + 1) * cell_h, (cells + 1) * cell_w)
        whole = resize(grid, shape, order=1, mode="edge", anti_aliasing=False)
        top, left = int(down * cell_h), int(right * cell_w)
        mask = whole[top : top + height, left : left + width]
        masked = (image * mask + baseline * (1 - mask)).astype(np.float32)
        scores.append(float(model.predict({"image": masked})["y"][0, 1]))
        masks.append(mask)
    return np.array(masks), np.array(scores)


@pytest.mark.parametrize(("probability", "cells", "baseline"), [(0.5, 4, 0.0), (0.3, 2, 0.7)])
def test_map_and_its_error_are_those_of_plain_loops(probability, cells, baseline):
    settings = {"masks": 60, "probability": probability, "cells": cells, "baseline": baseline, "seed": 5}
    found = onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=1, **settings)
    masks, scores = rise_by_loops(CONVOLUTIONS, IMAGE, 60, probability, cells, baseline, 5)
    terms = scores[:, None, None] * masks / probability
    error = terms.std(axis=0, ddof=1) / np.sqrt(60)
    for channel in range(3):
        np.testing.assert_allclose(found.values["image"][0, channel], terms.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(found.standard_error["image"][0, channel], error, rtol=1e-4)
    assert found.evaluations == 61


def test_coverage_weights_masks_by_how_far_they_keep_the_pixel():
    found = onnxplain.explain(
        CONVOLUTIONS, IMAGE, "rise", target=1, masks=60, cells=4, baseline=0, seed=5, normalise="coverage"
    )
    masks, scores = rise_by_loops(CONVOLUTIONS, IMAGE, 60, 0.5, 4, 0.0, 5)
    kept = masks.sum(axis=0)
    mean = (scores[:, None, None] * masks).sum(axis=0) / kept
    residual = masks * (scores[:, None, None] - mean)
    error = np.sqrt((residual**2).sum(axis=0) * 60 / 59) / kept
    np.testing.assert_allclose(found.values["image"][0, 0], mean, atol=1e-5)
    np.testing.assert_allclose(found.standard_error["image"][0, 0], error, rtol=1e-4)


@pytest.mark.parametrize("normalise", ["probability", "coverage"])
def test_result_does_not_depend_on_the_batch_size(normalise):
    results = []
    for batch in (1, 7, 64):
        model = onnxplain.load(random_convolutions(3))
        model.layout = Layout(2, 1, batch)
        results.append(
            onnxplain.explain(model, IMAGE, "rise", target=0, masks=150, cells=3, baseline=0, normalise=normalise)
        )
    for result in results[1:]:
        scale = np.abs(results[0].values["image"]).max()
        np.testing.assert_allclose(result.values["image"], results[0].values["image"], atol=1e-5 * scale)
        np.testing.assert_allclose(
            result.standard_error["image"], results[0].standard_error["image"], rtol=1e-4, atol=1e-6 * scale
        )
        assert result.evaluations == 151


def test_another_seed_gives_other_masks_within_the_errors():
    one, two = (
        onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=0, masks=2000, baseline=0, seed=seed) for seed in (0, 1)
    )
    apart = np.abs(one.values["image"] - two.values["image"])
    error = np.hypot(one.standard_error["image"], two.standard_error["image"])
    assert apart.max() > 0
    assert (apart < 4 * error).all()


@pytest.mark.parametrize("coverage", [False, True])
def test_two_standard_errors_hold_the_truth_95_times_in_100(coverage):
    size, probability, count = 6, 0.6, 120
    v = relu_game(size, np.random.default_rng(8))
    every = (np.arange(1 << size)[:, None] >> np.arange(size) & 1).astype(bool)
    chance = np.prod(np.where(every, probability, 1 - probability), axis=1)
    truth = (chance * v(every)) @ every / probability
    held = []
    for seed in range(300):
        masks = np.random.default_rng(seed).random((count, size)) < probability
        average = MaskAverage(size, probability, coverage=coverage, centre=float(v(np.ones((1, size)))[0]))
        average.add(masks, v(masks))
        held.append(np.abs(average.mean() - truth) < 2 * average.standard_error())
    assert 0.93 < np.mean(held) < 0.97


def test_large_scores_that_hardly_differ_keep_their_digits():
    rng = np.random.default_rng(0)
    masks = rng.random((500, 5)).astype(np.float32)
    scores = 1e6 + rng.normal(size=500)
    average = MaskAverage(5, 0.5, coverage=True, centre=1e6)
    for part in range(0, 500, 50):
        average.add(masks[part : part + 50], scores[part : part + 50])
    exact = masks.astype(np.float64)
    mean = (scores @ exact) / exact.sum(axis=0)
    error = np.sqrt((exact**2 * (scores[:, None] - mean) ** 2).sum(axis=0) * 500 / 499) / exact.sum(axis=0)
    np.testing.assert_allclose(average.mean(), mean, rtol=1e-12)
    np.testing.assert_allclose(average.standard_error(), error, rtol=1e-4)


def test_element_that_no_mask_kept_is_refused():
    average = MaskAverage(2, 0.5, coverage=True)
    average.add(np.array([[True, False], [True, False]]), np.ones(2))
    with pytest.raises(SettingError, match="none of 2 masks kept element 1"):
        average.mean()


@pytest.mark.parametrize("batch", [5, 64])
def test_tolerance_ends_the_sampling_at_the_same_mask_whatever_the_batch(batch):
    model = onnxplain.load(random_convolutions(3))
    model.layout = Layout(1, 1, batch)
    loose = onnxplain.explain(model, IMAGE, "rise", target=0, baseline=0, masks=512)
    tolerance = float(loose.standard_error["image"].max())
    found = onnxplain.explain(model, IMAGE, "rise", target=0, baseline=0, masks=5000, tolerance=tolerance * 1.0001)
    assert found.notes == ("512 masks",)
    np.testing.assert_allclose(found.values["image"], loose.values["image"], atol=1e-6)
    assert found.standard_error["image"].max() <= tolerance * 1.0001


def test_budget_counts_model_evaluations():
    model, x = random_dense(0, 40), np.ones((1, 40), dtype=np.float32)
    references = np.stack([np.zeros(40), np.ones(40) / 2, np.ones(40)])
    found = onnxplain.explain(model, x, "rise", target=0, baseline=references, budget=100)
    assert found.notes == ("33 masks",)
    assert found.evaluations <= 100
    assert found.evaluations > 1 + 3 * 30
    with pytest.raises(SettingError, match=r"rise.budget must be at least 7, not 6"):
        onnxplain.explain(model, x, "rise", target=0, baseline=references, budget=6)


def test_columns_are_kept_or_dropped_whole_and_equal_masks_cost_one_evaluation():
    model = onnxplain.load(random_dense(1, 4))
    x = np.array([[1, -2, 3, 0.5]], dtype=np.float32)
    found = onnxplain.explain(model, x, "rise", target=0, masks=3000, baseline=0, seed=2)
    kept = np.random.default_rng([2, 0]).random((3000, 4)) < 0.5
    scores = model.predict({"x": (kept * x).astype(np.float32)})["y"][:, 0].astype(np.float64)
    np.testing.assert_allclose(found.values["x"][0], scores @ kept / 1500, rtol=1e-5)
    assert found.evaluations <= 16


def test_tokens_are_replaced_whole():
    model = onnxplain.load(token_sums(0, words=20, length=5))
    tokens = np.array([[3, 7, 11, 2, 19]])
    found = onnxplain.explain(model, tokens, "rise", target=1, masks=400, baseline=0, seed=3)
    kept = np.random.default_rng([3, 0]).random((400, 5)) < 0.5
    scores = model.predict({"tokens": np.where(kept, tokens, 0)})["y"][:, 1].astype(np.float64)
    np.testing.assert_allclose(found.values["tokens"][0], scores @ kept / 200, rtol=1e-5)


def test_columns_that_belong_together_are_one_cell():
    columns = onnxplain.InputSpec(
        "x", "table", columns=("age", "red", "green", "blue"), groups={"colour": ("red", "green", "blue")}
    )
    model = onnxplain.load(random_dense(1, 4), spec=onnxplain.ModelSpec(inputs={"x": columns}))
    x = np.array([[1, 0, 1, 0]], dtype=np.float32)
    found = onnxplain.explain(model, x, "rise", target=0, masks=500, baseline=0, seed=2)
    kept = (np.random.default_rng([2, 0]).random((500, 2)) < 0.5)[:, [0, 1, 1, 1]]
    scores = model.predict({"x": (kept * x).astype(np.float32)})["y"][:, 0].astype(np.float64)
    np.testing.assert_allclose(found.values["x"][0], scores @ kept / 250, rtol=1e-5)
    assert found.evaluations == 4


def test_given_masks_of_one_input_leave_the_others_present():
    model = onnxplain.load(MODELS["ML3"]())
    feeds = {name: np.ones((1, 3), np.float32) * k for k, name in enumerate(("x1", "x2", "x3"), start=10)}
    masks = np.array([[0.5, 1, 0], [1, 0, 0.25], [0, 0, 1]])
    found = onnxplain.explain(model, feeds, "rise", target=0, baseline=0, masks={"x2": masks})
    rows = {"x1": np.repeat(feeds["x1"], 3, 0), "x3": np.repeat(feeds["x3"], 3, 0), "x2": (masks * 11).astype("f")}
    scores = next(iter(model.predict(rows).values()))[:, 0].astype(np.float64)
    np.testing.assert_allclose(found.values["x2"], [scores @ masks / 1.5], rtol=1e-6)
    assert list(found.values) == ["x2"]


def test_masks_may_come_in_a_file(tmp_path):
    masks = np.random.default_rng(0).random((6, 9, 9)).astype(np.float32)
    np.save(tmp_path / "masks.npy", masks)
    np.savez(tmp_path / "masks.npz", image=masks)
    given = onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=0, masks=masks)
    whole = [str(tmp_path / name) for name in ("masks.npy", "masks.npz")]
    for files in (*whole, {next(iter(given.values)): whole[0]}):
        found = onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=0, masks=files)
        assert np.array_equal(found.values["image"], given.values["image"])
    with pytest.raises(onnxplain.InputError, match="no such file"):
        onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=0, masks="many.npy")


def test_given_masks_are_kept_for_a_replay(tmp_path):
    masks = np.random.default_rng(0).random((6, 9, 9)).astype(np.float32)
    found = onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=0, baseline=0, masks=masks)
    loaded = onnxplain.Explanation.load(found.save(tmp_path / "given.npz"))
    assert loaded == found == onnxplain.replay(loaded, CONVOLUTIONS)
    assert found.notes == ("6 masks",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masks": 1}, "rise.masks must be at least 2, not 1"),
        ({"masks": np.ones((1, 9, 9))}, "rise.masks must be at least 2, not 1"),
        ({"masks": np.ones((3, 8, 9))}, r"rise.masks of input 'image' \[3, 9, 9\] cannot have the shape \(3, 8, 9\)"),
        ({"masks": np.ones((3, 9, 9)) * 2}, "rise.masks hold numbers from 0"),
        ({"masks": {"picture": np.ones((3, 9, 9))}}, "'picture', which is not explained"),
        ({"masks": np.ones((3, 9, 9)), "budget": 50}, "rise.budget is for random masks"),
        ({"masks": [[1, 2], [3]]}, "rise.masks takes integer or array"),
        ({"masks": "many"}, "rise.masks takes a number, an array, or a .npy or .npz file, not 'many'"),
    ],
)
def test_masks_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        onnxplain.explain(CONVOLUTIONS, IMAGE, "rise", target=0, **settings)
