"""Relevance rank: how many of the highest values lie inside the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..registry import PREDICT, register
from .masks import needed
from .score import Reading, undefined
from .signs import Signs, signed
from .similarity import is_constant

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "relevance-rank", needs=PREDICT, source="Arras et al. 2022, arXiv:2003.07258")
@dataclass(frozen=True)
class RelevanceRank:
    """Share of the K highest values that lie inside the mask, K being the size of the mask.

    Of equal values the first in reading order counts. A random map has the mask's share of the area on average.

    Source: Arras, Osman and Samek 2022, CLEVR-XAI, arXiv:2003.07258, relevance rank accuracy.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of the K highest values that lie inside a mask of K pixels"
    cost: ClassVar[str] = "none"
    needs_mask: ClassVar[bool] = True

    signs: Annotated[Signs, "which values count"] = "signed"

    def score(self, trial: Trial) -> Reading:
        """Look where the highest values are."""
        mask, found = needed(trial), signed(trial.map, self.signs)
        if is_constant(found):
            return undefined("the map is constant: it ranks nothing")
        highest = np.argsort(-found.ravel(), kind="stable")[: int(mask.sum())]
        return Reading(float(mask.ravel()[highest].mean()), parts={"share of the area": float(mask.mean())})
