"""Computing what stands in for one input: constants, averages, blurred, inpainted and noisy versions of it."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError
from ..files import excerpt
from .partitions import cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layout import MaskedInput

    Statistic = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]

INPAINTED_CELLS = 7  # along each side, as in the features 'grid'
INPAINTED_SIDE = 224  # pixels; longer sides are reduced to it


def constant(entry: MaskedInput, number: float) -> np.ndarray:
    """Return (1, *feed.shape[1:]) of a number; SettingError if the input's dtype cannot hold it."""
    if entry.holds_text:
        raise SettingError(
            f"input {entry} takes text, for which no number can stand in",
            tip=("use 'removed'" if entry.text else "use background rows (baseline=rows.csv, or in the spec)")
            + f', or a dict by input name with a text: {{"{excerpt(entry.name)}" = "..."}}',
        )
    if not _holds(entry.feed.dtype, number):
        raise SettingError(f"input {entry} cannot hold the baseline {excerpt(number)}")
    return np.full((1, *entry.inner), number).astype(entry.feed.dtype)


def _holds(dtype: np.dtype[Any], number: float) -> bool:
    """Say whether a number is finite in the dtype, and the same where the dtype is one of whole numbers."""
    if dtype.kind not in "iub":
        limit = sys.float_info.max
        with np.errstate(over="ignore"):
            return -limit <= number <= limit and bool(np.isfinite(np.float64(number).astype(dtype)))
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return bool(low <= number <= high) and number == int(number)


def summary(entry: MaskedInput, rows: np.ndarray | None, statistic: Statistic) -> np.ndarray:
    """Return a statistic as float64 (K, *feed.shape[1:]).

    Of background rows it is that of each value (column); without them, that of each channel of the input itself, or
    of the whole input where no axis is known to hold channels. ``statistic(array, axes)`` must keep the axes as ones,
    and may put an axis of K before them.
    """
    values = entry.feed if rows is None else rows
    others = tuple(axis for axis in range(entry.feed.ndim) if axis not in entry.axes("C"))
    axes = others if rows is None else (0,)
    kept = [1 if axis in axes else values.shape[axis] for axis in range(1, values.ndim)]
    found = statistic(values.astype(np.float64), axes).reshape(-1, *kept)
    return np.broadcast_to(found, (len(found), *entry.inner))


def mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the mean over the axes, which are kept."""
    return _of_known(np.mean, np.nanmean, values, axis=axes, keepdims=True)


def deviation(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the standard deviation over the axes, which are kept."""
    return _of_known(np.std, np.nanstd, values, axis=axes, keepdims=True)


def median(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the median over the axes, which are kept."""
    return _of_known(np.median, np.nanmedian, values, axis=axes, keepdims=True)


def quartiles(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the 25, 50 and 75 % quantiles over the axes, which are kept, with linear interpolation."""
    return _of_known(np.quantile, np.nanquantile, values, (0.25, 0.5, 0.75), axis=axes, keepdims=True)


def _of_known(
    whole: Callable[..., Any], known: Callable[..., Any], values: np.ndarray, *arguments: Any, **options: Any
) -> np.ndarray:
    """Return a statistic of the values that are not missing; NaN where all are."""
    if not np.isnan(values).any():
        return np.asarray(whole(values, *arguments, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any value
        return np.asarray(known(values, *arguments, **options))


def blurred(entry: MaskedInput, sigma: float) -> np.ndarray:
    """Return the input smoothed by a Gaussian of ``sigma`` pixels or steps over height, width and time only.

    The kernel is cut off at 4 sigma; beyond its edges the input is mirrored, which keeps the mean.
    """
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(entry.feed.astype(np.float64), sigma, axes=entry.axes("HWT"), mode="reflect"))


def inpainted(entry: MaskedInput) -> np.ndarray:
    """Return the image with every cell of a 7 x 7 grid filled in from the cells around it, none from itself.

    The cells are those of the features ``grid``, coloured like a chessboard: the white ones are computed from the black
    ones and the black ones from the white ones, by the biharmonic equation (Damelin and Hoang 2018), clipped to the
    range of each channel's known values. It is one image for all coalitions: a cell is filled in from its neighbours
    even where these are absent too. Images with a side of more than 224 pixels are reduced to that first and the result
    is enlarged again (both linear), which lets a little of a cell's edge into its neighbours.
    """
    from skimage.restoration import inpaint_biharmonic

    pixels = _channels_last(entry)
    small = _resized(pixels, *_reduced(*entry.grid))
    height, width = small.shape[:2]
    down, across = (cells(side, min(INPAINTED_CELLS, side)) for side in (height, width))
    white = (down[:, None] + across) % 2 == 1
    if white.all() or not white.any():
        raise SettingError(f"input {entry} has no neighbouring pixels to inpaint from")
    filled = np.where(
        white[..., None],
        inpaint_biharmonic(small, white, channel_axis=-1),
        inpaint_biharmonic(small, ~white, channel_axis=-1),
    )
    return _as_feed(entry, _resized(filled, *entry.grid))


def _reduced(height: int, width: int) -> tuple[int, int]:
    factor = min(1.0, INPAINTED_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    from skimage import transform

    resize: Callable[..., np.ndarray] = transform.resize
    return resize(pixels, (height, width, pixels.shape[2]), order=1, anti_aliasing=height < len(pixels))


def _channels_last(entry: MaskedInput) -> np.ndarray:
    """Return the feed as float64 (height, width, everything else)."""
    moved = np.moveaxis(entry.feed, _sides(entry), (0, 1))
    return moved.reshape(*entry.grid, -1).astype(np.float64)


def _sides(entry: MaskedInput) -> tuple[int, int]:
    return entry.letters.index("H"), entry.letters.index("W")


def _as_feed(entry: MaskedInput, pixels: np.ndarray) -> np.ndarray:
    """Undo ``_channels_last``."""
    places = _sides(entry)
    others = [size for axis, size in enumerate(entry.feed.shape) if axis not in places]
    return np.moveaxis(pixels.reshape(*entry.grid, *others), (0, 1), places)


def in_dtype(values: np.ndarray, entry: MaskedInput) -> np.ndarray:
    """Return computed values in the feed's dtype; for whole numbers they are rounded and clipped to its range."""
    dtype: np.dtype[Any] = entry.feed.dtype
    if dtype.kind in "iub":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        values = np.clip(np.rint(values), low, high)
    return np.ascontiguousarray(values, dtype=dtype)
