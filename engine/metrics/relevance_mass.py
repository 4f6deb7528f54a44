"""Relevance mass: which share of the map lies inside the mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..registry import PREDICT, register
from .masks import needed
from .score import Reading, undefined
from .signs import Signs, signed

if TYPE_CHECKING:
    from .trial import Trial

CANCELLED = 1e-12  # of the magnitudes: a smaller sum is what rounding leaves of values that cancel out


@register("metric", "relevance-mass", needs=PREDICT, source="Arras et al. 2022, arXiv:2003.07258")
@dataclass(frozen=True)
class RelevanceMass:
    """Share of the map's values that lies inside the mask: ``sum inside / sum of all``.

    Of the positive values by default, of magnitudes, or of signed values, where it may leave 0 to 1. A map that is the
    same everywhere has the mask's share of the area, which is among the parts.

    Source: Arras, Osman and Samek 2022, CLEVR-XAI, arXiv:2003.07258, relevance mass accuracy.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of the map's values inside the mask"
    cost: ClassVar[str] = "none"
    needs_mask: ClassVar[bool] = True

    signs: Annotated[Signs, "which values count"] = "positive"

    @property
    def limits(self) -> tuple[float, float]:
        """Signed values may add up to anything inside and outside."""
        return (-math.inf, math.inf) if self.signs == "signed" else self.range

    def score(self, trial: Trial) -> Reading:
        """Add up what is inside."""
        mask, found = needed(trial), signed(trial.map, self.signs)
        parts = {"share of the area": float(mask.mean())}
        total = float(found.sum())
        if abs(total) <= CANCELLED * float(np.abs(found).sum()):
            return undefined("the map adds up to 0: there is nothing to have a share of", parts=parts)
        return Reading(float(found[mask].sum()) / total, parts=parts)
