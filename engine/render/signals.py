"""Signals: which numbers of an explanation are the channels of a series, in the order of channels and steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..specs.scaling import scaling_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..explanation import Explanation
    from ..inputs.sample import Sample

MOST_CHANNELS = 6


@dataclass(frozen=True, eq=False)
class Signals:
    """Some channels of a series, as they are drawn: values, input and errors (channels, T), names, steps a second.

    ``left_out`` is the number of channels that are not drawn; ``borders`` are the steps before which windows begin.
    """

    name: str
    values: np.ndarray
    signal: np.ndarray | None
    errors: np.ndarray | None
    channels: tuple[str, ...] = ()
    rate: float = 0.0
    left_out: int = 0
    borders: list[int] = field(default_factory=list)


def series_of(explanation: Explanation, name: str = "") -> Signals | None:
    """Return the channels of a series input that are drawn, or None where there is no series of a few channels.

    Where the sample says which axis is time, the channels of the strongest values are drawn if there are too many.
    """
    sample = explanation.sample
    if sample is None or (sample.modality != "series" and not sample.series_input):
        return None
    chosen = name or (sample.series_input if sample.series_input in explanation.values else "")
    chosen = chosen or next(iter(explanation.values), "")
    if chosen not in explanation.values or (sample.series_input and chosen != sample.series_input):
        return None
    stacked = _stacker(explanation, chosen)
    if stacked is None:
        return None
    values = stacked(explanation.values[chosen])
    labels = explanation.feature_labels.get(chosen)
    numbers = None if labels is None else stacked(labels)
    is_named = explanation.feature_values is not None and numbers is not None
    if is_named and numbers is not None and bool((numbers == numbers[:, :1]).all()):
        return None  # whole channels or whole inputs: a bar for each says more
    shown = np.sort(np.argsort(-np.abs(values).max(axis=1), kind="stable")[:MOST_CHANNELS])
    channels = sample.channels if len(sample.channels) == len(values) else ()
    feed, errors = sample.feeds.get(chosen), (explanation.standard_error or {}).get(chosen)
    has_numbers = feed is not None and feed.size == values.size and feed.dtype.kind in "fiub"
    signal = _recorded(stacked(feed).astype(np.float64), sample)[shown] if has_numbers and feed is not None else None
    error = stacked(errors)[shown] if errors is not None and errors.size == values.size else None
    return Signals(
        chosen,
        values[shown],
        signal,
        error,
        tuple(channels[k] for k in shown) if channels else tuple(f"input {k}" for k in shown),
        sample.rate,
        len(values) - len(shown),
        [] if numbers is None else (np.flatnonzero((np.diff(numbers, axis=1) != 0).any(axis=0)) + 1).tolist(),
    )


def _recorded(signal: np.ndarray, sample: Sample) -> np.ndarray:
    """Return the numbers (channels, T) of a series as its file has them."""
    scaling = scaling_of(sample.preprocessing.get("scaling"))
    return scaling.undone(signal.T).T if scaling is not None and scaling.channels in {1, len(signal)} else signal


def _stacker(explanation: Explanation, name: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what brings arrays of an input into the shape (channels, T); None where it is no series of a few."""
    sample, shape = explanation.sample, explanation.values[name].shape
    layout = str(sample.preprocessing.get("layout", "")) if sample is not None else ""
    if sample is not None and sample.series_input and "T" in layout:
        letters = layout if len(layout) == len(shape) else layout.replace("N", "")
        if len(letters) == len(shape) and set(letters) <= set("NCT"):
            time = letters.index("T")
            return lambda array: np.moveaxis(_whole(array, shape), time, -1).reshape(-1, shape[time])
    long = [n for n in shape if n > 1]
    if len(long) == 1:
        return lambda array: _whole(array, shape).reshape(1, -1)
    if len(long) != 2 or min(long) > MOST_CHANNELS:
        return None
    if long[0] <= MOST_CHANNELS:
        return lambda array: _whole(array, shape).reshape(long)
    return lambda array: _whole(array, shape).reshape(long).T


def _whole(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array in the shape of the values: features are the same along some axes, feeds may have one more."""
    if array.size == int(np.prod(shape)) and array.shape != shape:
        lead = array.ndim == len(shape) and sorted(array.shape) == sorted(shape) and array.shape[0] == 1
        if lead:  # the engine's batch axis first, where the model has it elsewhere
            return np.moveaxis(array, 0, shape.index(1)).reshape(shape)
        return array.reshape(shape)
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    return np.broadcast_to(array, shape)
