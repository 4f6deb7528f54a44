"""Boxes round what is to be found: written in words, listed in a table, laid on the grid of an image."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Box = tuple[int, int, int, int]
NUMBERS = 4


def read_box(text: str) -> tuple[float, ...]:
    """Read ``x0,y0,x1,y1``; ``SettingError`` where these are no four numbers."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != NUMBERS or not all(map(math.isfinite, numbers)):
        raise SettingError(f"a box is x0,y0,x1,y1, not '{printable(text)[:100]}'")
    return numbers


def is_box(mask: Any) -> bool:
    """Say whether a mask is written as four numbers, not as four times true or false."""
    is_list = isinstance(mask, list | tuple) and len(mask) == NUMBERS
    return is_list and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in mask)


def are_boxes(mask: Any) -> bool:
    """Say whether a mask is written as a tuple of boxes; lists of lists are rows of numbers."""
    return isinstance(mask, tuple) and bool(mask) and all(isinstance(box, tuple) and is_box(box) for box in mask)


def boxes_of(path: Path, name: Path) -> tuple[tuple[float, ...], ...]:
    """Return the boxes of an input in a table: its rows with the input's file name, or that without its suffix.

    The columns are file, x0, y0, x1, y1; a first row without any number is their heading. Raises ``InputError`` where
    the table cannot be read, has no row for the input, or one that is no box.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the boxes in '{printable(path)}' cannot be read: {printable(error)}") from None
    if lines and not any(map(_is_number, lines[0][1][1:])):
        lines = lines[1:]
    names = {name.name, name.stem, str(name)}
    mine = [(number, line[1:]) for number, line in lines if line[0].strip() in names]
    if not mine:
        raise InputError(
            f"there is no box for '{printable(name.name)}'",
            where=printable(path),
            tip="a row for each box: the input's file, x0, y0, x1, y1, with commas between them",
        )
    return tuple(_read_row(cells, f"{printable(path)}, line {number}") for number, cells in mine)


def _read_row(cells: Sequence[str], where: str) -> tuple[float, ...]:
    try:
        return read_box(",".join(cells))
    except SettingError as error:
        raise InputError(error.message, where=where, tip="x0,y0,x1,y1 in pixels of the model's input") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def in_pixels(box: Sequence[float], shape: tuple[int, ...]) -> Box:
    """Return a box in whole pixels; errors where it does not lie within an image of that shape (height, width)."""
    if len(shape) != 2:
        raise SettingError("a box is for images; give a mask of the shape of the input", tip=f"its shape is {shape}")
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    height, width = shape
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"the box {tuple(box)} is not within the image of {width} x {height} pixels",
            tip="x0,y0,x1,y1 in pixels of the model's input, x0 < x1 and y0 < y1",
        )
    return x0, y0, x1, y1


def box_round(inside: np.ndarray) -> Box:
    """Return the smallest box round all that is true in (height, width)."""
    rows, columns = np.nonzero(inside)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def iou_of(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes.

    >>> iou_of((0, 0, 3, 2), (0, 0, 3, 4))
    0.5
    """
    wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return wide * high / (sum(areas) - wide * high)
