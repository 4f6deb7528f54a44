"""Label maps from outside: arrays, nested lists, .npy files and PNG images whose values say which feature is where."""

from __future__ import annotations

import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, printable
from ..files import excerpt, existing_file, looks_like
from ..inputs.array_file import read_arrays
from ..inputs.image import MAX_FILE, MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .layout import MaskedInput

# What Pillow raises on damaged PNG files, by its decoder and chunk readers.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)


def as_array(setting: Any, what: str) -> np.ndarray:
    """Return an array or nested lists as an array; SettingError if they are ragged or hold something else."""
    try:
        array = np.asarray(setting)
    except (TypeError, ValueError, OverflowError) as problem:
        raise SettingError(
            f"{what} cannot be made from {excerpt(repr(setting))}: {excerpt(problem, 80)}",
            tip="lists must have the same length throughout",
        ) from None
    if array.dtype.kind == "O" and not all(isinstance(entry, str) for entry in array.flat):
        raise SettingError(f"{what} cannot be made from {excerpt(repr(setting))}", tip="give numbers")
    return array


def read_labels(path: Path) -> np.ndarray:
    """Return the label map in a .npy file or a grey or palette PNG image (values as they are stored).

    SettingError if the file is not there or holds no labels; InputError if it is damaged or hostile.
    """
    existing_file(path, SettingError)
    if path.suffix.lower() == ".png":
        return _read_png(path)
    found = read_arrays(path)
    if len(found) != 1:
        raise SettingError(f"this file holds {len(found)} arrays; a label map is one", where=printable(path))
    return next(iter(found.values()))


def _read_png(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    where = printable(path)
    if path.stat().st_size > MAX_FILE:
        raise InputError(f"this file has more than {MAX_FILE >> 20} MiB, the limit for images", where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is an error here, or harmless
            with Image.open(path, formats=("PNG",)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(
                        f"this image has {image.width} x {image.height} pixels, more than the limit of {MAX_PIXELS:,}",
                        where=where,
                    )
                if image.mode not in {"1", "L", "P"} and not image.mode.startswith("I"):
                    raise SettingError(
                        f"this image is {image.mode}; a label map is a grey or palette image, a number per pixel",
                        where=where,
                    )
                return np.asarray(image)
    except UnidentifiedImageError:
        found = looks_like(path)
        raise InputError(
            f"this is {found}, not a PNG image" if found else "this is not a PNG image", where=where
        ) from None
    except Image.DecompressionBombError:
        raise InputError(f"this image has more than {MAX_PIXELS:,} pixels", where=where) from None
    except _DAMAGE as problem:
        raise InputError(f"this image is damaged or cut off: {excerpt(problem, 120)}", where=where) from None


def placed_labels(array: np.ndarray, entry: MaskedInput, source: str = "") -> np.ndarray:
    """Give a label map the axes of an input's feed; SettingError with the shapes that would do."""
    placed = entry.place(array)
    if placed is None or len(placed) != 1:
        raise SettingError(
            f"a label map of shape {array.shape} does not fit input '{excerpt(entry.name)}'",
            where=source,
            tip=f"it takes {entry.wanted}, with ones where the labels are the same along an axis",
        )
    return placed


def fitting(array: np.ndarray, inputs: Mapping[str, MaskedInput], what: str, *, rows: bool = False) -> MaskedInput:
    """Return the only input that an array given without a name fits: the only one there is, or an image of its size."""
    if len(inputs) == 1:
        return next(iter(inputs.values()))
    fits = [entry for entry in inputs.values() if (p := entry.place(array)) is not None and (rows or len(p) == 1)]
    exact = [entry for entry in fits if entry.is_image and array.shape == entry.grid]
    if len(exact or fits) == 1:
        return (exact or fits)[0]
    names = ", ".join(f"'{excerpt(name)}'" for name in list(inputs)[:4])
    raise SettingError(
        f"{what} of shape {array.shape} fits {len(exact or fits)} of the inputs {names}",
        tip="give a dict of arrays by input name",
    )
