"""Faithfulness estimate: whether single attributions go with the effect of removing single features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..registry import PREDICT, register
from .score import Reading, undefined
from .similarity import Correlation, correlation_of
from .subsets import effects
from .trial import Of, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..masking.features import Features


@register("metric", "faithfulness-estimate", needs=PREDICT, source="Alvarez-Melis & Jaakkola 2018, arXiv:1806.07538")
@dataclass(frozen=True)
class FaithfulnessEstimate:
    """Correlation between each feature's attribution and the fall of the score without that feature alone.

    ``corr_i(phi_i, f(x) - f(x with i replaced by the baseline))``; one evaluation per feature. 1 is perfect.

    Source: Alvarez-Melis and Jaakkola 2018, Towards robust interpretability with self-explaining neural networks,
    arXiv:1806.07538, section 5.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "correlation of attributions with the effect of removing one feature"
    cost: ClassVar[str] = "features + 1"

    features: Annotated[Any, "what is removed; auto: a grid of 14 by 14 cells of images"] = "auto"
    baseline: Annotated[Any, "what replaces a removed feature: a number, array or name"] = "auto"
    correlation: Annotated[Correlation, "linear (pearson) or of ranks (spearman)"] = "pearson"
    of: Annotated[Of, "what falls: the explained score, or the class's probability"] = "score"

    def score(self, trial: Trial) -> Reading:
        """Remove one feature at a time and correlate."""
        features = trial.features(self.features, "grid:14")
        found = effects(trial, features, self.baseline, self.of, singles(features), features.size)
        if found.trouble:
            return undefined(found.trouble)
        return Reading(correlation_of(self.correlation, found.sums, found.drops))


def singles(features: Features, at_a_time: int = 64) -> Iterator[np.ndarray]:
    """Yield sets of one feature each, in order, as booleans (b, M)."""
    for start in range(0, features.size, at_a_time):
        rows = min(at_a_time, features.size - start)
        chosen = np.zeros((rows, features.size), dtype=bool)
        chosen[np.arange(rows), start + np.arange(rows)] = True
        yield chosen
