"""Masks of RISE whose cells have hard edges, as for sound."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.engine.perturbation.smooth_masks import Grid, draw_masks


def by_hand(grid, bits, shifts):
    """Look each element's cell up, one by one."""
    masks = np.zeros((len(bits), *grid.sizes), dtype=bool)
    for row in range(len(bits)):
        for place in np.ndindex(*grid.sizes):
            cell = []
            for axis, (n, h) in enumerate(zip(grid.sizes, grid.cells, strict=True)):
                size = math.ceil(n / h)
                cell.append(place[axis] if n == h else (place[axis] + int(shifts[row, axis] * size)) // size)
            masks[row, *place] = bits[row, *cell]
    return masks


@given(st.integers(0, 2**32 - 1))
def test_elements_have_the_bit_of_their_shifted_cell(seed):
    rng = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in rng.integers(1, 12, 2))
    grid = Grid(sizes, tuple(int(rng.integers(1, n + 1)) for n in sizes), smooth=False)
    bits, shifts = rng.random((3, *grid.drawn)) < 0.5, rng.random((3, 2))
    masks = grid.enlarged(bits, shifts)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(masks, by_hand(grid, bits, shifts))


def test_every_element_is_kept_as_often_as_the_probability_says():
    grid = Grid((50,), (7,), smooth=False)
    generators = (np.random.default_rng(0), np.random.default_rng(1))
    (masks,) = draw_masks({"x": grid}, 0.3, generators, iter([20_000]))
    assert masks.dtype == np.bool_
    np.testing.assert_allclose(masks.mean(axis=0), 0.3, atol=0.012)
    ends = np.corrcoef(masks[:, 0], masks[:, -1])[0, 1]
    assert abs(ends) < 0.03  # the first and the last cell are drawn apart


def test_draws_do_not_depend_on_how_many_are_asked_for_at_a_time():
    grids = {"x": Grid((9, 20), (3, 4), smooth=False), "y": Grid((6,), (2,))}

    def drawn(lengths):
        generators = (np.random.default_rng(0), np.random.default_rng(1))
        return np.concatenate(list(draw_masks(grids, 0.5, generators, iter(lengths))))

    np.testing.assert_array_equal(drawn([10]), drawn([1, 4, 5]))
