"""Average increase: how often the class's probability rises when only what the map marks is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from .kept import kept
from .score import Reading, undefined
from .trial import Of, Trial


@register("metric", "average-increase", needs=PREDICT, source="Chattopadhyay et al. 2018, arXiv:1710.11063")
@dataclass(frozen=True)
class AverageIncrease:
    """1 where the class's probability rises when the input is seen through its map; the mean is the share of samples.

    ``1[Y < O]``, Y being the probability for the input and O that for the input times the map (scaled to 0..1); equal
    ones do not count. The paper gives it in percent.

    Source: Chattopadhyay, Sarkar, Howlader and Balasubramanian 2018, Grad-CAM++, arXiv:1710.11063, section 4.1.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of samples whose probability rises when only what the map marks is shown"
    cost: ClassVar[str] = "2"
    is_share: ClassVar[bool] = True

    features: Annotated[Any, "what the map is laid on; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what shows where the map is 0: a number, array or name"] = "auto"
    rescale: Annotated[bool, "bring the map to 0..1 first"] = True
    of: Annotated[Of, "what rises; auto: the probability where there is one"] = "auto"

    def score(self, trial: Trial) -> Reading:
        """Show the input through its map."""
        found = kept(trial, self.features, self.baseline, self.of, rescale=self.rescale)
        if isinstance(found, str):
            return undefined(found)
        full, shown = found
        return Reading(float(full < shown), parts={"score": full, "seen through the map": shown})
