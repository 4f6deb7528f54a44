"""Features of a series: windows of time, over all channels or of each channel by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from ..files import excerpt
from .features import Features
from .partitions import cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layout import MaskedInput


def windows(entry: MaskedInput, count: int, *, by_channel: bool = False) -> Features:
    """Cut a series into ``count`` windows of time whose lengths differ by one step at most.

    Step t of T lies in window floor(t * count / T). A window covers all channels, or with ``by_channel`` there are
    that many of each channel. SettingError if there are more windows than steps.
    """
    (axis,) = entry.axes("T")
    steps = entry.feed.shape[axis]
    if count > steps:
        raise SettingError(
            f"{count} windows are more than input '{excerpt(entry.name)}' has steps: {steps}",
            tip=f"'windows:{steps}' would make every step a feature",
        )
    of_step = cells(steps, count)
    spans = window_names(of_step, count, entry.rate)
    labels = _along(of_step, axis, entry.feed.ndim)
    if not by_channel:
        return Features(spans, {entry.name: labels}, "windows")
    places = entry.axes("C")
    if not places:
        raise SettingError(
            f"input {entry} has no axis of channels", tip="use 'windows', or give the layout in the spec"
        )
    channels = entry.feed.shape[places[0]]
    labels = labels + count * _along(np.arange(channels, dtype=np.int64), places[0], entry.feed.ndim)
    names = tuple(f"{channel}, {span}" for channel in channel_names(entry.channels, channels) for span in spans)
    return Features(names, {entry.name: labels}, "windows")


def window_names(of_step: np.ndarray, count: int, rate: float) -> tuple[str, ...]:
    """Return what each window is called: ``0.5-0.75 s`` where the rate is known, else ``steps 8-15`` (both included).

    >>> window_names(np.array([0, 0, 1]), 2, 0.0)
    ('steps 0-1', 'step 2')
    >>> window_names(np.array([0, 0, 1]), 2, 4.0)
    ('0-0.5 s', '0.5-0.75 s')
    """
    ends = np.searchsorted(of_step, np.arange(count + 1))
    pairs = [(int(a), int(b)) for a, b in pairwise(ends)]
    if rate:
        digits = _digits([end / rate for end in ends.tolist()])
        return tuple(f"{_seconds(a / rate, digits)}-{_seconds(b / rate, digits)} s" for a, b in pairs)
    return tuple(f"steps {a}-{b - 1}" if b - a > 1 else f"step {a}" for a, b in pairs)


def _digits(times: Sequence[float]) -> int:
    """Return how many decimals keep times apart that differ, with a digit to spare."""
    step = min((b - a for a, b in pairwise(times)), default=1.0)
    return max(0, min(9, int(np.ceil(-np.log10(step))) + 1)) if step > 0 else 3


def _seconds(time: float, digits: int) -> str:
    text = f"{time:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def channel_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return a name per channel: those that are known, else ``channel 0`` and so on."""
    return tuple(names) if len(names) == count else tuple(f"channel {number}" for number in range(count))


def _along(labels: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Give a row of labels the axes of a feed, of size one elsewhere."""
    shape = [1] * rank
    shape[axis] = labels.size
    return labels.reshape(shape)
