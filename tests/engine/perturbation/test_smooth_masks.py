import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize

from onnxplain import SettingError
from onnxplain.engine.masking.layout import MaskedInput
from onnxplain.engine.perturbation.axes import Axes
from onnxplain.engine.perturbation.smooth_masks import Grid, draw_masks, grid_over
from onnxplain.engine.spec import InputSpec


def axes_of(shape, letters, modality, dtype=np.float32, channel=None):
    entry = MaskedInput("x", np.zeros((1, *shape), dtype=dtype), "." + letters, InputSpec("x", modality))
    return Axes(entry, channel)


def drawn(grids, lengths, probability=0.5, seed=0):
    generators = (np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1]))
    return np.concatenate(list(draw_masks(grids, probability, generators, iter(lengths))))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_mask_is_the_grid_enlarged_bilinearly_and_cropped_at_the_shift(h, w, height, width, seed):
    h, w = min(h, height), min(w, width)
    rng = np.random.default_rng(seed)
    bits, shifts = rng.random((2, h, w)) < 0.5, rng.random((2, 2))
    masks = Grid((height, width), (h, w)).enlarged(bits, shifts)
    assert masks.dtype == np.float32
    for mask, grid, shift in zip(masks, bits.astype(np.float32), shifts, strict=True):
        whole, crop = grid, []
        for axis, (n, cells) in enumerate(((height, h), (width, w))):
            if n == cells:
                crop.append(slice(None))
                continue
            cell = math.ceil(n / cells)
            shape = list(whole.shape)
            shape[axis] = (cells + 1) * cell
            whole = resize(whole, shape, order=1, mode="edge", anti_aliasing=False)
            crop.append(slice(int(shift[axis] * cell), int(shift[axis] * cell) + n))
        np.testing.assert_allclose(mask, whole[tuple(crop)], atol=2e-6)


def test_mask_at_full_size_is_what_pillow_gives():
    rng = np.random.default_rng(1)
    bits, shifts = rng.random((1, 7, 7)) < 0.5, np.array([[0.4, 0.97]])
    mask = Grid((224, 224), (7, 7)).enlarged(bits, shifts)[0]
    whole = np.asarray(Image.fromarray(bits[0].astype(np.float32)).resize((256, 256), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(mask, whole[12:236, 31:255], atol=2e-6)


def test_cells_are_kept_with_the_probability_and_so_is_every_pixel_in_the_mean():
    masks = drawn({"x": Grid((1, 24, 30), (1, 4, 5))}, [200] * 20, probability=0.3)
    assert masks.shape == (4000, 24 * 30)
    assert masks.min() >= 0
    assert masks.max() == 1
    np.testing.assert_allclose(masks.mean(axis=0), 0.3, atol=5 * np.sqrt(0.3 * 0.7 / 4000))


@pytest.mark.parametrize("grid", [Grid((1, 20, 30), (1, 7, 7)), Grid((40,), (7,)), Grid((6,), (6,))])
def test_draws_do_not_depend_on_how_many_are_drawn_at_a_time(grid):
    grids = {"a": grid, "b": Grid((5,), (5,))}
    np.testing.assert_array_equal(drawn(grids, [1] * 12), drawn(grids, [12]))
    np.testing.assert_array_equal(drawn(grids, [5, 7]), drawn(grids, [12]))
    assert (drawn(grids, [12]) != drawn(grids, [12], seed=1)).any()


def test_masks_of_whole_elements_are_booleans():
    assert drawn({"x": Grid((6,), (6,))}, [3]).dtype == np.bool_
    assert drawn({"x": Grid((6,), (6,)), "y": Grid((6,), (3,))}, [3]).dtype == np.float32


@pytest.mark.parametrize(
    ("axes", "cells", "expected"),
    [
        (axes_of((3, 224, 100), "CHW", "image", channel=0), 7, Grid((1, 224, 100), (1, 7, 7))),
        (axes_of((224, 100, 3), "HWC", "image", channel=2), (8, 4), Grid((224, 100, 1), (8, 4, 1))),
        (axes_of((1, 4, 28), "CHW", "image", channel=0), 7, Grid((1, 4, 28), (1, 4, 7))),
        (axes_of((2, 140), "CT", "series", channel=0), {"x": [10]}, Grid((1, 140), (1, 10))),
        (axes_of((2, 140), "CT", "series"), 7, Grid((2, 140), (2, 7))),
        (axes_of((13,), "F", "table"), 7, Grid((13,), (13,))),
        (axes_of((12,), "T", "text", np.int64), 7, Grid((12,), (12,))),
        (axes_of((9, 9), "..", "array", np.int64), 7, Grid((9, 9), (9, 9))),
        (axes_of((9, 9), "..", "array"), {"y": 3}, Grid((9, 9), (7, 7))),
    ],
)
def test_grid_follows_the_kind_of_input(axes, cells, expected):
    assert grid_over(axes, cells) == expected


@pytest.mark.parametrize(("cells", "message"), [((7,), "1 numbers for the 2 axes"), ((7, 101), "more than input")])
def test_cells_that_do_not_fit_are_refused(cells, message):
    with pytest.raises(SettingError, match=message):
        grid_over(axes_of((3, 224, 100), "CHW", "image", channel=0), cells)
