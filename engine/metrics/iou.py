"""IoU: how well the mask and what stands out of the map cover each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .masks import needed
from .score import Reading, undefined
from .similarity import is_constant

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "iou", needs=PREDICT, source="Zhou et al. 2016, arXiv:1512.04150")
@dataclass(frozen=True)
class Iou:
    """Intersection over union of the mask and the pixels above a share of the map's maximum.

    ``|A and M| / |A or M|`` with ``A = map > threshold max(map)``; without a threshold, A holds as many of the highest
    pixels as the mask has.

    Source: Zhou, Khosla, Lapedriza, Oliva and Torralba 2016, arXiv:1512.04150, section 3.2 (threshold 0.2).
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "intersection over union of the mask and what stands out of the map"
    cost: ClassVar[str] = "none"
    needs_mask: ClassVar[bool] = True

    threshold: Annotated[float | None, "share of the maximum; none: as many pixels as the mask has", Range(0, 1)] = None

    def score(self, trial: Trial) -> Reading:
        """Cut the map off and compare."""
        mask, found = needed(trial), trial.map
        if is_constant(found):
            return undefined("the map is constant: nothing stands out")
        if self.threshold is None:
            places = np.argsort(-found.ravel(), kind="stable")[: int(mask.sum())]
            above = np.isin(np.arange(found.size), places).reshape(found.shape)
        elif found.max() <= 0:
            return undefined("nothing in the map is positive")
        else:
            above = found > self.threshold * found.max()
        return Reading(float((above & mask).sum() / (above | mask).sum()))
