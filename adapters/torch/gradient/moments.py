"""Moments: running means and variances of arrays, in memory that does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Moments:
    """Mean and variance of the arrays added so far, in float64, by Welford's recurrence.

    ``mean_n = mean_{n-1} + (a - mean_{n-1}) / n``; ``spread_n = spread_{n-1} + (a - mean_{n-1}) (a - mean_n)``.

    Source: Welford 1962, Note on a Method for Calculating Corrected Sums of Squares and Products.
    """

    count: int = 0
    means: dict[str, np.ndarray] = field(default_factory=dict)
    spreads: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, arrays: dict[str, np.ndarray]) -> None:
        """Take in one array for each name."""
        self.count += 1
        for name, array in arrays.items():
            mean = self.means.setdefault(name, np.zeros(array.shape))
            spread = self.spreads.setdefault(name, np.zeros(array.shape))
            before = array - mean
            mean += before / self.count
            spread += before * (array - mean)

    def variances(self, *, of_sample: bool = False) -> dict[str, np.ndarray]:
        """Return the mean squared distance from the mean, divided by count - 1 with ``of_sample``."""
        return {n: s / max(1, self.count - of_sample) for n, s in self.spreads.items()}

    def standard_errors(self) -> dict[str, np.ndarray]:
        """Return the standard errors of the means."""
        return {n: np.sqrt(v / self.count) for n, v in self.variances(of_sample=True).items()}
