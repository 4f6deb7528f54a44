"""How alike two maps are: rank and linear correlations, SSIM, HOG, distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from ..errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable

Likeness = Literal[
    "spearman", "absolute-spearman", "pearson", "kendall", "cosine", "ssim", "raw-ssim", "hog", "l1", "l2", "mse"
]
Correlation = Literal["pearson", "spearman"]
DISTANCES = frozenset({"l1", "l2", "mse"})
WINDOW = 7  # pixels, of SSIM; smaller maps get one window over all
HOG_CELLS = 8  # along each side, at most
LEAST_SIDE = 2 * HOG_CELLS  # pixels, of maps that HOG compares


def likeness(a: np.ndarray, b: np.ndarray, kind: Likeness) -> float:
    """Return how alike two maps of the same shape are; NaN where that is undefined (a constant map, for instance).

    ``spearman``, ``pearson``, ``kendall`` and ``cosine`` compare values in [-1, 1]; ``absolute-spearman`` compares
    magnitudes. ``ssim`` and ``hog`` are of pictures, each map scaled to 0..1 first as in Adebayo et al. 2018;
    ``raw-ssim`` takes maps as they are, for those that lie in 0..1 already. ``l1``, ``l2`` and ``mse`` are distances of
    the raw values: 0 for equal maps.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return _KINDS[kind](x, y)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear correlation; NaN where one side is constant or there is one value only.

    >>> import numpy as np
    >>> round(pearson(np.array([-1.0, 1, 1]), np.array([0.0, 0, 2])), 6)
    0.5
    """
    x, y = x.ravel(), y.ravel()
    if x.size < 2 or is_constant(x) or is_constant(y):
        return math.nan
    x, y = (a - a.mean() for a in map(near_one, (x, y)))
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / norm, -1.0, 1.0)) if norm > 0 else math.nan


def near_one(x: np.ndarray) -> np.ndarray:
    """Return numbers divided by a power of two, the largest magnitude near 1: squares neither overflow nor vanish.

    >>> import numpy as np
    >>> near_one(np.array([3.0, -6.0])).tolist()
    [0.375, -0.75]
    """
    _, exponent = np.frexp(np.abs(x).max())
    return np.asarray(np.ldexp(x, -exponent))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation, ties at their mean rank; NaN as for ``pearson``: rounding has no order."""
    return math.nan if is_constant(x) or is_constant(y) else pearson(_ranks(x.ravel()), _ranks(y.ravel()))


def correlation_of(kind: Correlation, x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear or rank correlation; NaN where it is undefined."""
    return pearson(x, y) if kind == "pearson" else spearman(x, y)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Return ranks from 1, equal values at their mean rank; scipy.stats takes half a second to import."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    means: np.ndarray = np.cumsum(counts) - (counts - 1) / 2
    return means[place]


def is_constant(values: np.ndarray) -> bool:
    """Say whether all values are the same but for rounding."""
    if not values.size:
        return True
    low, high = float(values.min()), float(values.max())
    return high - low <= 1e-12 * max(abs(low), abs(high))


def ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean structural similarity of two maps in 0..1 (data range 1, C1 = 0.01^2, C2 = 0.03^2).

    Windows of 7 pixels, uniform, sample covariance, as scikit-image has it; a map with a shorter side gets one window.
    Source: Wang et al. 2004, eq. 13.
    """
    if x.ndim == 2 and min(x.shape) >= WINDOW:
        from skimage.metrics import structural_similarity

        measure: Callable[..., float] = structural_similarity
        return float(measure(x, y, win_size=WINDOW, data_range=1.0))
    if x.size < 2:
        return math.nan
    covariance = np.cov(x.ravel(), y.ravel())
    c1, c2, mx, my = 0.01**2, 0.03**2, x.mean(), y.mean()
    brightness = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    contrast = (2 * covariance[0, 1] + c2) / (covariance[0, 0] + covariance[1, 1] + c2)
    return float(brightness * contrast)


def _absolute_spearman(x: np.ndarray, y: np.ndarray) -> float:
    return spearman(np.abs(x), np.abs(y))


def _kendall(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import kendalltau

    if is_constant(x) or is_constant(y):
        return math.nan
    return float(kendalltau(x.ravel(), y.ravel()).statistic)


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x.ravel() @ y.ravel()) / norm if norm > 0 else math.nan


def _ssim_of_scaled(x: np.ndarray, y: np.ndarray) -> float:
    return math.nan if is_constant(x) or is_constant(y) else ssim(scaled(x), scaled(y))


def _hog(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation of histograms of oriented gradients, Dalal and Triggs 2005."""
    if x.ndim != 2 or min(x.shape) < LEAST_SIDE:
        raise CapabilityError(
            f"HOG compares maps of at least {LEAST_SIDE} x {LEAST_SIDE} pixels, not {x.shape}",
            tip="use the similarity 'spearman' or 'ssim'",
        )
    if is_constant(x) or is_constant(y):
        return math.nan
    from skimage.feature import hog

    cell = (min(x.shape) // HOG_CELLS,) * 2
    describe: Callable[..., np.ndarray] = hog
    return pearson(*(describe(scaled(m), pixels_per_cell=cell, cells_per_block=(2, 2)) for m in (x, y)))


def scaled(x: np.ndarray) -> np.ndarray:
    """Return a map scaled linearly to 0..1; zeros where it is constant."""
    low, high = float(x.min()), float(x.max())
    return (x - low) / (high - low) if high > low else np.zeros_like(x)


_KINDS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "spearman": spearman,
    "absolute-spearman": _absolute_spearman,
    "pearson": pearson,
    "kendall": _kendall,
    "cosine": _cosine,
    "ssim": _ssim_of_scaled,
    "raw-ssim": ssim,
    "hog": _hog,
    "l1": lambda x, y: float(np.abs(x - y).sum()),
    "l2": lambda x, y: float(np.linalg.norm(x - y)),
    "mse": lambda x, y: float(np.mean((x - y) ** 2)),
}


@dataclass(frozen=True)
class Comparing:
    """What metrics that compare maps have in common: how, and what follows for their range and the good end.

    ``better`` of the metric is said of likeness; of distances it is the other end.
    """

    better: ClassVar[str | None] = None
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    similarity: Annotated[Likeness, "how maps are compared; l1, l2 and mse are distances: 0 for equal maps"] = (
        "spearman"
    )

    @property
    def direction(self) -> str | None:
        """Which end is good."""
        if self.similarity not in DISTANCES or self.better is None:
            return self.better
        return {"higher": "lower", "lower": "higher"}[self.better]

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value there can be."""
        return (0.0, math.inf) if self.similarity in DISTANCES else self.range
