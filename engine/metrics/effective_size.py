"""Effective size: how many features the attributions amount to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .score import Reading, undefined
from .similarity import near_one
from .sparseness import NOTHING

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "effective-size", needs=PREDICT, source="Hill 1973, doi:10.2307/1934352")
@dataclass(frozen=True)
class EffectiveSize:
    """The number of features that would have to be equal to be as spread as these: from 1 to M.

    ``participation``: ``(sum a)^2 / sum a^2`` of the magnitudes a, which is k where k features are equal and the others
    0. ``threshold``: how many magnitudes are above a share of the largest, which some libraries call effective
    complexity; that of Nguyen and Martinez 2020 counts the features that the prediction needs, as ``insertion`` shows.

    Source: Hill 1973, Diversity and evenness: a unifying notation and its consequences (the number of order 2).
    """

    better: ClassVar[str | None] = None
    range: ClassVar[tuple[float, float]] = (1.0, math.inf)
    meaning: ClassVar[str] = "number of features that the attributions amount to"
    cost: ClassVar[str] = "none"

    features: Annotated[Any, "what is counted; auto: pixels of images"] = "auto"
    by: Annotated[Literal["participation", "threshold"], "how features are counted"] = "participation"
    threshold: Annotated[float, "share of the largest magnitude that counts", Range(0, 1)] = 0.1

    def score(self, trial: Trial) -> Reading:
        """Count."""
        a = np.abs(trial.levels(trial.features(self.features)))
        if not a.sum():
            return undefined(NOTHING)
        if self.by == "threshold":
            found = float((a > self.threshold * a.max()).sum())
        else:
            a = near_one(a)
            found = float(a.sum() ** 2 / (a**2).sum())
        return Reading(found, parts={"share of the features": found / a.size})
