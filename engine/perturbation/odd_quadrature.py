"""Shapley values from the scores of pairs: the posterior of an OddProcess, corrected by what it leaves unexplained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .coalitions import MANY, even_mass, pairs_of
from .odd_pairs import BLOCK, unpacked
from .odd_process_fit import freedom, learnt

if TYPE_CHECKING:
    from .odd_process import OddProcess

MOST_PAIRS = 2048  # that the process is conditioned on: the equations take K^3 steps
MOST_WORK = 1 << 32  # K^2 M: fewer pairs where there are thousands of features
LEARNT_FROM = 192  # pairs
LEARNT_FROM_AT_MOST = 300
ENOUGH_TO_CHECK = 32  # pairs, for saying whether what was learnt holds for others
SURPRISING = 2.0  # mean square of deviations, in the standard deviations that the process expects
FEWEST_FREE = 0.25  # of the pairs, that are left as degrees of freedom after learning
ENOUGH_TO_CORRECT = 32  # pairs beyond those
ENOUGH_PER_SIZE = 16  # of those pairs, for counting them


@dataclass(frozen=True)
class Estimate:
    """Shapley values (M,) and their standard errors (M,)."""

    values: np.ndarray
    errors: np.ndarray


def estimate(packed: np.ndarray, u: np.ndarray, size: int) -> Estimate:
    """Estimate Shapley values from u (K,) at pairs given by the bits of their coalitions, N being the first.

    The values add up to ``2 u(N)`` exactly: what is missing is dealt out in proportion to the variances.
    """
    first = min(MOST_PAIRS, math.isqrt(MOST_WORK // size))
    if len(u) - first < ENOUGH_TO_CORRECT:
        first = len(u)
    z = unpacked(packed[:first], size)
    process, doubt = _learnt(z, u[:first])
    values, variances, weights = _posterior(process, z, u[:first])
    variances *= doubt
    if first < len(u):
        means, spread = _unexplained(process, z, weights, packed, u)
        known = variances / np.maximum(variances + spread, np.finfo(float).tiny)
        values = values + known * means
        variances = known * spread
    missing = 2 * u[0] - values.sum()
    total = variances.sum()
    values = values + (missing * variances / total if total > 0 else missing / size)
    return Estimate(values, np.sqrt(variances))


def _learnt(z: np.ndarray, u: np.ndarray) -> tuple[OddProcess, float]:
    """Return a process learnt from some of the pairs, and a factor for variances.

    The factor allows for the learning, and for what surprises the process in pairs that it has not learnt from; if
    they surprise it much, it learns from more.
    """
    if not u.any():
        return learnt(z, u), 1.0
    count = min(len(u), max(LEARNT_FROM, 2 * int(np.argmax(u != 0))))  # there is nothing to learn from zeros
    while True:
        process = learnt(z[:count], u[:count])
        more = min(len(u), 2 * count)
        surprise = process.surprise(z[:more], u[:more], count) if more - count >= ENOUGH_TO_CHECK else 1.0
        if surprise < SURPRISING or count >= LEARNT_FROM_AT_MOST:
            return process, max(1.0, surprise) / max(1 - freedom(z.shape[1]) / count, FEWEST_FREE)
        count = more


def _posterior(process: OddProcess, z: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return posterior means (M,), variances (M,) and the weights A^-1 u (K,) of the process given u at z."""
    a = process.among(z)
    values, explained, weights = np.zeros(z.shape[1]), np.zeros(z.shape[1]), np.zeros(len(z))
    if not a.any():
        return values, explained, weights
    for columns, covariance in process.with_values(z):
        solved = np.linalg.solve(a, np.column_stack([u, covariance]))
        weights = solved[:, 0]
        values[columns] = covariance.T @ weights
        explained[columns] = np.einsum("ki,ki->i", covariance, solved[:, 1:])
    return values, np.maximum(process.variances() - explained, 0.0), weights


def _unexplained(
    process: OddProcess, seen: np.ndarray, weights: np.ndarray, packed: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return an unbiased estimate (M,) of the Shapley values of what the process leaves unexplained, and its variance.

    ``r = u - E[u | seen]`` is zero at the pairs seen. The others of a size are a random part of all those not seen, so
    ``phi_i(r)`` is, on average, the sum of 2 r(x_k) times what x_k counts for, times how many pairs it stands for.
    """
    size, first = seen.shape[1], len(seen)
    weight, left = _weights(packed, first, size)
    count = len(weight)
    total, squares, parts = np.zeros((3, size))
    for start in range(0, count, BLOCK):
        at = slice(start, min(start + BLOCK, count))
        z = unpacked(packed[first + start : first + at.stop], size)
        r = u[first + start : first + at.stop] - process.between(z, seen) @ weights
        s = z.sum(axis=1, keepdims=True)
        y = np.where(z, 1 / s, -1 / (size - s)) * (weight[at] * r)[:, None]
        total += y.sum(axis=0)
        squares += left[at] @ y**2
        parts += left[at] @ y
    mean = total / count
    variance = squares - 2 * mean * parts + mean**2 * left.sum()
    return total, np.maximum(variance, 0.0) * count / (count - 1)


def _weights(packed: np.ndarray, first: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pair but the first ones, what it stands for, and the share of pairs like it that none saw.

    The weight is twice the number of pairs of its size that are not among the first, over how many of them are at hand,
    over the number of coalitions of the size. With few pairs per size the expected number takes the place of that at
    hand.
    """
    sizes = np.bitwise_count(packed).sum(axis=1)
    smaller = np.minimum(sizes, size - sizes).astype(np.intp)
    strata = list(range(size // 2 + 1))
    gone = np.bincount(smaller[:first], minlength=len(strata))
    drawn = np.bincount(smaller[first:], minlength=len(strata)).astype(float)
    all_pairs = np.array([float(pairs_of(size, min(s, MANY))) for s in strata])
    all_pairs[0] = 1.0
    left = np.maximum(1 - (gone + drawn) / all_pairs, 0.0)
    if drawn.sum() < ENOUGH_PER_SIZE * len(strata):
        mass = np.array([even_mass(size, s) if s and gone[s] < all_pairs[s] else 0.0 for s in strata])
        drawn = drawn.sum() * mass / mass.sum()
    halves = np.array([even_mass(size, s) for s in strata])  # both coalitions of a pair of M/2 are of one size
    weight = halves * (1 - gone / all_pairs) / np.maximum(drawn, 1e-300)
    return weight[smaller[first:]], left[smaller[first:]]
