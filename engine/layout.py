"""Inputs in words, and what their axes mean, as far as name, dtype and shape tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .files import excerpt
from .token_inputs import is_of_tokens

if TYPE_CHECKING:
    import numpy as np

_CHANNELS = (1, 3, 4)


class InputInfo(Protocol):
    """What is asked of the description of a model's input: the name, dtype and shape in the ONNX file.

    ``dtype`` is ``object`` for strings; a dimension is a size, a symbol or None; ``batch_axis`` is None where the
    input has no axis for rows.
    """

    @property
    def name(self) -> str:
        """Name of the tensor."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    @property
    def shape(self) -> tuple[int | str | None, ...]:
        """Size, symbol or None per axis."""

    @property
    def batch_axis(self) -> int | None:
        """Axis of the rows."""


def describe(info: InputInfo) -> str:
    """Return an input's name, type and shape in words, for messages.

    The shape has '?' for sizes that the model leaves open.
    """
    kind = "string" if info.dtype.kind == "O" else info.dtype.name
    return f"'{excerpt(info.name)}': {kind} {shape_text(info)}"


def shape_text(info: InputInfo) -> str:
    """Return an input's shape in words."""
    sizes = ["?" if size is None else excerpt(size, 20) for size in info.shape]
    if info.batch_axis is not None:
        sizes[info.batch_axis] = "rows"
    return f"({', '.join(sizes)})"


def infer_layout(info: InputInfo) -> tuple[str, str]:
    """Return the modality and a letter per axis (see ``InputSpec.layout``), ``("array", "")`` if nothing is known.

    An image has an axis of 1, 3 or 4 channels before or after two others, both longer than 1; a series has three axes,
    of which the shorter is taken for the channels, unless the graph tells (``TensorSpec.axes``); where both are equally
    long, as of a picture without channels, nothing is. An input that the graph uses as the state of a recurrent network
    is one. An input without an axis for rows but with a leading size of 1 has that as N.
    """
    if getattr(info, "is_state", False):
        return "state", ""
    told = str(getattr(info, "axes", ""))
    if told:
        return "series", told
    shape, batch = info.shape, info.batch_axis
    if batch is None and len(shape) in (2, 4) and shape[0] == 1:
        batch = 0
    inner = tuple(size for axis, size in enumerate(shape) if axis != batch)
    modality, letters = _infer_inner(info, inner, has_batch=batch is not None)
    if not letters and len(shape) != 1:
        return modality, ""
    return modality, letters if batch is None else letters[:batch] + "N" + letters[batch:]


def _infer_inner(info: InputInfo, inner: tuple[int | str | None, ...], *, has_batch: bool) -> tuple[str, str]:
    """Return modality and letters of the axes but the batch axis."""
    if len(inner) == 3 and _is_pixel_type(info.dtype):
        letters = _image_axes(info.name, inner)
        return ("image", letters) if letters else ("array", "")
    if not has_batch:
        return "array", ""
    if len(inner) == 0:
        return "table", ""
    if len(inner) == 1:
        is_tokens = info.dtype.kind in "iu" and is_of_tokens(info.name)
        return ("text", "T") if is_tokens else ("table", "F")
    if len(inner) == 2 and info.dtype.kind != "O" and not (isinstance(inner[0], int) and inner[0] == inner[1]):
        return "series", _series_axes(inner)
    return "array", ""


def _is_pixel_type(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fV" or (dtype.kind in "iu" and dtype.itemsize == 1)


def _image_axes(name: str, inner: tuple[int | str | None, ...]) -> str:
    if _is_channels(inner[0]) and 1 not in inner[1:]:
        return "CHW"
    if _is_channels(inner[2]) and 1 not in inner[:2]:
        return "HWC"
    is_named_so = "pixel" in name.lower() or "image" in name.lower()
    return "CHW" if is_named_so and not any(isinstance(size, int) for size in inner[::2]) else ""


def _is_channels(size: int | str | None) -> bool:
    if isinstance(size, str):
        return "channel" in size.lower() or size.lower() == "c"
    return size in _CHANNELS


def _series_axes(inner: tuple[int | str | None, ...]) -> str:
    first, second = inner
    if not isinstance(first, int):
        return "TC"
    if not isinstance(second, int):
        return "CT"
    return "CT" if 2 * first <= second else "TC"


def sizes_by_letter(layout: str, shape: tuple[int | str | None, ...]) -> dict[str, int]:
    """Return the sizes that the shape fixes, by letter of the layout."""
    if len(layout) != len(shape):
        return {}
    return {letter: size for letter, size in zip(layout, shape, strict=True) if isinstance(size, int)}
