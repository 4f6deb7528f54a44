"""Average drop: how much of the class's probability is lost when only what the map marks is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..registry import PREDICT, register
from .kept import SeenThrough


@register("metric", "average-drop", needs=PREDICT, source="Chattopadhyay et al. 2018, arXiv:1710.11063")
@dataclass(frozen=True)
class AverageDrop(SeenThrough):
    """Percentage of the class's probability that is lost when the input is seen through its map.

    ``100 max(0, Y - O) / Y``, Y being the probability for the input and O that for the input times the map (scaled to
    0..1); the mean over samples. Low is good, but a map that is 1 everywhere has 0: read it with sparseness.

    Source: Chattopadhyay, Sarkar, Howlader and Balasubramanian 2018, Grad-CAM++, arXiv:1710.11063, section 4.1.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    meaning: ClassVar[str] = "percentage of the probability lost when only what the map marks is shown"

    def worth(self, full: float, shown: float) -> float | str:
        """Return the percentage that is lost."""
        if full <= 0:
            return "a share of a score that is not above 0 has no meaning (see 'score')"
        return 100 * max(0.0, full - shown) / full
