"""Where the map lies in an array of values: its two spatial axes, what becomes of the others, and its outlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, nearest, printable
from .wording import number

if TYPE_CHECKING:
    from ..explanation import Explanation

FEWEST_PIXELS_PER_FEATURE = 12  # finer partitions would hide the picture behind their outlines
MOST_CHANNELS = 4  # of an array whose last axis is taken for its channels


@dataclass(frozen=True, eq=False)
class Plane:
    """A map (H, W) of one input, with what it was made from.

    ``picture`` is uint8 (H, W, 3), or None where the input has no picture; ``picture_title`` says what it is.
    ``labels`` (H, W) holds features worth outlining, ``note`` how channels became one number.
    """

    name: str
    data: np.ndarray
    error: np.ndarray | None
    picture: np.ndarray | None
    picture_title: str
    labels: np.ndarray | None
    note: str


def plane_of(explanation: Explanation, name: str = "") -> Plane | None:
    """Return the map of an input (by default the one that the photograph went into), or None if it has none.

    Where the sample has a picture, spatial axes are the two neighbouring axes of its height and width, the last such
    pair if there are several (so channels first). Otherwise arrays that are two-dimensional apart from axes of length
    one and from channels (first, or last if there are at most four) are maps, unless the sample is a table or text.
    """
    chosen = name or _pictured(explanation)
    values = explanation.values.get(chosen)
    if values is None:
        raise SettingError(
            f"the explanation has no values for '{printable(chosen)}'", tip=nearest(chosen, explanation.values)
        )
    axes = _axes(explanation, chosen)
    if axes is None:
        return None
    labels = _labels(explanation, chosen, values.shape, axes)
    if labels is not None and labels.min() == labels.max() and explanation.feature_values is not None:
        return None  # whole channels or whole inputs: a bar for each says more
    picture, picture_title = _picture(explanation, chosen, axes)
    errors = (explanation.standard_error or {}).get(chosen)
    data, summed = _flat(values, axes)
    return Plane(
        name=chosen,
        data=data,
        error=None if errors is None else _flat_error(errors, axes, summed=summed),
        picture=picture,
        picture_title=picture_title,
        labels=labels,
        note=f"Sum over {values.size // data.size} channels." if summed else "",
    )


def worth_outlining(labels: np.ndarray) -> bool:
    """Say whether a partition is coarse enough for its outlines to be drawn."""
    count = np.unique(labels).size
    return 1 < count <= max(2, labels.size // FEWEST_PIXELS_PER_FEATURE)


def outline_segments(labels: np.ndarray) -> np.ndarray:
    """Return the lines (K, 2, 2) between pixels of different features, as ends (x, y); pixel k spans k-0.5 to k+0.5.

    Neighbouring pieces on one line are joined.
    """
    across = _runs(labels[1:] != labels[:-1])  # below row r lies y = r + 0.5
    down = _runs((labels[:, 1:] != labels[:, :-1]).T)
    horizontal = np.stack([across[:, 1:] - 0.5, np.repeat(across[:, :1] + 0.5, 2, axis=1)], axis=2)
    vertical = np.stack([np.repeat(down[:, :1] + 0.5, 2, axis=1), down[:, 1:] - 0.5], axis=2)
    return np.concatenate([horizontal, vertical])


def _runs(edges: np.ndarray) -> np.ndarray:
    """Return (line, begin, end) of each run of True along the second axis."""
    padded = np.zeros((edges.shape[0], edges.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = edges
    steps = np.diff(padded, axis=1)
    lines, begins = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    return np.stack([lines, begins, ends], axis=1).astype(np.float64)


def _pictured(explanation: Explanation) -> str:
    sample = explanation.sample
    if sample is not None and sample.image_input in explanation.values:
        return sample.image_input
    if not explanation.values:
        raise SettingError("the explanation has no values to draw")
    mapped = [n for n in explanation.values if _axes(explanation, n) is not None]
    return mapped[0] if mapped else next(iter(explanation.values))


def _axes(explanation: Explanation, name: str) -> tuple[int, int] | None:
    sample, shape = explanation.sample, explanation.values[name].shape
    if sample is not None and sample.image is not None and sample.image_input in {"", name}:
        return _matching(shape, sample.image.shape[:2])
    if sample is not None and sample.modality in {"table", "text", "series"}:
        return None
    return _guessed(shape)


def _matching(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, int] | None:
    pairs = [(k, k + 1) for k in range(len(shape) - 1) if shape[k : k + 2] == tuple(size)]
    return pairs[-1] if pairs else None


def _guessed(shape: tuple[int, ...]) -> tuple[int, int] | None:
    long = [k for k, n in enumerate(shape) if n > 1]
    if len(long) == 2:
        return (long[0], long[1])
    if len(long) != 3:
        return None
    first, middle, last = long
    channels_last = shape[last] <= MOST_CHANNELS < min(shape[first], shape[middle])
    return (first, middle) if channels_last else (middle, last)


def _flat(values: np.ndarray, axes: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """Return the map (H, W), and whether channels were added up for it.

    A method whose features span the channels writes the value of a pixel to each of its channels; then that value is
    the map. Otherwise the channels are added up: together they say what the pixel does to the score.
    """
    stacked = _stacked(values, axes)
    data: np.ndarray = stacked[0]
    if bool((stacked == stacked[:1]).all()):
        return data, False
    return stacked.sum(axis=0), True


def _flat_error(errors: np.ndarray, axes: tuple[int, int], *, summed: bool) -> np.ndarray:
    """Return the standard error of the map; where channels were added up, their errors are taken as independent."""
    stacked = _stacked(errors, axes)
    error: np.ndarray = np.sqrt((stacked**2).sum(axis=0)) if summed else stacked[0]
    return error


def _stacked(array: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    """Return float64 (channels, H, W); whatever is not spatial counts as channels."""
    return _channels_first(np.asarray(array, dtype=np.float64), axes)


def _channels_first(array: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    moved = np.moveaxis(array, axes, (-2, -1))
    return moved.reshape(-1, *moved.shape[-2:])


def _labels(explanation: Explanation, name: str, shape: tuple[int, ...], axes: tuple[int, int]) -> np.ndarray | None:
    labels = explanation.feature_labels.get(name)
    if labels is None:
        return None
    if labels.ndim == len(shape) + 1 and len(labels) == 1:
        labels = labels[0]  # the engine's leading axis, on an input without batch axis
    try:
        whole = np.broadcast_to(labels, shape)
    except ValueError:
        return None  # the labels of an input whose batch axis is not the first cannot be placed on it
    first: np.ndarray = _channels_first(whole, axes)[0]
    return first


def _picture(explanation: Explanation, name: str, axes: tuple[int, int]) -> tuple[np.ndarray | None, str]:
    """Return the sample's picture, or the input itself in grey."""
    sample, shape = explanation.sample, explanation.values[name].shape
    if sample is None:
        return None, ""
    size = tuple(shape[k] for k in axes)
    if sample.image is not None and sample.image.shape[:2] == size and sample.image_input in {"", name}:
        return sample.image, "what the model sees"
    feed = sample.feeds.get(name)
    if feed is None or feed.dtype.kind not in "fiub" or feed.size != int(np.prod(shape)):
        return None, ""
    stacked = _stacked(feed.reshape(shape), axes)
    if len(stacked) > MOST_CHANNELS or not np.isfinite(stacked).all():
        return None, ""
    grey = stacked.mean(axis=0)
    low, high = float(grey.min()), float(grey.max())
    level = (grey - low) / (high - low) if high > low else np.full_like(grey, 0.5)
    picture = np.repeat(np.rint(level * 255).astype(np.uint8)[..., None], 3, axis=2)
    return picture, f"input, black {number(low)} to white {number(high)}"
