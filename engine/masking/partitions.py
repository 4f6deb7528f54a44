"""Partitions of one input: cells of a grid, columns of a table, channels, or the whole."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, nearest
from ..files import excerpt
from .features import Features, elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layout import MaskedInput


def pixels(entry: MaskedInput) -> Features:
    """Make every position of an image or a series a feature: all channels of it together."""
    channels = entry.axes("C")
    found = elements({entry.name: entry.feed.shape}, {entry.name: channels[0] if channels else None})
    return Features(found.names, found.labels, "pixels")


def whole(entry: MaskedInput) -> Features:
    """Make the whole input one feature."""
    return Features((entry.name,), {entry.name: np.zeros((1,) * entry.feed.ndim, dtype=np.int64)}, "inputs")


def grid(entry: MaskedInput, rows: int, columns: int) -> Features:
    """Cut an image into ``rows`` x ``columns`` cells, whose sides differ by one pixel at most; none is empty.

    Pixel p of a side of n pixels lies in cell floor(p * cells / n). SettingError if there are more cells than pixels.
    """
    height, width = entry.grid
    if rows > height or columns > width:
        raise SettingError(
            f"a grid of {rows} x {columns} cells has more cells than input '{excerpt(entry.name)}' has pixels: "
            f"{height} x {width} (height x width)",
            tip=f"'grid:{min(rows, height)}x{min(columns, width)}' would do, or 'pixels'",
        )
    labels = cells(height, rows)[:, None] * columns + cells(width, columns)
    names = tuple(f"row {row}, column {column}" for row in range(rows) for column in range(columns))
    return Features(names, {entry.name: entry.on_grid(labels)}, "grid")


def cells(pixels: int, count: int) -> np.ndarray:
    """Return the cell 0..count-1 of each pixel of a side: sizes differ by one at most."""
    return np.arange(pixels, dtype=np.int64) * count // pixels


def channels(entry: MaskedInput) -> Features:
    """Make each channel a feature: ``channel R`` where the spec says which colour it is, else ``channel 0``."""
    (axis,) = entry.axes("C")
    count = entry.feed.shape[axis]
    colour = entry.spec.preprocessing.colour if entry.spec.preprocessing else ""
    spelled: Sequence[object] = colour if len(colour) == count == 3 else range(count)
    names = entry.channels if len(entry.channels) == count else tuple(f"channel {c}" for c in spelled)
    shape = [1] * entry.feed.ndim
    shape[axis] = count
    labels = np.arange(count, dtype=np.int64).reshape(shape)
    return Features(names, {entry.name: labels}, "channels")


def columns(entry: MaskedInput) -> Features:
    """Make each column of a table a feature; the columns of a group in the spec are one feature, named by the group.

    Features stand in the order of their first column. SettingError if the input is no row of a table, or if its names
    do not fit it.
    """
    count = entry.feed.size
    if count != max(entry.inner, default=1):
        raise SettingError(f"input {entry} is not a row of columns", tip="'elements' makes every value a feature")
    names = entry.columns or tuple(f"column {number}" for number in range(count))
    if len(names) != count:
        raise SettingError(
            f"the spec lists {len(names)} columns for input '{excerpt(entry.name)}', which takes {count}",
            where=f"inputs.{excerpt(entry.name)}.columns of the spec",
        )
    return _columns(entry.name, names, entry.feed.shape, tuple(entry.spec.groups.items()))


@lru_cache(maxsize=8)  # the same for every row of a table
def _columns(
    input_name: str, names: tuple[str, ...], shape: tuple[int, ...], groups: tuple[tuple[str, tuple[str, ...]], ...]
) -> Features:
    group_of = _groups(input_name, names, groups)
    numbers: dict[tuple[bool, str], int] = {}
    labels = [numbers.setdefault(group_of.get(name, (False, name)), len(numbers)) for name in names]
    found = np.array(labels, dtype=np.int64).reshape(shape)
    found.flags.writeable = False
    return Features(tuple(name for _, name in numbers), {input_name: found}, "columns")


def _groups(
    input_name: str, names: tuple[str, ...], groups: tuple[tuple[str, tuple[str, ...]], ...]
) -> dict[str, tuple[bool, str]]:
    """Return the group of each column that is in one, told apart from a column of the same name."""
    found = {}
    for group, members in groups:
        for member in members:
            if member not in names:
                raise SettingError(
                    f"group '{excerpt(group)}' names a column '{excerpt(member)}' that input "
                    f"'{excerpt(input_name)}' does not have",
                    where=f"inputs.{excerpt(input_name)}.groups of the spec",
                    tip=nearest(member[:200], names),
                )
            found[member] = (True, group)
    return found
