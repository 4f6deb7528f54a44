"""Deletion: how fast the score falls as the most important features are taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from ..settings import Range
from .removal import Area, Rank, area_under, ranked_curve
from .score import Reading, undefined
from .trial import Of, Trial


@register("metric", "deletion", needs=PREDICT, source="Petsiuk et al. 2018, arXiv:1806.07421")
@dataclass(frozen=True)
class Deletion:
    """Area under the score as the features with the highest values are taken away first.

    ``AUC = integral over 0..1 of f(x with the first t M features replaced by the baseline) dt``, by trapezoids, the
    curve from nothing removed to everything removed. Low is good: the score falls at once. ``normalise`` gives
    ``(AUC - f(baseline)) / (f(x) - f(baseline))``, comparable between samples; both are among the parts. Features with
    the same value are removed in the order of their numbers.

    Source: Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421, section 4.2. Their evaluation removes 224 pixels of
    224 x 224 at a time and puts zeros, the mean colour, in their place.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    meaning: ClassVar[str] = "mean score while the most important features are removed; 0 to 1 of a probability"
    cost: ClassVar[str] = "steps + 1"

    features: Annotated[Any, "what is removed; auto: pixels of images, what methods take by default elsewhere"] = "auto"
    baseline: Annotated[Any, "what replaces removed features: a number, array or name"] = "auto"
    steps: Annotated[int, "most steps; features are removed in groups of equal size", Range(1, 100_000)] = 224
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    of: Annotated[Of, "what falls: the explained score, or the probability of the class where there is one"] = "auto"
    area: Annotated[Area, "trapezoid, or the plain mean of the points"] = "trapezoid"
    normalise: Annotated[bool, "scale so that f(x) is 1 and f(baseline) is 0"] = False

    def score(self, trial: Trial) -> Reading:
        """Remove, score, and take the area."""
        return area_of(self, trial, insert=False)


def area_of(metric: Any, trial: Trial, *, insert: bool) -> Reading:
    """Return the area under the curve of deletion or insertion, raw and normalised."""
    found = ranked_curve(trial, metric, insert=insert)
    if isinstance(found, str):
        return undefined(found)
    x, y, full, empty = found
    raw = area_under(x, y, metric.area)
    drop = full - empty
    normalised = (raw - empty) / drop if abs(drop) > 1e-12 * max(abs(full), abs(empty)) else math.nan
    parts = {"raw": raw, "normalised": normalised, "score": full, "baseline score": empty}
    if metric.normalise and math.isnan(normalised):
        return undefined("input and baseline have the same score: nothing to scale by", curve=(x, y), parts=parts)
    return Reading(normalised if metric.normalise else raw, (x, y), parts=parts)
