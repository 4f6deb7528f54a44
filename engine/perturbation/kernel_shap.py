"""Kernel SHAP: Shapley values by weighted least squares over coalitions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..errors import SettingError
from ..registry import PREDICT, register
from ..results.findings import of_features
from ..settings import Range
from .coalitions import design, pairs_of, stratum_mass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..explanation import Explanation
    from ..game import Game
    from ..problem import Problem
    from .coalitions import Block, Design

MOST_FEATURES = 4096  # the normal equations hold M x M numbers
AUTO_COALITIONS = 2048  # beside two per feature
SAMPLED_AT_LEAST = 8  # pairs, for a standard error that means something
CHECKED_EVERY = 128  # sampled pairs, where a tolerance may end the sampling
KEPT_BYTES = 16 << 20  # of a design that is kept for the next sample
BLOCK = 512  # pairs in memory at a time, or one batch where that is more


@register(
    "explainer",
    "kernel-shap",
    needs=PREDICT,
    source="Lundberg & Lee 2017, arXiv:1705.07874; Covert & Lee 2021, arXiv:2012.01536",
)
@dataclass(frozen=True)
class KernelShap:
    """Shapley values of any number of features, estimated from a budget of coalitions; they add up exactly.

    phi minimises ``sum_S pi(S) (v(empty) + sum_(i in S) phi_i - v(S))²`` with ``sum_i phi_i = v(N) - v(empty)`` held
    exactly, ``pi(S) = (M - 1) / (C(M, s) s (M - s))`` and s = |S|; v(S) is the score with the baseline in place of
    the features outside S (with several references, the mean). Coalitions come in pairs S, N - S. All pairs are
    evaluated where the budget allows: phi is then exact. Otherwise the largest and smallest sizes are evaluated in
    full as far as the budget goes, with their exact weights, and the others are drawn without repeats.

    The standard error comes from the sampled pairs' residuals: the regression is linearised around its solution, each
    residual is divided by one minus its leverage, and pairs of a size of which most were drawn count for less. The
    budget counts model evaluations: a coalition costs one per reference, the input itself one more. A tolerance is
    looked at after every 128 sampled pairs (M, if that is more). Libraries differ in how they draw: shap draws with
    repeats and adds up their weights; Captum does not pair, and draws with repeats.

    Source: Lundberg and Lee 2017, arXiv:1705.07874, theorem 2; pairs, the constraint and convergence: Covert and Lee
    2021, Improving KernelSHAP, arXiv:2012.01536.
    """

    features: Annotated[Any, "what can be absent: a name, a grid or labels (see docs)"] = "auto"
    baseline: Annotated[Any, "what replaces absent features: a number, array or name (see docs)"] = "auto"
    budget: Annotated[
        int | None, "most model evaluations; none: all 2^M coalitions, or at most 2 M + 2048 of them", Range(1)
    ] = None
    tolerance: Annotated[
        float | None,
        "stop sampling when no feature's standard error, in units of the score, is above this",
        Range(0, open_low=True),
    ] = None

    def explain(self, problem: Problem) -> Explanation:
        """Evaluate pairs of coalitions and solve for phi."""
        size, references = problem.features.size, problem.baseline.count
        chosen = _designed(problem, self._pairs(size, references))
        game = problem.game(expected=2 * chosen.count + 2)
        fit = Fit(chosen, game.full, game.empty)
        length = game.batch * max(1, BLOCK // game.batch) if self.tolerance is None else max(CHECKED_EVERY, size)
        for z, mass, scores in _scored(game, chosen, length):
            fit.add(z, mass, scores)
            if self.tolerance is not None and mass is None and fit.standard_error().max() <= self.tolerance:
                break
        exact = not len(chosen.packed)
        return of_features(
            problem,
            game,
            fit.values(),
            errors=None if exact else fit.standard_error(),
            complete=True,
            notes=("all coalitions: the values are exact" if exact else f"{fit.pairs} pairs of coalitions",),
        )

    def _pairs(self, size: int, references: int) -> int:
        """Return how many pairs the budget allows beside the input itself and the empty coalition."""
        if size > MOST_FEATURES:
            raise SettingError(
                f"kernel-shap takes at most {MOST_FEATURES} features, not {size}",
                tip="use fewer features (superpixels, a grid, groups of columns), or occlusion or rise",
            )
        every = (1 << (size - 1)) - 1
        if self.budget is None:
            return min(every, size + AUTO_COALITIONS // 2 - 1)
        pairs = ((self.budget - 1) // references - 1) // 2
        least = min(every, size + SAMPLED_AT_LEAST)
        if pairs < least:
            raise SettingError(
                f"kernel-shap.budget must be at least {1 + references * (1 + 2 * least)} for {size} features"
                + (f" and {references} references" if references > 1 else "")
                + f", not {self.budget}",
                tip="raise the budget, or use fewer features"
                + (", or fewer references, such as baseline=background:10" if references > 1 else ""),
            )
        return min(every, pairs)


_latest: list[tuple[tuple[int, int, int], Design]] = []  # for the next sample: of a table, say, its other rows


def _designed(problem: Problem, pairs: int) -> Design:
    """Return the pairs to evaluate: they depend on the seed and on numbers, not on the sample."""
    key = (problem.features.size, pairs, problem.seed)
    for known, found in _latest:
        if known == key:
            return found
    found = design(problem.features.size, pairs, problem.rng())
    _latest[:] = [(key, found)] if found.packed.nbytes <= KEPT_BYTES else []
    return found


class Fit:
    """The constrained regression, fed with pairs as they come.

    A pair says how z and its complement differ: with ``u = (v(z) - v(1 - z)) / 2`` and values that add up to Delta,
    ``u = (z - 1/2) phi``. With ``phi = Delta / M + psi`` and psi adding up to zero that is ``y = p psi``,
    ``p = z - |z| / M``, ``y = u - Delta (|z| / M - 1/2)``: ordinary weighted least squares, symmetric in the features.
    """

    def __init__(self, chosen: Design, full: float, empty: float) -> None:
        size = chosen.size
        self._design = chosen
        self._delta = full - empty
        # Normal equations A psi = b of sampled pairs, with a mass of one each, and of enumerated ones. The A of the
        # latter is known: on values that add up to zero it is a number.
        self._a, self._b = np.zeros((size, size)), np.zeros(size)
        self._spread, self._b_enumerated = spread(size, chosen.enumerated), np.zeros(size)
        self._y: list[np.ndarray] = []
        self._enumerated = 0
        self._sampled = 0
        self._solved: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def pairs(self) -> int:
        """The number of pairs taken in."""
        return self._enumerated + self._sampled

    def add(self, z: np.ndarray, mass: np.ndarray | None, scores: np.ndarray) -> None:
        """Take in coalitions z (B, M) of the design's next block; ``scores`` (2 B,) alternate z and its complement."""
        u = (scores[::2] - scores[1::2]) / 2
        if mass is None:
            p, share = _centred(z)
            y = u - self._delta * (share - 0.5)
            self._a += p.T @ p
            self._b += p.T @ y
            self._y.append(y)
            self._sampled += len(z)
        else:  # over all coalitions of one size p adds up to zero, and so do products with what they have in common
            total = (mass * u) @ z
            self._b_enumerated += total - total.sum() / len(total)
            self._enumerated += len(z)
        self._solved = None

    def values(self) -> np.ndarray:
        """Return phi (M,)."""
        known = self._b_enumerated / (self._spread or 1.0) if not self._sampled else self._solution()[0]
        phi: np.ndarray = self._delta / self._design.size + known
        return phi

    def standard_error(self) -> np.ndarray:
        """Return the standard error of phi (M,): zero where nothing was sampled, infinite for a single pair.

        ``influence_k = w e_k p_k A^-1 / (1 - h_k)`` is what phi owes to sampled pair k, with its mass w, residual e_k
        and leverage h_k; the variance is ``K / (K - 1) sum_k (1 - f_k) (influence_k - mean)²``, f_k being the share
        of the pairs of that size that were drawn.
        """
        k = self._sampled
        if k < 2:
            return np.full(self._design.size, np.inf if k else 0.0)
        psi, inverse = self._solution()
        w, y, unseen = self._mass_of_a_sample(), np.concatenate(self._y), self._unseen()
        total, parts, squares = np.zeros((3, len(psi)))
        for start in range(0, k, BLOCK):
            at = slice(start, min(start + BLOCK, k))
            p, _ = _centred(self._design.sampled(start, at.stop))
            projected = p @ inverse
            leverage = w * np.einsum("ki,ki->k", projected, p)
            influence = projected * (w * (y[at] - p @ psi) / np.maximum(1 - leverage, 1e-9))[:, None]
            total += influence.sum(axis=0)
            parts += unseen[at] @ influence
            squares += unseen[at] @ influence**2
        mean = total / k
        variance = squares - 2 * mean * parts + mean**2 * unseen.sum()
        error: np.ndarray = np.sqrt(np.maximum(variance, 0.0) * k / (k - 1))
        return error

    def _unseen(self) -> np.ndarray:
        """Return, for each sampled pair (K,), the share of the pairs of its size that were not drawn."""
        sizes = np.bitwise_count(self._design.packed[: self._sampled]).sum(axis=1)
        drawn = np.bincount(sizes).tolist()
        unseen = np.array([1 - n / pairs_of(self._design.size, s) if n else 1.0 for s, n in enumerate(drawn)])
        per_pair: np.ndarray = unseen[sizes]
        return per_pair

    def _mass_of_a_sample(self) -> float:
        return self._design.rest / self._sampled if self._sampled else 0.0

    def _solution(self) -> tuple[np.ndarray, np.ndarray]:
        if self._solved is None:
            size = self._design.size
            w = self._mass_of_a_sample()
            a = w * self._a + self._spread * (np.eye(size) - 1 / size)
            inverse = np.linalg.inv(a + (np.trace(a) / size**2 or 1.0))  # the constant is seen by sums alone
            self._solved = inverse @ (self._b_enumerated + w * self._b), inverse
        return self._solved


def spread(size: int, strata: Iterable[int]) -> float:
    """Return c: over strata, by their mass, p p' (M, M) adds up to ``c (I - 1/M)``.

    In stratum s, z_i has the variance s (M - s) / M².
    """
    variance = sum(stratum_mass(size, s) * s * (size - s) / size**2 for s in strata)
    return variance * size / max(size - 1, 1)


def _centred(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = z.astype(np.float64)
    share = p @ np.ones(z.shape[1]) / z.shape[1]  # much faster than a mean over short rows
    p -= share[:, None]
    return p, share


def _scored(game: Game, chosen: Design, length: int) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray]]:
    """Yield the design's blocks with their scores, z and its complement alternating."""
    waiting: deque[Block] = deque()

    def drawn() -> Iterator[np.ndarray]:
        for coalitions, blocks in chosen.rounds(length, game.batch):
            waiting.extend(blocks)
            yield coalitions

    scores = np.empty(0)
    for _, more in game.whole(drawn(), distinct=True):
        scores = np.concatenate([scores, more]) if len(scores) else more
        while waiting and len(scores) >= 2 * len(waiting[0][0]):
            z, mass = waiting.popleft()
            yield z, mass, scores[: 2 * len(z)]
            scores = scores[2 * len(z) :]
