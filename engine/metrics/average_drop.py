"""Average drop: how much of the class's probability is lost when only what the map marks is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from .kept import kept
from .score import Reading, undefined
from .trial import Of, Trial


@register("metric", "average-drop", needs=PREDICT, source="Chattopadhyay et al. 2018, arXiv:1710.11063")
@dataclass(frozen=True)
class AverageDrop:
    """Percentage of the class's probability that is lost when the input is seen through its map.

    ``100 max(0, Y - O) / Y``, Y being the probability for the input and O that for the input times the map (scaled to
    0..1); the mean over samples. Low is good, but a map that is 1 everywhere has 0: read it with sparseness.

    Source: Chattopadhyay, Sarkar, Howlader and Balasubramanian 2018, Grad-CAM++, arXiv:1710.11063, section 4.1.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, 100.0)
    meaning: ClassVar[str] = "percentage of the probability lost when only what the map marks is shown"
    cost: ClassVar[str] = "2"

    features: Annotated[Any, "what the map is laid on; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what shows where the map is 0: a number, array or name"] = "auto"
    rescale: Annotated[bool, "bring the map to 0..1 first"] = True
    of: Annotated[Of, "what drops; auto: the probability where there is one"] = "auto"

    def score(self, trial: Trial) -> Reading:
        """Show the input through its map."""
        found = kept(trial, self.features, self.baseline, self.of, rescale=self.rescale)
        if isinstance(found, str):
            return undefined(found)
        full, shown = found
        parts = {"score": full, "seen through the map": shown}
        if full <= 0:
            return undefined(f"a share of a score of {full:.3g} has no meaning; it must be above 0", parts=parts)
        return Reading(100 * max(0.0, full - shown) / full, parts=parts)
