"""Faithfulness correlation: whether attributions of random sets go with what removing them does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..errors import SettingError
from ..registry import PREDICT, register
from ..settings import Range
from .score import Reading, undefined
from .similarity import Correlation, correlation_of
from .subsets import drawn, effects, given_sets
from .trial import Of, Trial


@register("metric", "faithfulness-correlation", needs=PREDICT, source="Bhatt et al. 2020, arXiv:2005.00631")
@dataclass(frozen=True)
class FaithfulnessCorrelation:
    """Correlation between the attribution of random sets of features and the fall of the score without them.

    ``corr_S(sum_(i in S) phi_i, f(x) - f(x with S replaced by the baseline))`` over random sets S of one size. 1 is
    perfect. Undefined where all falls, or all sums, are equal; other libraries give 0 there.

    Source: Bhatt, Weller and Moura 2020, Evaluating and aggregating feature-based model explanations,
    arXiv:2005.00631, definition 3.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "correlation of attributions of random sets with the effect of removing them"
    cost: ClassVar[str] = "samples + 1"

    features: Annotated[Any, "what is removed; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what replaces removed features: a number, array or name"] = "auto"
    samples: Annotated[int, "number of random sets", Range(2)] = 200
    size: Annotated[float, "features in a set: a share below 1, or a number", Range(0, open_low=True)] = 0.2
    correlation: Annotated[Correlation, "linear (pearson) or of ranks (spearman)"] = "pearson"
    sets: Annotated[Any, "sets to use instead: lists of feature numbers"] = None
    of: Annotated[Of, "what falls: the explained score, or the class's probability"] = "score"
    image: ClassVar[str] = "pixels"

    def score(self, trial: Trial) -> Reading:
        """Remove random sets and correlate."""
        features = trial.features(self.features, self.image)
        if self.sets is None:
            size = self._size(trial.metric, features.size)
            sets, count = drawn(trial.rng(), features.size, size, self.samples), self.samples
        else:
            rows = given_sets(self.sets, features.size, trial.metric)
            sets, count = [rows], len(rows)
        found = effects(trial, features, self.baseline, self.of, sets, count)
        if found.trouble:
            return undefined(found.trouble)
        value = correlation_of(self.correlation, found.sums, found.drops)
        return Reading(value, standard_error=_error(value, count))

    def _size(self, metric: str, features: int) -> int:
        """Return how many features a set has: at least one, and not all of them where there are two."""
        most = max(1, features - 1)
        if self.size >= 1 and round(self.size) > most:
            raise SettingError(f"{metric}.size is {self.size:g}, and a set has at most {most} of {features} features")
        return min(max(1, round(self.size * features if self.size < 1 else self.size)), most)


def _error(value: float, count: int) -> float | None:
    """Return the standard error of a correlation over ``count`` independent pairs, ``(1 - r^2) / sqrt(n - 1)``."""
    return (1 - value**2) / math.sqrt(count - 1) if count > 2 and np.isfinite(value) else None
