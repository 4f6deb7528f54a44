"""Deletion: how fast the score falls as the most important features are taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .removal import Area, Rank, area_under, is_still, ranked_curve
from .score import Reading, undefined
from .trial import Of, Trial  # noqa: TC001 - settings are read from annotations


@dataclass(frozen=True)
class AreaUnderCurve:
    """What deletion and insertion have in common: their settings, and the area under the curve of scores."""

    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    cost: ClassVar[str] = "steps + 1"
    inserts: ClassVar[bool] = False

    features: Annotated[Any, "what goes; auto: pixels of images, what methods take by default elsewhere"] = "auto"
    baseline: Annotated[Any, "what stands where features are absent: a number, array or name (blur:3)"] = "auto"
    steps: Annotated[int, "most steps; features go in groups of equal size", Range(1, 100_000)] = 224
    step: Annotated[int | None, "how many features go at a time, instead of a number of steps", Range(1)] = None
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    of: Annotated[Of, "what is measured; auto: the probability of the class where there is one, else the score"] = (
        "auto"
    )
    area: Annotated[Area, "trapezoids, trapezoids of equal steps, or the plain mean of the points"] = "trapezoid"
    normalise: Annotated[bool, "scale so that f(x) is 1 and f(baseline) is 0"] = False

    def score(self, trial: Trial) -> Reading:
        """Remove or put in, score, and take the area, raw and normalised."""
        found = ranked_curve(trial, self, insert=self.inserts, step=self.step)
        if isinstance(found, str):
            return undefined(found)
        x, y, full, empty = found
        raw = area_under(x, y, self.area)
        normalised = math.nan if is_still(np.array([full, empty])) else (raw - empty) / (full - empty)
        parts = {"raw": raw, "normalised": normalised, "score": full, "baseline score": empty}
        if not self.normalise:
            return Reading(raw, (x, y), parts=parts, limits=trial.limits_of(self.of))
        if math.isnan(normalised):
            return undefined("input and baseline have the same score: nothing to scale by", curve=(x, y), parts=parts)
        return Reading(normalised, (x, y), parts=parts)


@register("metric", "deletion", needs=PREDICT, source="Petsiuk et al. 2018, arXiv:1806.07421")
@dataclass(frozen=True)
class Deletion(AreaUnderCurve):
    """Area under the score as the features with the highest values are taken away first.

    ``AUC = integral over 0..1 of f(x with the first t M features replaced by the baseline) dt``, by trapezoids, the
    curve from nothing removed to everything removed. Low is good: the score falls at once. ``normalise`` gives
    ``(AUC - f(baseline)) / (f(x) - f(baseline))``, comparable between samples; both are among the parts. Features with
    the same value are removed in the order of their numbers.

    Source: Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421, section 4.2. Their evaluation removes 224 pixels of
    224 x 224 at a time (``step=224``) and puts zeros, the mean colour, in their place.
    """

    better: ClassVar[str | None] = "lower"
    meaning: ClassVar[str] = "mean score while the most important features are removed; 0 to 1 of a probability"
