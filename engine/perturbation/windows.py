"""Sliding windows over the axes of an input."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, printable
from .axes import size_setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .axes import Axes, Sizes

AUTO_SHARE = 7  # of an axis: the automatic window is this part of it
PLAIN = {"table", "text"}  # modalities whose automatic window is one element


@dataclass(frozen=True)
class Windows:
    """Windows of size ``window`` at every multiple of ``stride``, up to the first that reaches the end of the axis.

    Along an axis of n elements there are 1 + ceil((n - window) / stride); the last one is cut off at the end.
    """

    sizes: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of windows."""
        return math.prod(len(spans) for spans in self._spans())

    def places(self) -> Iterator[tuple[slice, ...]]:
        """Yield the slices of each window, the last axis moving fastest."""
        return itertools.product(*self._spans())

    def coverage(self) -> np.ndarray:
        """Count the windows over each element."""
        counts = []
        for size, spans in zip(self.sizes, self._spans(), strict=True):
            count = np.zeros(size)
            for span in spans:
                count[span] += 1
            counts.append(count)
        return reduce(np.multiply.outer, counts, np.ones(()))

    def _spans(self) -> list[list[slice]]:
        return [
            [slice(k * s, min(k * s + w, n)) for k in range(1 + math.ceil((n - w) / s))]
            for n, w, s in zip(self.sizes, self.window, self.stride, strict=True)
        ]


def windows_over(axes: Axes, window: Sizes, stride: Sizes, method: str) -> Windows:
    """Return the windows that the settings mean for one input.

    A whole number means that size along every axis but the channels'; a tuple has a size per axis, with or without
    the channels'. A window that covers all channels is moved over the other axes only, and its ``sizes`` have 1 in
    the place of the channels. None is one element of a table or a text, else a seventh of each axis; a stride of
    None is half the window. Raises ``SettingError`` where a window is larger than its axis or its stride.
    """
    size = _per_axis(window, axes, f"{method}.window")
    if size is None:
        share = [1 if axes.entry.spec.modality in PLAIN else max(1, round(n / AUTO_SHARE)) for n in axes.sizes]
        size = _with_channels(share, axes)
    for wide, n in zip(size, axes.sizes, strict=True):
        if wide > n:
            raise SettingError(
                f"{method}.window {list(size)} is larger than input {axes}", tip="give a smaller one, or one per axis"
            )
    whole = axes.channel is not None and size[axes.channel] == axes.sizes[axes.channel]
    same = size_setting(stride, axes, f"{method}.stride")
    if isinstance(same, int) and not whole:
        step = (same,) * len(size)
    else:
        step = _per_axis(stride, axes, f"{method}.stride") or tuple(max(1, wide // 2) for wide in size)
    kept = [k for k in range(len(axes.sizes)) if not whole or k != axes.channel]
    for k in kept:
        if step[k] > size[k]:
            raise SettingError(
                f"{method}.stride {list(step)} is larger than the window {list(size)} of input {axes}",
                tip="elements between the windows would have no value",
            )

    def one_channel(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(v if k in kept else 1 for k, v in enumerate(values))

    return Windows(one_channel(axes.sizes), one_channel(size), one_channel(step))


def words_window(name: str, count: int, window: Sizes, stride: Sizes) -> Windows:
    """Return the windows over the ``count`` words of a text; none is one word, and a stride of half the window."""

    def whole(setting: Sizes, key: str) -> int | None:
        value = setting.get(name) if isinstance(setting, dict) else setting
        if isinstance(value, tuple | list):
            value = value[0] if len(value) == 1 else 0
        if value is not None and not (type(value) is int and 1 <= value <= count):
            raise SettingError(f"occlusion.{key} is a number of words, 1 to {count} here, not {printable(value)[:60]}")
        return value

    for setting in (window, stride):
        if isinstance(setting, dict) and setting.keys() - {name}:
            raise SettingError(
                "a text is explained word by word", tip=f"give one number, or {{'{printable(name)}': 3}}"
            )
    wide = whole(window, "window") or 1
    step = whole(stride, "stride") or max(1, wide // 2)
    if step > wide:
        raise SettingError(
            f"occlusion.stride {step} is larger than the window of {wide} words",
            tip="words between the windows would have no value",
        )
    return Windows((count,), (wide,), (step,))


def _per_axis(setting: Sizes, axes: Axes, where: str) -> tuple[int, ...] | None:
    given = size_setting(setting, axes, where)
    if given is None:
        return None
    if isinstance(given, int):
        return _with_channels([given] * len(axes.sizes), axes)
    if len(given) == len(axes.sizes):
        return given
    if axes.channel is not None and len(given) == len(axes.spatial):
        return _with_channels([*given[: axes.channel], 0, *given[axes.channel :]], axes)
    raise SettingError(
        f"{where} has {len(given)} sizes, input {axes} has {len(axes.sizes)} axes",
        tip="give one number, or one per axis without the batch axis",
    )


def _with_channels(sizes: list[int], axes: Axes) -> tuple[int, ...]:
    """Put the number of channels in the channels' place."""
    return tuple(axes.sizes[k] if k == axes.channel else size for k, size in enumerate(sizes))
