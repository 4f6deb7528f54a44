"""The surrogate of LIME: weighted linear regression fed row by row, with selection of features and standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 1024  # rows in memory at a time as float64
SUMMED_AT_A_TIME = 64  # rows, about
NEGLIGIBLE = 1e-12  # of a column's spread: below it nothing is left that other columns do not explain


@dataclass(frozen=True)
class Surrogate:
    """A fitted surrogate ``intercept + x coefficients``; ``used`` are the places of the columns that it may use.

    ``errors`` are the coefficients' standard errors, zero for columns that are not used. ``r2`` is the weighted
    share of the scores' variance that the surrogate explains (NaN where the scores do not vary).
    """

    coefficients: np.ndarray
    intercept: float
    used: np.ndarray
    errors: np.ndarray
    r2: float


@dataclass(frozen=True)
class Regression:
    """How a surrogate is fitted; see ``Lime`` for the meaning of the fields."""

    kind: str = "ridge"  # ridge or lasso
    penalty: float = 1.0
    select: int | None = None
    selection: str = "forward"  # forward, lasso or largest


class LocalFit:
    """Rows x (N, M) of regressors, each with a weight and a score, and the regressions over them.

    Sums of products are kept, M x M numbers, and the rows themselves (0/1 rows as bits) for the residuals.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0  # rows taken in
        self._mass = 0.0
        self._x = np.zeros(size)  # sum of w x
        self._y = 0.0  # sum of w y, scores counted from ``_zero``
        self._xx = np.zeros((size, size))
        self._xy = np.zeros(size)
        self._zero: float | None = None
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, x: np.ndarray, weights: np.ndarray, scores: np.ndarray) -> None:
        """Take in rows (B, M), booleans or numbers, with their weights (B,) and scores (B,)."""
        if self._zero is None:
            self._zero = float(scores[0])  # scores may be large beside their spread
        self._waiting.append((x, weights, scores - self._zero))
        before = self.count // SUMMED_AT_A_TIME
        self.count += len(scores)
        if self.count // SUMMED_AT_A_TIME > before:
            self._settle()

    def _settle(self) -> None:
        """Add the rows that wait to the sums: one by one that would take as long as to mask them."""
        if not self._waiting:
            return
        x, weights, y = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        wide = x.astype(np.float64)
        weighted = wide * weights[:, None]
        self._mass += float(weights.sum())
        self._x += weighted.sum(axis=0)
        self._y += float(weights @ y)
        self._xx += weighted.T @ wide
        self._xy += weighted.T @ y
        self._kept.append((np.packbits(x, axis=1) if x.dtype == np.bool_ else x, weights, y))

    def solve(self, how: Regression) -> Surrogate:
        """Choose columns, fit them, and look at the residuals."""
        self._settle()
        used = self._chosen(how)
        a, b = (part[used] for part in self._moments())
        a = a[:, used]
        inverse = np.linalg.pinv(
            a + (how.penalty if how.kind == "ridge" else 0.0) * np.eye(len(used)), rcond=NEGLIGIBLE, hermitian=True
        )
        found = inverse @ b
        if how.kind == "lasso":
            found = self._lasso(a, b, how.penalty)
            active = found != 0
            inverse = np.zeros_like(a)
            inverse[np.ix_(active, active)] = np.linalg.pinv(a[np.ix_(active, active)], hermitian=True)
        coefficients = np.zeros(self.size)
        coefficients[used] = found
        middle = float(self._y - self._x @ coefficients) / self._mass
        errors = np.zeros(self.size)
        errors[used], r2 = self._residuals(used, found, middle, inverse)
        return Surrogate(coefficients, middle + (self._zero or 0.0), used, errors, r2)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weighted sums of products of centred columns (M, M), and of columns and scores (M,)."""
        mean = self._x / self._mass
        a, b = self._xx - np.outer(mean, self._x), self._xy - mean * self._y
        still = np.diagonal(a) <= NEGLIGIBLE * np.diagonal(self._xx)  # columns that never change, but for rounding
        a[still], a[:, still], b[still] = 0.0, 0.0, 0.0
        return a, b

    def _chosen(self, how: Regression) -> np.ndarray:
        if how.select is None or how.select >= self.size:
            return np.arange(self.size)
        a, b = self._moments()
        if how.selection == "forward":
            return _forward(a, b, how.select)
        if how.selection == "lasso":
            _, path = self._path(a, b, 0.0)
            fits = np.count_nonzero(path, axis=0) <= how.select
            return np.flatnonzero(path[:, np.flatnonzero(fits)[-1]])
        strong = np.linalg.solve(a + max(how.penalty, 0.01) * np.eye(self.size), b)
        return np.sort(np.argsort(-np.abs(strong), kind="stable")[: how.select])

    def _lasso(self, a: np.ndarray, b: np.ndarray, penalty: float) -> np.ndarray:
        """Return the coefficients that minimise ``sum w (y - x c)² / (2 sum w) + penalty |c|``."""
        _, path = self._path(a, b, penalty)
        return path[:, -1]

    def _path(self, a: np.ndarray, b: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the penalties and coefficients (M, steps) of the lasso path, down to the penalty ``least``."""
        from sklearn.linear_model import lars_path_gram

        if not len(b) or np.abs(b).max() / self._mass <= least:
            return np.array([least]), np.zeros((len(b), 1))
        found: Any = lars_path_gram(
            Xy=b / self._mass, Gram=a / self._mass, n_samples=1, method="lasso", alpha_min=least, return_path=True
        )
        return found[0], np.asarray(found[2])

    def _residuals(
        self, used: np.ndarray, found: np.ndarray, middle: float, inverse: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return the standard errors of the used columns, and the weighted R².

        ``influence_k = w_k e_k A^-1 (x_k - mean) / (1 - h_k)`` is what the coefficients owe to row k, with its residual
        e_k and leverage h_k; the variance is ``N / (N - 1) sum_k (influence_k - mean influence)²``.
        """
        mean = self._x[used] / self._mass
        total, squares = np.zeros((2, len(used)))
        unexplained = 0.0
        for x, w, y in self._rows():
            centred = x[:, used] - mean
            e = y - middle - x[:, used] @ found
            unexplained += float(w @ e**2)
            projected = centred @ inverse
            leverage = w * (1 / self._mass + np.einsum("ki,ki->k", projected, centred))
            influence = projected * (w * e / np.maximum(1 - leverage, 1e-9))[:, None]
            total += influence.sum(axis=0)
            squares += (influence**2).sum(axis=0)
        n = self.count
        if n < 2:
            return np.full(len(used), np.inf), float("nan")
        errors = np.sqrt(np.maximum(squares - total**2 / n, 0.0) * n / (n - 1))
        spread = sum(float(w @ (y - self._y / self._mass) ** 2) for _, w, y in self._kept)
        return errors, 1 - unexplained / spread if spread > 0 else float("nan")

    def _rows(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for x, w, y in self._kept:
            for start in range(0, len(y), BLOCK):
                at = slice(start, start + BLOCK)
                rows = np.unpackbits(x[at], axis=1, count=self.size) if x.dtype == np.uint8 else x[at]
                yield rows.astype(np.float64), w[at], y[at]


def _forward(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """Add, one at a time, the column that lowers the weighted squared error most beside those chosen before.

    With what the chosen columns explain taken out of all others, column j lowers the error by ``b_j² / a_jj``.
    """
    a, b = a.copy(), b.copy()
    least = NEGLIGIBLE * np.diagonal(a).clip(min=np.finfo(np.float64).tiny)
    chosen: list[int] = []
    for _ in range(count):
        spread = np.diagonal(a)
        gain = np.where(spread > least, b**2 / np.where(spread > least, spread, 1.0), -1.0)
        gain[chosen] = -1.0
        best = int(gain.argmax())
        if gain[best] < 0:
            break
        chosen.append(best)
        column, value = a[:, best] / a[best, best], b[best]
        a -= np.outer(column, a[best])
        b -= column * value
    return np.sort(np.array(chosen, dtype=np.intp))
