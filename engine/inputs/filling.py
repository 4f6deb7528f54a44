"""What files leave out: the inputs that hold a state or a constant, and the axes of a series that are understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..files import excerpt
from ..token_inputs import grows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..layout import InputInfo
    from ..spec import InputSpec, ModelSpec

RATE_NAMES = ("sr", "fs", "rate", "sample_rate", "sampling_rate", "sample_rate_hz")


def completed(
    feeds: Mapping[str, ArrayLike] | ArrayLike, inputs: Sequence[InputInfo], spec: ModelSpec | None, rate: float = 0.0
) -> Mapping[str, ArrayLike] | ArrayLike:
    """Return the feeds with what they leave out, where the spec says what that is; otherwise as they are.

    States and inputs with a ``fill`` in the spec hold that number (0 by default), with a row per row of the others;
    caches of earlier steps, whose length is open, are empty; a scalar that is called after the sample rate holds
    ``rate``. A series may be given as (T,), (T, C) or (C, T), with or without rows, a series of one channel as (rows,
    T): its axes are put in the model's order where they fit in one order only.
    """
    if spec is None:
        return feeds
    own = [info for info in inputs if not _is_filled(info, spec, rate)]
    if not isinstance(feeds, Mapping):
        if len(own) != 1:
            return feeds
        if len(inputs) == 1:
            lone: ArrayLike = _arranged(feeds, own[0], spec)
            return lone
        feeds = {own[0].name: feeds}
    known = {info.name: info for info in inputs}
    given: dict[str, Any] = {
        name: _arranged(value, known[name], spec) if name in known else value for name, value in feeds.items()
    }
    missing = [info for info in inputs if info.name not in given and _is_filled(info, spec, rate)]
    if not missing:
        return given
    rows = max((_rows(given[info.name], info) for info in own if info.name in given), default=1)
    return given | {info.name: _filled(info, spec.inputs.get(info.name), rows, rate) for info in missing}


def required(inputs: Sequence[InputInfo], spec: ModelSpec) -> list[InputInfo]:
    """Return the inputs that nothing fills by itself: all but states and those with a ``fill``."""
    return [info for info in inputs if not _is_filled(info, spec, 0.0)]


def _is_filled(info: InputInfo, spec: ModelSpec, rate: float) -> bool:
    entry = spec.inputs.get(info.name)
    if entry is not None and (entry.modality == "state" or entry.fill is not None):
        return True
    return bool(rate) and not info.shape and info.name.lower() in RATE_NAMES


def _rows(value: Any, info: InputInfo) -> int:
    shape = np.shape(value)
    return shape[info.batch_axis] if info.batch_axis is not None and len(shape) == len(info.shape) else 1


def _filled(info: InputInfo, entry: InputSpec | None, rows: int, rate: float) -> NDArray[Any]:
    sizes = [rows if axis == info.batch_axis else size for axis, size in enumerate(info.shape)]
    if grows(info.name) and len(sizes) > 2:
        sizes = [size if isinstance(size, int) else 0 for size in sizes]
    if any(not isinstance(size, int) for size in sizes):
        raise InputError(
            f"no array was given for input '{excerpt(info.name)}', and the model leaves its size open",
            tip="give an .npz file with an array for each input, by name",
        )
    number = entry.fill if entry is not None and entry.fill is not None else 0.0
    if not info.shape and info.name.lower() in RATE_NAMES and (entry is None or entry.fill is None):
        number = rate
    return np.full([size for size in sizes if isinstance(size, int)], number, dtype=info.dtype)


def _arranged(value: Any, info: InputInfo, spec: ModelSpec) -> Any:
    """Return an array for a series with its axes in the model's order, where they fit in one order only."""
    entry = spec.inputs.get(info.name)
    layout = entry.layout if entry is not None and entry.modality == "series" else ""
    if "T" not in layout or len(layout) != len(info.shape):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return value
    if sorted(layout) != ["C", "N", "T"] or not 1 <= array.ndim <= 3:
        return value
    return _in_order(array, layout, info.shape)


def _in_order(array: NDArray[Any], layout: str, shape: tuple[int | str | None, ...]) -> NDArray[Any]:
    """Return an array of up to three axes for a layout of N, C and T as the model takes it, or else as it is."""
    steps, channels = shape[layout.index("T")], shape[layout.index("C")]
    place = layout.replace("N", "").index("C")
    if array.ndim == 1:
        is_single = channels == 1 or not isinstance(channels, int)
        return np.expand_dims(array, place) if is_single and _fits(array.shape, [steps]) else array
    inner = [axis for axis, letter in enumerate(layout) if letter != "N"] if array.ndim == 3 else [0, 1]
    given, wanted = [array.shape[axis] for axis in inner], [shape[layout.index(c)] for c in layout if c != "N"]
    if not _fits(given, wanted) and _fits(given[::-1], wanted):
        return np.swapaxes(array, *inner)
    are_rows = array.ndim == 2 and channels == 1 and given[1] == steps and layout[0] == "N"
    return np.expand_dims(array, 1 + place) if are_rows and not _fits(given, wanted) else array


def _fits(given: Sequence[int], wanted: Sequence[int | str | None]) -> bool:
    return all(not isinstance(size, int) or size == have for have, size in zip(given, wanted, strict=True))
