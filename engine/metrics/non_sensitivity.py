"""Non-sensitivity: whether features without attribution really do not matter, and the others do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .faithfulness_estimate import singles
from .removal import ROUNDING
from .score import Reading, undefined
from .subsets import CONSTANT_DROPS, effects
from .trial import Of, Trial


@register("metric", "non-sensitivity", needs=PREDICT, source="Nguyen & Martinez 2020, arXiv:2007.07584")
@dataclass(frozen=True)
class NonSensitivity:
    """Share of features that have no attribution and yet matter, or have one and do not matter.

    A feature has none where ``|phi_i| <= epsilon max|phi|``, and does not matter where removing it moves the score by
    at most ``epsilon`` of the largest such move. 0 is perfect. The paper counts; this is the count divided by M.

    Source: Nguyen and Martinez 2020, On quantitative aspects of model interpretability, arXiv:2007.07584.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of features without attribution that matter, or with attribution that do not"
    cost: ClassVar[str] = "features + 1"

    features: Annotated[Any, "what is removed; auto: a grid of 14 by 14 cells of images"] = "auto"
    baseline: Annotated[Any, "what replaces a removed feature: a number, array or name"] = "auto"
    epsilon: Annotated[float, "share of the largest that counts as nothing", Range(0, 1)] = 1e-5
    of: Annotated[Of, "what moves: the explained score, or the class's probability"] = "score"

    def score(self, trial: Trial) -> Reading:
        """Remove one feature at a time and compare."""
        features = trial.features(self.features, "grid:14")
        found = effects(trial, features, self.baseline, self.of, singles(features), features.size)
        if not found.moves:
            return undefined(CONSTANT_DROPS)
        phi, drops = np.abs(found.sums), np.abs(found.drops)
        silent = phi <= self.epsilon * phi.max()
        idle = drops <= max(self.epsilon * drops.max(), ROUNDING * abs(found.score))
        parts = {
            "silent but matter": float((silent & ~idle).sum()),
            "loud but idle": float((idle & ~silent).sum()),
        }
        return Reading(float((silent != idle).mean()), parts=parts)
