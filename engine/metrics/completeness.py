"""Completeness: whether the attributions add up to the score less that of the baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..errors import CapabilityError
from ..registry import PREDICT, register
from .removal import is_still
from .score import Reading, undefined

if TYPE_CHECKING:
    from ..explanation import Explanation
    from .trial import Trial


@register("metric", "completeness", needs=PREDICT, source="Sundararajan et al. 2017, arXiv:1703.01365")
@dataclass(frozen=True)
class Completeness:
    """Gap between the sum of the attributions and ``f(x) - f(baseline)``, relative to the latter; 0 is complete.

    ``|sum_i phi_i - (f(x) - f(b))| / |f(x) - f(b)|``; the signed gap is among the parts. The baseline is the one that
    the method used; of attributions that came as numbers, the setting ``baseline``. Relevance that flows back from the
    score (lrp) has none: it is compared with what it started from, which it promises to conserve. Methods that promise
    no completeness (grad-cam, rise, occlusion) cannot be measured by it.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, arXiv:1703.01365.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "gap between the attributions' sum and f(x) - f(baseline), relative to the latter"
    cost: ClassVar[str] = "none; 2 for attributions that came as numbers"

    baseline: Annotated[Any, "the baseline of attributions that came as numbers"] = "auto"
    relative: Annotated[bool, "divide by |f(x) - f(baseline)|"] = True

    def score(self, trial: Trial) -> Reading:
        """Add up."""
        if trial.explainer is not None:
            total = _sum_of(trial.explanation)
            full, empty = self._promised(trial.explanation, total)
        else:
            total = float(sum(np.sum(share) for share in trial.attributed.shares.values()))
            game = trial.game(trial.features("elements"), self.baseline, expected=2)
            full, empty = game.full, game.empty
        difference = full - empty
        gap = total - difference
        parts = {"gap": gap, "sum": total, "score difference": difference}
        if not self.relative:
            return Reading(abs(gap), parts=parts)
        if is_still(np.array([full, empty])):
            return undefined("input and baseline have the same score: nothing to be relative to", parts=parts)
        return Reading(abs(gap / difference), parts=parts)

    @staticmethod
    def _promised(found: Explanation, total: float) -> tuple[float, float]:
        """Return the scores whose difference a method's values should add up to; the second is 0 without a baseline."""
        if found.gap is None:
            raise CapabilityError(
                f"{found.method} does not promise completeness: its values need not add up to a score",
                tip="completeness is for kernel-shap, exact-shapley, integrated-gradients and their like",
            )
        return (total - found.gap, 0.0) if found.baseline_score is None else (found.score, found.baseline_score)


def _sum_of(made: Explanation) -> float:
    """Return the sum over all features of an explanation; of all elements, where it has no features."""
    own = made.feature_values
    return float(sum(np.sum(a, dtype=np.float64) for a in made.values.values()) if own is None else np.sum(own))
