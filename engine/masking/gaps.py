"""What stands in for a gap in a series: the straight line from the last step before it to the first after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

AT_A_TIME = 1 << 18  # numbers of masks that are looked at in one go, so that they stay in the cache


class Gaps:
    """One series, made ready for masking by interpolation along its axis of time.

    ``feed`` is (1, ...) of floats, ``axis`` its axis of time. ``write`` fills ``out`` (B, R, ...): the feed where the
    mask is one; where it is zero, the line between the nearest steps before and after that are there, or the value of
    the only one of them at the ends. Each channel has its own gaps if the mask says so. Where no step of a channel is
    there, it is ``without`` (R, ...). A step that is partly there counts as there from one half on, and is mixed with
    the line.
    """

    def __init__(self, feed: np.ndarray, axis: int, without: np.ndarray) -> None:
        self._axis = axis
        series = np.moveaxis(feed, axis, -1)
        self._shape = series.shape[1:]
        self._series = series.reshape(-1, series.shape[-1]).astype(np.float64)
        self._without = np.moveaxis(without, axis, -1).reshape(len(without), -1, series.shape[-1])

    def write(self, mask: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` (B, R, ...) from a mask (B, 1, ...) that broadcasts to it."""
        moved = np.moveaxis(mask[:, 0], self._axis, -1)
        shared = all(size == 1 for size in moved.shape[1:-1])
        wanted = (*moved.shape[:-1], self._shape[-1]) if shared else (len(moved), *self._shape)
        moved = np.broadcast_to(moved, wanted).reshape(len(moved), -1, self._shape[-1])
        target = np.moveaxis(out, self._axis + 1, -1)
        filled = np.empty((len(moved), *self._series.shape), dtype=out.dtype)
        at_a_time = max(1, AT_A_TIME // self._series.shape[-1])
        for start in range(0, len(moved), at_a_time):
            part = slice(start, start + at_a_time)
            holes: _Holes | None = None
            for channel, series in enumerate(self._series):
                if holes is None or not shared:
                    holes = _Holes.of(moved[part, 0 if shared else channel])
                holes.fill(series, filled[part, channel])
        nothing = np.logical_not(_there(moved).any(axis=-1, keepdims=True))
        for reference, without in enumerate(self._without):
            target[:, reference] = np.where(nothing, without, filled).reshape(len(moved), *self._shape)


def _there(mask: np.ndarray) -> np.ndarray:
    """Return which steps count as there."""
    return mask if mask.dtype == np.bool_ else mask >= 0.5


@dataclass(frozen=True)
class _Holes:
    """The gaps in masks (B, T), in the order of their rows: each from step ``begins`` to before ``ends``.

    ``place`` has a number per absent step, in C order: how far along its gap it is, between 0 and 1.
    """

    mask: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> _Holes:
        """Find the gaps of masks."""
        there = _there(mask)
        padded = np.ones((len(mask), mask.shape[1] + 2), dtype=np.int8)
        padded[:, 1:-1] = there
        edges = np.diff(padded, axis=1)
        begins, ends = np.nonzero(edges == -1)[1], np.nonzero(edges == 1)[1]
        lengths = ends - begins
        first = np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = (np.arange(1, len(first) + 1) - first) / np.repeat(lengths + 1, lengths)
        return cls(mask, begins, ends, place)

    def fill(self, series: np.ndarray, out: np.ndarray) -> None:
        """Write the series (T,) into ``out`` (B, T), its gaps filled; rows in which no step is there hold anything."""
        before, after = np.maximum(self.begins - 1, 0), np.minimum(self.ends, len(series) - 1)
        low = series[np.where(self.begins > 0, before, after)]
        high = series[np.where(self.ends < len(series), after, before)]
        lengths = self.ends - self.begins
        line = np.repeat(low, lengths) + self.place * np.repeat(high - low, lengths)
        out[...] = series
        out[~_there(self.mask)] = line
        if self.mask.dtype != np.bool_:
            out[...] = self.mask * series + (1 - self.mask) * out
