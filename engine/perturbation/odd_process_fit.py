"""What an OddProcess learns from the pairs of a game: hyperparameters that make the scores seen most probable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..linear_algebra import one_thread
from .odd_process import OddProcess, brownian

if TYPE_CHECKING:
    from collections.abc import Callable

    Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]

MOST_RATES = 256  # features up to which each has a rate of its own
STEPS = 24
STEPS_IN_PARTS = (16, 8)  # on half of the pairs, then on all
PAIRS_IN_PARTS = 128  # from which on the search begins with half of the pairs
ENOUGH = 0.05  # gain in the logarithm of the density under which a step is the last
LONGEST_STEP = 3.0
REMEMBERED_STEPS = 8
# Gaussian priors on logarithms: (mean, standard deviation), variances relative to the mean square of u
LINEAR = (math.log(0.8), 3.0)
SIZED = (math.log(0.03), 2.0)
SMOOTH = (math.log(0.2), 2.0)
ROUGH = (math.log(1e-3), 1.5)
LEAST_ROUGH = 1e-6
LARGEST_RATE = 3.0  # a feature without which the others do nothing has tanh(rate) = 1
TOTAL_RATE = (0.0, 2.0)  # of M times the geometric mean of the rates
SPREAD_OF_RATES = 1.0


def learnt(z: np.ndarray, u: np.ndarray) -> OddProcess:
    """Return the process of the highest posterior density, given u (K,) at pairs of coalitions z (K, M).

    The logarithm of each hyperparameter has a Gaussian prior, those of the rates around a common mean. The search is
    L-BFGS with the gradient ``1/2 tr((A^-1 - a a^T) dA)``, a = A^-1 u, A the covariance of u.
    """
    size = z.shape[1]
    scale = float(u @ u) / len(u)
    if scale == 0:
        return OddProcess(0.0, 0.0, 0.0, 0.0, np.full(size, 1 / size))
    several = size <= MOST_RATES
    start = np.array(
        [LINEAR[0], SIZED[0], SMOOTH[0], ROUGH[0], *([TOTAL_RATE[0] - math.log(size)] * (size if several else 1))]
    )
    ceiling = np.where(np.arange(len(start)) < 4, math.inf, math.log(LARGEST_RATE))
    x, relative = 2.0 * z - 1.0, u / math.sqrt(scale)
    parts: tuple[tuple[int, int], ...] = ((len(u), STEPS),)
    if len(u) >= PAIRS_IN_PARTS:
        parts = ((len(u) // 2, STEPS_IN_PARTS[0]), (len(u), STEPS_IN_PARTS[1]))
    import scipy.linalg  # noqa: F401 - with it comes another BLAS, to be there when threads are limited

    found = start
    with one_thread():
        for count, steps in parts:
            found = _minimum(_Evidence(x[:count], relative[:count], several=several), found, ceiling, steps)
    linear, sized, smooth, rough = (scale * np.exp(found[:4])).tolist()
    rates = np.exp(np.broadcast_to(found[4:], size))
    return OddProcess(linear, sized, smooth, rough + LEAST_ROUGH * scale, rates)


def freedom(size: int) -> float:
    """Return how many degrees of freedom learning takes, about: half a rate each, as their prior ties them together."""
    return 3 + (size if size <= MOST_RATES else 1) / 2


class _Evidence:
    """Minus the logarithm of the posterior density of hyperparameters, up to a constant, and its gradient."""

    def __init__(self, x: np.ndarray, u: np.ndarray, *, several: bool) -> None:
        self._x = x
        self._u = u
        self._several = several
        self._plain = x @ x.T
        middle = x.mean(axis=1)
        self._sized = brownian(middle, middle)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        size, x, u = self._x.shape[1], self._x, self._u
        linear, sized, smooth, rough = np.exp(theta[:4])
        rates = np.exp(theta[4:])
        rated = (x * rates) @ x.T if self._several else rates * self._plain
        total = rates.sum() if self._several else size * rates[0]
        up, down = np.exp(rated - total), np.exp(-rated - total)
        odd, even = smooth * (up - down), smooth * (up + down)
        a = odd + (linear / size) * self._plain + sized * self._sized
        np.einsum("kk->k", a)[:] += rough + LEAST_ROUGH
        found = _inverted(a)
        if found is None:
            return math.inf, np.zeros_like(theta)
        inverse, half_log_determinant = found
        alpha = inverse @ u
        value = u @ alpha / 2 + half_log_determinant
        slope = inverse - np.outer(alpha, alpha)
        gradient = np.empty_like(theta)
        gradient[0] = linear / size * np.vdot(slope, self._plain) / 2
        of_smooth = np.vdot(slope, odd)
        gradient[1] = sized * np.vdot(slope, self._sized) / 2
        gradient[2] = of_smooth / 2
        gradient[3] = rough * np.trace(slope) / 2
        even *= slope
        if self._several:
            gradient[4:] = rates / 2 * (np.einsum("ki,ki->i", x, even @ x) - of_smooth)
        else:
            gradient[4] = rates[0] / 2 * (np.vdot(even, self._plain) - size * of_smooth)
        prior, of_prior = _prior(theta, size)
        return float(value + prior), gradient + of_prior


def _inverted(a: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return the inverse of a covariance matrix and half the logarithm of its determinant; None if it is not positive.

    The inverse comes from the Cholesky factor, which takes less than half as long as that of any matrix.
    """
    from scipy.linalg import lapack

    factor, wrong = lapack.dpotrf(a.T, lower=1, clean=0, overwrite_a=1)  # a is symmetric, and LAPACK's rows are columns
    if wrong:
        return None
    half_log_determinant = float(np.log(np.einsum("kk->k", factor)).sum())
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    below = np.tril(inverse, -1)
    return below + below.T + np.diag(np.diagonal(inverse)), half_log_determinant


