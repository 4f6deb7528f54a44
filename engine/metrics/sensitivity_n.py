"""Sensitivity-n: whether attributions of sets of n features go with the effect of removing them, for each n."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..errors import SettingError
from ..registry import PREDICT, register
from ..settings import Range
from .score import Reading, undefined
from .similarity import pearson
from .subsets import drawn, effects
from .trial import Of, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..masking.features import Features


@register("metric", "sensitivity-n", needs=PREDICT, source="Ancona et al. 2018, arXiv:1711.06104")
@dataclass(frozen=True)
class SensitivityN:
    """Correlation, for sets of n features, between their attribution and the fall of the score; the mean over n.

    For each n: Pearson's ``corr_S(sum_(i in S) phi_i, f(x) - f(x with S replaced by the baseline))``, over all sets of
    n features where there are at most ``samples`` of them, else over random ones. The curve has the correlation by n.
    A size with a single set (all features) has none and is left out of the mean.

    Source: Ancona, Ceolini, Oztireli and Gross 2018, Towards better understanding of gradient-based attribution
    methods, arXiv:1711.06104, section 4.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "correlation of attributions of n features with the effect of removing them, mean over n"
    cost: ClassVar[str] = "sizes x samples + 1"

    features: Annotated[Any, "what is removed; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what replaces removed features: a number, array or name"] = "auto"
    sizes: Annotated[tuple[int, ...] | None, "the sizes n; none: 8 from 1 to 80 % of the features", Range(1)] = None
    samples: Annotated[int, "most sets of a size", Range(2)] = 100
    of: Annotated[Of, "what falls: the explained score, or the class's probability"] = "score"

    def score(self, trial: Trial) -> Reading:
        """Correlate for each size."""
        features = trial.features(self.features)
        sizes = self._sizes(features)
        counts = [_at_most(self.samples, features.size, n) for n in sizes]
        sets = (part for n in sizes for part in self._sets(trial, features, n))
        found = effects(trial, features, self.baseline, self.of, sets, sum(counts))
        ends = np.cumsum([0, *counts])
        parts = [
            dataclasses.replace(found, sums=found.sums[a:b], drops=found.drops[a:b])
            for a, b in itertools.pairwise(ends.tolist())
        ]
        y = np.array([math.nan if p.trouble else pearson(p.sums, p.drops) for p in parts])
        named = {f"n={n}": value for n, value in zip(sizes, y.tolist(), strict=True)}
        if not np.isfinite(y).any():
            return undefined(next(p.trouble for p in parts), parts=named)
        lost = [str(n) for n, value in zip(sizes, y, strict=True) if not np.isfinite(value)]
        notes = (f"no correlation for n = {', '.join(lost)}",) if lost else ()
        known = np.isfinite(y)
        return Reading(float(y[known].mean()), (np.array(sizes, float)[known], y[known]), parts=named, notes=notes)

    def _sizes(self, features: Features) -> list[int]:
        if self.sizes is None:
            return [int(n) for n in np.unique(np.rint(np.geomspace(1, max(1, 0.8 * features.size), 8)))]
        if not self.sizes or max(self.sizes) > features.size:
            raise SettingError(f"sensitivity-n.sizes are numbers from 1 to that of all features, {features.size}")
        return sorted(set(self.sizes))

    def _sets(self, trial: Trial, features: Features, n: int) -> Iterator[np.ndarray]:
        if _at_most(self.samples + 1, features.size, n) > self.samples:
            yield from drawn(trial.rng(n), features.size, n, self.samples)
            return
        every = list(itertools.combinations(range(features.size), n))
        rows = np.zeros((len(every), features.size), dtype=bool)
        rows[np.repeat(np.arange(len(every)), n), np.array(every).ravel()] = True
        yield rows


def _at_most(limit: int, size: int, n: int) -> int:
    """Return how many sets of n there are, or ``limit`` if there are more; the exact number may have 10,000 digits."""
    few = min(n, size - n)
    return min(limit, math.comb(size, few)) if few < 1 or size <= limit else limit
