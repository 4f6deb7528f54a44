"""Pixel flipping: the score as single pixels are replaced, the most relevant ones first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from ..settings import Range
from .removal import Order, Rank, area_under, ranked_curve
from .score import Reading, undefined
from .trial import Of, Trial


@register("metric", "pixel-flipping", needs=PREDICT, source="Bach et al. 2015, doi:10.1371/journal.pone.0130140")
@dataclass(frozen=True)
class PixelFlipping:
    """Mean score while a share of the pixels is replaced, the most relevant ones first (or the least relevant ones).

    The curve is the explained score against the share of replaced pixels; its value is the area under it divided by
    its length. Low is good for ``order=most``, high for ``order=least``. Unlike ``deletion`` it follows the explained
    score itself, and by default stops when a fifth is replaced: the pixels that an explanation is about.

    Source: Bach, Binder, Montavon, Klauschen, Mueller and Samek 2015, On pixel-wise explanations, section "Pixel-wise
    flipping"; they invert binary pixels, for which ``baseline`` takes an array.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    meaning: ClassVar[str] = "mean score while the most relevant pixels are replaced"
    cost: ClassVar[str] = "steps + 2"

    features: Annotated[Any, "what is replaced; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what replaces them: a number, array or name"] = "auto"
    share: Annotated[float, "the share of features that is replaced in the end", Range(0.001, 1)] = 0.2
    steps: Annotated[int, "most steps", Range(1, 100_000)] = 100
    order: Annotated[Order, "the most or the least relevant first"] = "most"
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    of: Annotated[Of, "what falls: the explained score, or the class's probability"] = "score"

    @property
    def direction(self) -> str:
        """Which end is good: the score should fall fast, or slowly where the least relevant pixels go first."""
        return "lower" if self.order == "most" else "higher"

    def score(self, trial: Trial) -> Reading:
        """Replace, score, and take the mean."""
        found = ranked_curve(trial, self, order=self.order, share=self.share)
        if isinstance(found, str):
            return undefined(found)
        x, y, full, _ = found
        parts = {"score": full, "at the end": float(y[-1])}
        return Reading(area_under(x, y, "trapezoid"), (x, y), parts=parts, limits=trial.limits_of(self.of))
