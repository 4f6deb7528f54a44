"""Scaling: how the numbers of a series in a file become those that a model takes, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaling:
    """``(x * scale - mean) / std``; ``mean`` and ``std`` hold one number, or one per channel in the model's order.

    SettingError if the fields are out of range or contradict each other.

    >>> Scaling(mean=(1.0,), std=(2.0,)).applied(np.array([[5.0]]))
    array([[2.]])
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        message = self._contradiction()
        if message:
            raise SettingError(message, where="preprocessing")

    def _contradiction(self) -> str:
        """Say what is wrong with the fields; empty if nothing is."""
        if not self.mean or not self.std or len({1, len(self.mean), len(self.std)}) > 2:
            return f"mean has {len(self.mean)} values and std {len(self.std)}; it is one, or one per channel"
        return contradiction(self.scale, self.mean, self.std)

    @property
    def channels(self) -> int:
        """The number of channels that it is for, 1 if it is for any."""
        return max(len(self.mean), len(self.std))

    def applied(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (steps, channels) as the model takes them."""
        found: NDArray[np.float64] = (values * self.scale - np.array(self.mean)) / np.array(self.std)
        return found

    def undone(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (steps, channels) as the file has them."""
        found: NDArray[np.float64] = (values * np.array(self.std) + np.array(self.mean)) / self.scale
        return found


def scaling_of(kept: Any) -> Scaling | None:
    """Return the scaling that a file says a sample was prepared with, None where it says none that makes sense."""
    if not isinstance(kept, dict) or kept.keys() != {"scale", "mean", "std"}:
        return None
    numbers = (kept["scale"], *kept["mean"], *kept["std"]) if all(_is_list(kept[n]) for n in ("mean", "std")) else ("",)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return None
    try:
        return Scaling(kept["scale"], tuple(kept["mean"]), tuple(kept["std"]))
    except SettingError:
        return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def contradiction(scale: float, mean: Sequence[float], std: Sequence[float]) -> str:
    """Say why numbers cannot be scaled by these; empty if they can."""
    if not all(math.isfinite(value) for value in (scale, *mean, *std)):
        return "scale, mean and std must be finite"
    return "scale and std must not be 0" if scale == 0 or 0 in std else ""
