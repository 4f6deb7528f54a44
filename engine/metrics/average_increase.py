"""Average increase: how often the class's probability rises when only what the map marks is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..registry import PREDICT, register
from .kept import SeenThrough


@register("metric", "average-increase", needs=PREDICT, source="Chattopadhyay et al. 2018, arXiv:1710.11063")
@dataclass(frozen=True)
class AverageIncrease(SeenThrough):
    """1 where the class's probability rises when the input is seen through its map; the mean is the share of samples.

    ``1[Y < O]``, Y being the probability for the input and O that for the input times the map (scaled to 0..1); equal
    ones do not count. The paper gives it in percent.

    Source: Chattopadhyay, Sarkar, Howlader and Balasubramanian 2018, Grad-CAM++, arXiv:1710.11063, section 4.1.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of samples whose probability rises when only what the map marks is shown"
    is_share: ClassVar[bool] = True

    def worth(self, full: float, shown: float) -> float | str:
        """Return 1 where it rises."""
        return float(full < shown)
