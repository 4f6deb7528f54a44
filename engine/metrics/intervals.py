"""95 % confidence intervals over samples: of a mean (Student's t) and of a share (Wilson)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95
FEWEST = 2  # samples that an interval needs


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the limits ``mean -+ t s / sqrt(n)`` of finite values (n,); None for fewer than two.

    >>> import numpy as np
    >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    if len(values) < FEWEST:
        return None
    middle, spread = float(values.mean()), float(values.std(ddof=1))
    half = _student(len(values) - 1) * spread / math.sqrt(len(values))
    return middle - half, middle + half


def share_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return Wilson's limits of the share of ones among values of 0 and 1; None for fewer than two.

    Unlike the interval of a mean it has a width where all values are equal: ten hits of ten are not certainty.

    >>> import numpy as np
    >>> low, high = share_interval(np.ones(10))
    >>> round(low, 3), round(high, 3)
    (0.722, 1.0)
    """
    n = len(values)
    if n < FEWEST:
        return None
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    share = float(values.mean())
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _student(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
