"""The Gaussian process that `shapley` reads a game with: its covariances, those of Shapley values, its hyperparameters.

A pair of coalitions z and its complement shows ``u(x) = (v(z) - v(1 - z)) / 2`` at ``x = 2 z - 1``: the odd part of the
game, u(-x) = -u(x), on which alone the Shapley values depend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 4096  # features in floating point at a time
NODES = 48  # of the quadrature, at most: exact up to 96 features, and to many digits beyond


@dataclass(frozen=True)
class OddProcess:
    """A prior over odd functions of x in {-1, 1}^M: how a score may depend on features and on groups of them.

    ``Cov(u(x), u(x'))`` is the sum of four terms, each odd in x and in x'. ``linear x·x' / M``: features that act one
    by one. ``sized B(t, t')`` with t the mean of x: what depends on the number of features alone, B(t, t') being
    min(|t|, |t'|) with the sign of t t', Brownian motion. ``smooth 2 exp(-L) sinh(sum_i rate_i x_i x'_i)``, L the sum
    of the rates: the odd part of the product of ``1 + rho_i x_i x'_i``, rho_i = tanh(rate_i), in which each group of
    features, of any odd size, interacts with a variance in proportion to the product of its rho_i. ``rough [x = x']``:
    what no other pair tells. The rates (M,) are learnt, one by one or, of many features, as one.
    """

    linear: float
    sized: float
    smooth: float
    rough: float
    rates: np.ndarray

    def between(self, z: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the covariances (K, L) of u at different pairs, given by coalitions z (K, M) and ``other`` (L, M)."""
        size = z.shape[1]
        plain, rated = np.zeros((2, len(z), len(other)))
        for columns in _columns(size):
            left, right, rates = _signs(z[:, columns]), _signs(other[:, columns]), self.rates[columns]
            plain += left @ right.T
            rated += (left * rates) @ right.T
        total = self.rates.sum()
        covariance: np.ndarray = np.exp(rated - total)
        covariance -= np.exp(-rated - total)
        covariance *= self.smooth
        plain *= self.linear / size
        covariance += plain
        covariance += self.sized * brownian(2 * z.mean(axis=1) - 1, 2 * other.mean(axis=1) - 1)
        return covariance

    def among(self, z: np.ndarray) -> np.ndarray:
        """Return the covariance matrix (K, K) of u at the pairs of coalitions z (K, M)."""
        covariance = self.between(z, z)
        np.einsum("kk->k", covariance)[:] += self.rough
        return covariance

    def surprise(self, z: np.ndarray, u: np.ndarray, seen: int) -> float:
        """Return the mean square of (u - its mean) / its standard deviation, at all pairs given the first ``seen``."""
        among, between = self.among(z[:seen]), self.between(z[:seen], z[seen:])
        solved = np.linalg.solve(among, between)
        sizes = np.abs(2 * z[seen:].mean(axis=1) - 1)
        prior = self.linear + self.sized * sizes + self.smooth * -math.expm1(-2 * self.rates.sum()) + self.rough
        variance = np.maximum(prior - np.einsum("ki,ki->i", solved, between), self.rough)
        return float(np.mean((u[seen:] - u[:seen] @ solved) ** 2 / variance))

    def with_values(self, z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield, for some features at a time, ``Cov(phi_i, u(x_k))`` (K, features).

        The Shapley value of a product of functions of one feature each is
        ``int_0^1 (f_i(1) - f_i(-1)) prod_(j != i) (q f_j(1) + (1 - q) f_j(-1)) dq`` (Owen 1972): a polynomial in q of
        degree M - 1, which Gauss-Legendre quadrature integrates exactly.
        """
        size = z.shape[1]
        q, weights = _quadrature(size)
        # f_j at x_kj = 1 and at x_kj = -1, averaged over whether j is present, (M, Q) in logarithms
        log_a = self._log_mean(q)
        log_b = log_a[:, ::-1]  # the nodes are symmetric: q and 1 - q
        exponent = np.full((len(z), len(q)), (log_a + log_b).sum(axis=0) / 2 - self.rates.sum())
        for columns in _columns(size):
            exponent += _signs(z[:, columns]) @ (log_a - log_b)[columns] / 2
        product = 2 * self.smooth * weights * np.exp(exponent)
        of_size = (2 * self.sized / size) * (2 * z.mean(axis=1, keepdims=True) - 1)
        for columns in _columns(size):
            x = _signs(z[:, columns])
            a, b = np.exp(-log_a[columns]), np.exp(-log_b[columns])
            found = (product @ ((a + b).T / 2)) * x + product @ ((a - b).T / 2)
            found *= 2 * np.sinh(self.rates[columns])
            found += of_size + 2 * self.linear / size * x + 2 * self.rough * share_of_pairs(z, z[:, columns])
            yield columns, found

    def variances(self) -> np.ndarray:
        """Return the prior variance of each Shapley value (M,)."""
        size = len(self.rates)
        q, weights = _quadrature(size + 1)
        agree = np.outer(q, q) + np.outer(1 - q, 1 - q)
        rates, place, count = np.unique(self.rates, return_inverse=True, return_counts=True)
        log_mean = np.log(agree * np.exp(rates[:, None, None]) + (1 - agree) * np.exp(-rates[:, None, None]))
        product = np.exp(np.tensordot(count, log_mean, 1) - self.rates.sum()) * np.outer(weights, weights)
        of_rates = 8 * self.smooth * np.sinh(rates) * np.einsum("qr,mqr->m", product, np.exp(-log_mean))
        rough = 4 * self.rough * math.fsum(1 / (size * s * math.comb(size, s)) for s in range(1, min(size, 100) + 1))
        variances: np.ndarray = of_rates[place] + 4 * (self.linear + self.sized / size) / size + rough
        return variances

    def _log_mean(self, q: np.ndarray) -> np.ndarray:
        rates = self.rates[:, None]
        log_mean: np.ndarray = np.log(q * np.exp(rates) + (1 - q) * np.exp(-rates))
        return log_mean


def brownian(t: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return min(|t|, |t'|) with the sign of t t' for each t (K,) and each of the others (L,)."""
    covariance: np.ndarray = np.minimum.outer(np.abs(t), np.abs(other))
    covariance *= np.multiply.outer(np.sign(t), np.sign(other))
    return covariance


def share_of_pairs(z: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return what one score counts for in the Shapley values (K, features): phi_i = sum over all coalitions.

    It is ``1 / (s C(M, s))`` for the s members of a coalition and ``-1 / ((M - s) C(M, s))`` for the others; a pair
    counts twice that. ``members`` are some columns of the coalitions z (K, M).
    """
    inside, outside = _shares(z.shape[1])
    s = np.count_nonzero(z, axis=1)
    share: np.ndarray = np.where(members, inside[s, None], outside[s, None])
    return share


@lru_cache(maxsize=8)
def _shares(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the score of a coalition of 0 to M features counts for in the values of its members and of others."""
    s = np.arange(size + 1)
    each = np.exp(-np.array([_log_comb(size, n) for n in range(size + 1)]))
    return each / np.maximum(s, 1), -each / np.maximum(size - s, 1)


def _log_comb(size: int, s: int) -> float:
    return math.lgamma(size + 1) - math.lgamma(s + 1) - math.lgamma(size - s + 1)


def _quadrature(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on [0, 1] that integrate polynomials of degree ``size - 1`` exactly, as far as NODES."""
    x, weights = np.polynomial.legendre.leggauss(min(NODES, size // 2 + 1))
    return (x + 1) / 2, weights / 2


def _signs(z: np.ndarray) -> np.ndarray:
    return 2.0 * z - 1.0


def _columns(size: int) -> Iterator[slice]:
    for start in range(0, size, COLUMNS):
        yield slice(start, min(start + COLUMNS, size))
