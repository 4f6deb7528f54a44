"""Random masks of RISE: coarse random grids, enlarged smoothly and shifted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from ..masking.features import elements, join
from ..masking.partitions import columns
from .axes import size_setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..masking.features import Features
    from .axes import Axes, Sizes

MOST_CELLS = 7  # per axis, where none are given
SOUND = 4000  # steps per second from which a series is taken for sound
ONE_THREAD = 1 << 16  # multiplications in a product of matrices
ONE_THREAD_VECTOR = 1 << 13  # the same, of a matrix and a vector


@dataclass(frozen=True)
class Grid:
    """The grid of one input: ``cells`` along each axis of ``sizes`` elements.

    An axis with as many cells as elements is left as it is; any other is enlarged and shifted: smoothly, or in steps
    where the grid is not ``smooth``.
    """

    sizes: tuple[int, ...]
    cells: tuple[int, ...]
    smooth: bool = True

    @property
    def whole(self) -> bool:
        """True where there is a cell per element."""
        return self.cells == self.sizes

    @property
    def drawn(self) -> tuple[int, ...]:
        """Cells to be drawn along each axis: one more where they are shifted in steps."""
        pairs = zip(self.sizes, self.cells, strict=True)
        return tuple(h if self.smooth or n == h else h + 1 for n, h in pairs)

    def enlarged(self, bits: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Turn grids (B, *drawn) into masks (B, *sizes), float32, given shifts (B, axes) in [0, 1) of a cell.

        An axis of n elements and h cells is enlarged to (h + 1) * c elements, c = ceil(n / h), by linear
        interpolation between the centres of the cells, and n of them are kept from floor(shift * c) on. Where the grid
        is not smooth, the masks are booleans: n elements from floor(shift * c) on of h + 1 cells of c elements each.
        """
        if not self.smooth:
            return self._stepped(bits, shifts)
        masks = bits.astype(np.float32)
        for axis in reversed(range(len(self.sizes))):
            n, h = self.sizes[axis], self.cells[axis]
            if n == h:
                continue
            cell = math.ceil(n / h)
            begins = np.floor(shifts[:, axis] * cell).astype(np.intp)
            crops = _crops(h, (h + 1) * cell, n)
            lead, trail = math.prod(self.cells[:axis]), math.prod(self.sizes[axis + 1 :])
            masks = _products(crops[begins].transpose(0, 2, 1), masks.reshape(len(bits), lead, h, trail))
        return masks.reshape(len(bits), *self.sizes)

    def _stepped(self, bits: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        masks = bits.reshape(len(bits), *self.drawn)
        for axis, (n, h) in enumerate(zip(self.sizes, self.cells, strict=True)):
            if n == h:
                continue
            cell = math.ceil(n / h)
            begins = np.floor(shifts[:, axis] * cell).astype(np.intp)
            places = (begins[:, None] + np.arange(n)) // cell
            shape = [len(bits) if k == 0 else n if k == axis + 1 else 1 for k in range(masks.ndim)]
            masks = np.take_along_axis(masks, places.reshape(shape), axis=axis + 1)
        return masks


def _products(matrices: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Multiply (B, n, h) with (B, lead, h, trail), some rows at a time.

    Products this small stay on one thread in OpenBLAS. Larger ones would wake its own threads, which wait for the
    cores that the runtime is using: that takes many times longer.
    """
    n, h, trail = matrices.shape[1], matrices.shape[2], masks.shape[3]
    rows = max(1, (ONE_THREAD if trail > 1 else ONE_THREAD_VECTOR) // (h * trail))
    product = np.empty((len(masks), masks.shape[1], n, trail), dtype=np.float32)
    for start in range(0, n, rows):
        np.matmul(matrices[:, None, start : start + rows], masks, out=product[:, :, start : start + rows])
    return product


def grid_over(axes: Axes, cells: Sizes, edges: str = "auto") -> Grid:
    """Return the grid that the setting means for one input.

    A whole number is the number of cells along every axis but the channels', though never more than elements; a
    tuple has one per axis. A table has a cell per column (or group of columns), and inputs of tokens or other whole
    numbers, which cannot be blended, one per element. The edges of cells are 'smooth' or 'hard'; 'auto' makes them hard
    for sound, which is heard all the same where it is only softer.
    """
    smooth = edges == "smooth" or (edges == "auto" and axes.entry.rate < SOUND)
    if axes.entry.is_table:
        count = columns(axes.entry).size
        return Grid((count,), (count,))
    sizes = tuple(1 if k == axes.channel else n for k, n in enumerate(axes.sizes))
    if axes.entry.feed.dtype.kind != "f":
        return Grid(sizes, sizes)
    given = size_setting(cells, axes, "rise.cells")
    if not isinstance(given, tuple):
        most = MOST_CELLS if given is None else given
        return Grid(sizes, tuple(min(n, most) for n in sizes), smooth)
    if len(given) != len(axes.spatial):
        raise SettingError(
            f"rise.cells has {len(given)} numbers for the {len(axes.spatial)} axes of input {axes}",
            tip="give one number, or one per axis without those of batch and channels",
        )
    per_axis = dict(zip(axes.spatial, given, strict=True))
    if any(h > sizes[k] for k, h in per_axis.items()):
        raise SettingError(f"rise.cells {list(given)} are more than input {axes} has elements", tip="give fewer cells")
    return Grid(sizes, tuple(per_axis.get(k, 1) for k in range(len(sizes))), smooth)


def features_of(inputs: Mapping[str, Axes], grids: Mapping[str, Grid]) -> Features:
    """Return the features that masks are made of: columns of tables, and elsewhere the elements of ``Grid.sizes``."""
    return join(
        [
            columns(axes.entry) if axes.entry.is_table else elements({name: (1, *grids[name].sizes)})
            for name, axes in inputs.items()
        ]
    )


def draw_masks(
    grids: Mapping[str, Grid],
    probability: float,
    generators: tuple[np.random.Generator, np.random.Generator],
    lengths: Iterator[int],
) -> Iterator[np.ndarray]:
    """Yield masks (length, elements of all inputs): booleans where all grids are hard, else float32.

    A cell is kept with ``probability``. The cells come from the first generator and the shifts from the second, in
    the order of the masks, so that the lengths do not change the draws.
    """
    of_cells, of_shifts = generators
    whole = all(grid.whole for grid in grids.values())
    cell_ends = np.cumsum([math.prod(grid.drawn) for grid in grids.values()])
    axis_ends = np.cumsum([len(grid.cells) for grid in grids.values()])
    for length in lengths:
        kept = of_cells.random((length, int(cell_ends[-1]))) < probability
        if whole:
            yield kept
            continue
        shifts = of_shifts.random((length, int(axis_ends[-1])))
        per_input = zip(np.split(kept, cell_ends[:-1], axis=1), np.split(shifts, axis_ends[:-1], axis=1), strict=True)
        masks = [
            grid.enlarged(bits.reshape(length, *grid.drawn), of_axes).reshape(length, -1)
            for grid, (bits, of_axes) in zip(grids.values(), per_input, strict=True)
        ]
        yield masks[0] if len(masks) == 1 else np.concatenate(masks, axis=1)


@lru_cache(maxsize=16)
def _crops(cells: int, enlarged: int, size: int) -> np.ndarray:
    """Return the matrices (enlarged - size + 1, cells, size) that enlarge cells and keep ``size`` elements."""
    return np.lib.stride_tricks.sliding_window_view(_enlargement(cells, enlarged), size, axis=0)


@lru_cache(maxsize=16)
def _enlargement(cells: int, size: int) -> np.ndarray:
    """Return the matrix (size, cells) of linear interpolation with half-pixel centres and clamped edges, float32."""
    centres = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    below = np.minimum(np.floor(centres).astype(np.intp), max(0, cells - 2))
    above = np.minimum(below + 1, cells - 1)
    matrix = np.zeros((size, cells))
    rows = np.arange(size)
    np.add.at(matrix, (rows, below), 1 - (centres - below))
    np.add.at(matrix, (rows, above), centres - below)
    return matrix.astype(np.float32)
