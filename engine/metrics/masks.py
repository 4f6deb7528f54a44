"""Where the evidence is known to be: an array, a file or boxes, laid on the grid of the map."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, InputError, printable
from ..masking.label_maps import read_labels
from .boxes import Box, are_boxes, boxes_of, in_pixels, is_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..inputs.sample import Sample
    from .chosen import Chosen
    from .trial import Trial

Mask = Any  # an array, a path, four numbers (a box), or a tuple of boxes
SUFFIXES = (".png", ".npy")  # of masks in files


@dataclass(frozen=True, eq=False)
class Evidence:
    """``inside`` is True where the evidence is, on the grid of the map; ``boxes`` are those that say so, if any do."""

    inside: np.ndarray
    boxes: tuple[Box, ...] = ()


def mask_for(mask: Mask | None, sample: Sample) -> Mask | None:
    """Return the mask of a sample: out of a folder of masks or a table of boxes (.csv), else the one that is given.

    A mask in a folder has the name of the input's file, ``cat.png`` or ``cat.npy`` for ``photos/cat.jpg``. A row of a
    table is the name of the input's file and a box, ``cat.jpg,20,30,180,200``; an input may have several. Raises
    ``InputError`` where there is none for the sample.
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
    return boxes_of(path, name) if path.suffix.lower() == ".csv" else mask


def evidence(mask: Mask, trial: Trial) -> Evidence:
    """Lay a mask or boxes on the grid of the map.

    A mask is true where its numbers are not 0, and has the shape of the map, (height, width) of the model's input for
    images. A box is ``(x0, y0, x1, y1)`` in pixels of the model's input, the far ends excluded; of several boxes the
    evidence is their union. Raises ``InputError`` where it is of another size, empty, or covers everything.
    """
    shape = trial.map.shape
    if is_box(mask) or are_boxes(mask):
        boxes = tuple(in_pixels(box, shape) for box in ([mask] if is_box(mask) else mask))
        inside = np.zeros(shape, dtype=bool)
        for x0, y0, x1, y1 in boxes:
            inside[y0:y1, x0:x1] = True
        return Evidence(_some(inside, f"the box{'es' if len(boxes) > 1 else ''} {', '.join(map(str, boxes))}"), boxes)
    if isinstance(mask, str | os.PathLike):
        return Evidence(_fitting(read_labels(Path(mask)), shape, printable(mask)))
    return Evidence(_fitting(np.asarray(mask), shape, "the mask"))


def _fitting(found: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    if found.dtype.kind not in "fiub":
        raise InputError(f"a mask holds numbers, not {found.dtype}", where=where)
    if not np.isfinite(found).all():
        raise InputError("the mask holds numbers that are not finite", where=where, tip="0 is outside, 1 inside")
    if found.ndim == len(shape) + 1 and len(found) == 1:
        found = found[0]
    if found.shape != shape:
        raise InputError(
            f"the mask has the size {_sizes(found.shape)}, the map {_sizes(shape)}",
            where=where,
            tip="give it on the grid of the model's input, after resizing and cropping" if len(shape) == 2 else "",
        )
    return _some(found != 0, where)


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
    return " x ".join(map(str, shape)) or "of a single number"
