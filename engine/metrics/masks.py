"""Where the evidence is known to be: an array, a file or a box, laid on the grid of the map."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, InputError, SettingError, printable
from ..masking.label_maps import read_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .trial import Trial

Mask = Any  # an array, a path, or four numbers: a box


def placed_mask(mask: Any, trial: Trial) -> np.ndarray:
    """Return a mask or box as booleans of the map's shape.

    A mask is true where its numbers are not 0, and has the shape of the map, (height, width) of the model's input for
    images. A box is ``(x0, y0, x1, y1)`` in pixels of the model's input, the far ends excluded. Raises ``InputError``
    where it is of another size, empty, or covers everything.
    """
    shape = trial.map.shape
    if isinstance(mask, str | os.PathLike):
        found = read_labels(Path(mask))
        where = printable(mask)
    elif (
        isinstance(mask, list | tuple) and len(mask) == 4 and all(isinstance(v, int | float | np.number) for v in mask)
    ):
        return _boxed(mask, shape)
    else:
        found, where = np.asarray(mask), "the mask"
    if found.dtype.kind not in "fiub":
        raise InputError(f"a mask holds numbers, not {found.dtype}", where=where)
    if found.ndim == len(shape) + 1 and len(found) == 1:
        found = found[0]
    if found.shape != shape:
        raise InputError(
            f"the mask has the size {_sizes(found.shape)}, the map {_sizes(shape)}",
            where=where,
            tip="give it on the grid of the model's input, after resizing and cropping" if len(shape) == 2 else "",
        )
    return _some(found != 0, where)


def _boxed(box: Sequence[float], shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) != 2:
        raise SettingError("a box is for images; give a mask of the shape of the input", tip=f"its shape is {shape}")
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    height, width = shape
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"the box {tuple(box)} is not within the image of {width} x {height} pixels",
            tip="x0,y0,x1,y1 in pixels of the model's input, x0 < x1 and y0 < y1",
        )
    found = np.zeros(shape, dtype=bool)
    found[y0:y1, x0:x1] = True
    return _some(found, f"the box {tuple(box)}")


def _some(found: np.ndarray, where: str) -> np.ndarray:
    if not found.any() or found.all():
        raise InputError(f"the mask covers {'everything' if found.all() else 'nothing'}", where=where)
    return found


def needed(trial: Trial) -> np.ndarray:
    """Return the trial's mask. Raises ``CapabilityError`` where none was given."""
    if trial.mask is None:
        raise CapabilityError(
            f"{trial.metric} needs to know where the evidence is",
            tip="give a mask or a box: --mask FILE.png|.npy, --box x0,y0,x1,y1, or mask=... in Python",
        )
    return trial.mask


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
