"""Average gain: how much the class's probability gains when only what the map marks is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from .kept import kept
from .score import Reading, undefined
from .trial import Of, Trial


@register("metric", "average-gain", needs=PREDICT, source="Zhang et al. 2024, arXiv:2301.07002")
@dataclass(frozen=True)
class AverageGain:
    """Percentage of the missing probability that is gained when the input is seen through its map.

    ``100 max(0, O - Y) / (1 - Y)``, Y being the probability for the input and O that for the input times the map
    (scaled to 0..1); the mean over samples. The counterpart of average drop.

    Source: Zhang, Torres, Sicre, Avrithis and Ayache 2024, Opti-CAM, arXiv:2301.07002.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    meaning: ClassVar[str] = "percentage of the missing probability gained when only what the map marks is shown"
    cost: ClassVar[str] = "2"

    features: Annotated[Any, "what the map is laid on; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what shows where the map is 0: a number, array or name"] = "auto"
    rescale: Annotated[bool, "bring the map to 0..1 first"] = True
    of: Annotated[Of, "what gains; auto: the probability where there is one"] = "auto"

    def score(self, trial: Trial) -> Reading:
        """Show the input through its map."""
        found = kept(trial, self.features, self.baseline, self.of, rescale=self.rescale)
        if isinstance(found, str):
            return undefined(found)
        full, shown = found
        parts = {"score": full, "seen through the map": shown}
        if not 0 <= full < 1:
            return undefined(
                f"what is missing of a score of {full:.3g} has no meaning; it must be from 0 to 1", parts=parts
            )
        return Reading(100 * max(0.0, shown - full) / (1 - full), parts=parts)
