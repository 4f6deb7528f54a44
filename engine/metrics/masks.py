"""Where the evidence is known to be: an array, a file or a box, laid on the grid of the map."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, InputError, SettingError, printable
from ..masking.label_maps import read_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..inputs.sample import Sample
    from .chosen import Chosen
    from .trial import Trial

Mask = Any  # an array, a path, or four numbers: a box
SUFFIXES = (".png", ".npy")  # of masks in files


def mask_for(mask: Mask | None, sample: Sample) -> Mask | None:
    """Return the mask of a sample: out of a folder of masks or a table of boxes (.csv), else the one that is given.

    A mask in a folder has the name of the input's file, ``cat.png`` or ``cat.npy`` for ``photos/cat.jpg``. A row of a
    table is the name of the input's file and the box, ``cat.jpg,20,30,180,200``. Raises ``InputError`` where there is
    none for the sample.
    """
    if not isinstance(mask, str | os.PathLike):
        return mask
    path, name = Path(mask), Path(sample.source)
    if not path.exists():
        raise InputError(f"there is no file '{printable(path)}'", tip="it says where the evidence is")
    if path.is_dir():
        places = [path / f"{name.stem}{suffix}" for suffix in SUFFIXES]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputError(
                f"there is no mask for '{printable(name.name)}' in '{printable(path)}'",
                tip=f"its name would be {' or '.join(printable(place.name) for place in places)}",
            )
        return found
    return _box_of(path, name) if path.suffix.lower() == ".csv" else mask


def _box_of(path: Path, name: Path) -> tuple[float, ...]:
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the boxes in '{printable(path)}' cannot be read: {printable(error)}") from None
    mine = [line[1:] for line in lines if line and line[0].strip() in {name.name, name.stem, str(name)}]
    if len(mine) != 1:
        raise InputError(
            f"there {'is no box' if not mine else f'are {len(mine)} boxes'} for '{printable(name.name)}'",
            where=printable(path),
            tip="one row for each input: its file, x0, y0, x1, y1",
        )
    return read_box(",".join(mine[0]))


def read_box(text: str) -> tuple[float, ...]:
    """Read ``x0,y0,x1,y1``; ``SettingError`` where these are no four numbers."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise SettingError(f"a box is x0,y0,x1,y1, not '{printable(text)[:100]}'")
    return numbers


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
    elif is_box(mask):
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


def is_box(mask: Any) -> bool:
    """Say whether a mask is written as four numbers, not as four times true or false."""
    is_list = isinstance(mask, list | tuple) and len(mask) == 4
    return is_list and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in mask)


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


def check_mask(metrics: Sequence[Chosen], mask: Mask | None) -> None:
    """Refuse metrics that need a mask where there is none, before any work. Raises ``CapabilityError``."""
    for chosen in metrics:
        if mask is None and getattr(chosen.metric, "needs_mask", False):
            raise _missing(chosen.name)


def needed(trial: Trial) -> np.ndarray:
    """Return the trial's mask. Raises ``CapabilityError`` where none was given."""
    if trial.mask is None:
        raise _missing(trial.metric)
    return trial.mask


def _missing(metric: str) -> CapabilityError:
    return CapabilityError(
        f"{metric} needs to know where the evidence is",
        tip="give a mask or a box: --mask FILE.png|.npy, --box x0,y0,x1,y1, or mask=... in Python",
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
