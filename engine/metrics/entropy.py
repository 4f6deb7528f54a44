"""Entropy: how widely the attributions are spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..registry import PREDICT, register
from .score import Reading, undefined
from .sparseness import NOTHING

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "entropy", needs=PREDICT, source="Bhatt et al. 2020, arXiv:2005.00631")
@dataclass(frozen=True)
class Entropy:
    """Entropy of the shares that features have of the total magnitude, in nats: ln M where all are equal.

    ``- sum_i p_i ln p_i`` with ``p_i = |phi_i| / sum_j |phi_j|``: complexity in the paper. The part ``relative`` is
    divided by ln M.

    Source: Bhatt, Weller and Moura 2020, arXiv:2005.00631, definition 4.
    """

    better: ClassVar[str | None] = None
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "entropy of the shares of the magnitude, in nats: 0 for one feature, ln M for all alike"
    cost: ClassVar[str] = "none"

    features: Annotated[Any, "what is counted; auto: pixels of images"] = "auto"

    def score(self, trial: Trial) -> Reading:
        """Share out and take the entropy."""
        a = np.abs(trial.levels(trial.features(self.features)))
        if not a.sum():
            return undefined(NOTHING)
        p = a[a > 0] / a.sum()
        found = max(0.0, float(-(p * np.log(p)).sum()))
        return Reading(found, parts={"relative": found / math.log(a.size)} if a.size > 1 else {})
