"""Masks that a caller gives, in the place of random ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, nearest, printable
from ..inputs.array_file import read_given
from ..masking.features import elements
from ..masking.label_maps import as_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..masking.features import Features
    from .axes import Axes


def given_masks(setting: Any, inputs: Mapping[str, Axes], where: str) -> tuple[Features, np.ndarray]:
    """Return the elements that masks have, and masks (N, elements of all inputs): booleans where all are 0 or 1.

    ``setting`` is an array (N, ...), each mask shaped like the input, with ones for axes along which it is the same,
    or like the (height, width) of an image; for several inputs it is a dict of these by input name, and inputs that it
    leaves out are always present. It, or an array in the dict, may be the .npy or .npz file of these. Raises
    ``SettingError`` for masks of other shapes, numbers outside 0 to 1, and inputs with another number of masks.
    """
    setting = _read(setting, inputs)
    if not isinstance(setting, dict) and len(inputs) > 1:
        raise SettingError(f"{where} are for one of {len(inputs)} inputs", tip="give a dict of arrays by input name")
    by_name = setting if isinstance(setting, dict) else {next(iter(inputs)): setting}
    placed = {}
    for name, masks in by_name.items():
        if name not in inputs:
            raise SettingError(
                f"{where} name an input '{printable(name)}', which is not explained", tip=nearest(name, inputs)
            )
        placed[name] = _placed(_read(masks, ()), inputs[name], where)
    counts = {len(masks) for masks in placed.values()}
    if len(counts) != 1:
        raise SettingError(f"{where} are as many for every input, not {sorted(counts)}")
    flat = np.concatenate([masks.reshape(len(masks), -1) for masks in placed.values()], axis=1)
    return elements({name: (1, *masks.shape[1:]) for name, masks in placed.items()}), _checked(flat, where)


def masks_of_words(setting: Any, count: int, where: str) -> np.ndarray:
    """Return masks (N, words) of a text, as ``given_masks`` does; ``SettingError`` for other shapes."""
    masks = as_array(_read(setting, ()), where)
    if masks.ndim != 2 or masks.shape[1] != count:
        raise SettingError(f"{where} of a text have the shape (N, {count}), for its {count} words")
    return _checked(masks, where)


def cut(masks: np.ndarray, lengths: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield the masks, so many at a time."""
    start = 0
    for length in lengths:
        yield masks[start : start + length]
        start += length


def _checked(masks: np.ndarray, where: str) -> np.ndarray:
    """Return masks as booleans where all are 0 or 1, else float32; ``SettingError`` unless all lie in between."""
    if masks.dtype.kind not in "fiub" or not ((masks >= 0) & (masks <= 1)).all():
        raise SettingError(f"{where} hold numbers from 0 (hidden) to 1 (kept)")
    return masks.astype(bool) if np.isin(masks, (0, 1)).all() else masks.astype(np.float32)


def _read(setting: Any, names: Iterable[str]) -> Any:
    return read_given(Path(setting), names) if isinstance(setting, str | os.PathLike) else setting


def _placed(masks: Any, axes: Axes, where: str) -> np.ndarray:
    """Return masks (N, ...) with all axes of the input but that of its rows."""
    array = as_array(masks, where)
    whole = axes.entry.place(array) if array.ndim == len(axes.sizes) + 1 else None
    if whole is not None:
        return whole
    each = [axes.entry.place(mask) for mask in array] if array.ndim else []
    found = [mask for mask in each if mask is not None]
    if not each or len(found) < len(each):
        raise SettingError(
            f"{where} of input {axes} cannot have the shape {array.shape}", tip="give (N, ...), each shaped like it"
        )
    return np.concatenate(found)