def _prior(theta: np.ndarray, size: int) -> tuple[float, np.ndarray]:
    means, deviations = np.array([LINEAR, SIZED, SMOOTH, ROUGH]).T
    logs, middle = theta[4:], theta[4:].mean()
    first = (theta[:4] - means) / deviations
    second = (logs - middle) / SPREAD_OF_RATES
    third = (middle + math.log(size) - TOTAL_RATE[0]) / TOTAL_RATE[1]
    gradient = np.concatenate([first / deviations, second / SPREAD_OF_RATES + third / TOTAL_RATE[1] / len(logs)])
    return float(first @ first + second @ second + third**2) / 2, gradient


def _minimum(objective: Objective, start: np.ndarray, ceiling: np.ndarray, most: int) -> np.ndarray:
    """Follow L-BFGS (Nocedal 1980) with backtracking for at most so many evaluations; return the best point."""
    at, (value, gradient) = start, objective(start)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    length, left = min(1.0, 1 / max(float(np.abs(gradient).max()), 1e-300)), most
    while left > 0 and np.abs(gradient).max() > 1e-2:
        direction = _direction(gradient, steps)
        length *= min(1.0, LONGEST_STEP / float(np.abs(length * direction).max()))
        while left > 0:
            left -= 1
            new = np.minimum(at + length * direction, ceiling)
            new_value, new_gradient = objective(new)
            if new_value <= value + 1e-4 * length * float(gradient @ direction):
                break
            length /= 4
        else:
            break
        if float((new_gradient - gradient) @ (new - at)) > 0:
            steps = [*steps[1 - REMEMBERED_STEPS :], (new - at, new_gradient - gradient)]
        gain = value - new_value
        at, value, gradient, length = new, new_value, new_gradient, 1.0
        if gain < ENOUGH:
            break
    return at


def _direction(gradient: np.ndarray, steps: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return minus the gradient times the inverse Hessian that the last steps (s, y) suggest."""
    direction = -gradient
    shares = []
    for s, y in reversed(steps):
        shares.append(float(s @ direction) / float(s @ y))
        direction = direction - shares[-1] * y
    if steps:
        s, y = steps[-1]
        direction = direction * (float(s @ y) / float(y @ y))
    for (s, y), share in zip(steps, reversed(shares), strict=True):
        direction = direction + s * (share - float(y @ direction) / float(s @ y))
    return direction
