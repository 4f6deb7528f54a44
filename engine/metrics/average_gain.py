"""Average gain: how much the class's probability gains when only what the map marks is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..registry import PREDICT, register
from .kept import SeenThrough


@register("metric", "average-gain", needs=PREDICT, source="Zhang et al. 2024, arXiv:2301.07002")
@dataclass(frozen=True)
class AverageGain(SeenThrough):
    """Percentage of the missing probability that is gained when the input is seen through its map.

    ``100 max(0, O - Y) / (1 - Y)``, Y being the probability for the input and O that for the input times the map
    (scaled to 0..1); the mean over samples. The counterpart of average drop.

    Source: Zhang, Torres, Sicre, Avrithis and Ayache 2024, Opti-CAM, arXiv:2301.07002.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    meaning: ClassVar[str] = "percentage of the missing probability gained when only what the map marks is shown"

    def worth(self, full: float, shown: float) -> float | str:
        """Return the percentage that is gained."""
        if not 0 <= full < 1:
            return "only of a score from 0 to below 1 something is missing (see 'score')"
        return 100 * max(0.0, shown - full) / (1 - full)
