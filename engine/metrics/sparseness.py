"""Sparseness: how unequally the attributions are spread (Gini index)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..registry import PREDICT, register
from .removal import ALONE
from .score import Reading, undefined

if TYPE_CHECKING:
    from .trial import Trial

NOTHING = "the map is zero everywhere"


@register(
    "metric", "sparseness", needs=PREDICT, source="Chalasani et al. 2020, arXiv:1810.06583; Hurley & Rickard 2009"
)
@dataclass(frozen=True)
class Sparseness:
    """Gini index of the magnitudes: 0 where all are equal, (M - 1) / M where a single one is not 0.

    ``G = sum_i (2 i - M - 1) a_i / (M sum a)`` with magnitudes a in ascending order, i from 1. A map of zeros has none,
    for which some libraries give 0, nor has a single feature, which is spread evenly and all on one at a time.

    Source: Hurley and Rickard 2009, Comparing measures of sparsity; Chalasani et al. 2020, Concise explanations of
    neural networks using adversarial training, arXiv:1810.06583.
    """

    better: ClassVar[str | None] = None
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "Gini index of magnitudes: 0 evenly spread, towards 1 on few features"
    cost: ClassVar[str] = "none"

    features: Annotated[Any, "what is counted; auto: pixels of images"] = "auto"

    def score(self, trial: Trial) -> Reading:
        """Sort and weigh."""
        a = np.sort(np.abs(trial.levels(trial.features(self.features))))
        if not a.sum() or a.size == 1:
            return undefined(ALONE if a.size == 1 else NOTHING)
        places = np.arange(1, a.size + 1)
        return Reading(float(((2 * places - a.size - 1) * a).sum() / (a.size * a.sum())))
