"""Shapley values from as few evaluations as may be: Bayesian quadrature over pairs of coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import SettingError
from ..registry import PREDICT, register
from ..results.findings import of_features
from ..settings import Range
from .odd_pairs import PairScores, exact_values, ordered_pairs
from .odd_quadrature import estimate

if TYPE_CHECKING:
    from ..explanation import Explanation
    from ..problem import Problem

AUTO_EVALUATIONS = 2048  # beside two per feature
AUTO_FEATURES = 1024  # that the default budget counts
LEAST_PAIRS = 12
FIRST_LOOK = 64  # pairs, or two per feature, where a tolerance may end the sampling
GROWTH = 1.5  # from one such look to the next


@register(
    "explainer",
    "shapley",
    needs=PREDICT,
    source="O'Hagan 1991; Covert & Lee 2021, arXiv:2012.01536; Witter et al. 2025, arXiv:2506.11849",
)
@dataclass(frozen=True)
class Shapley:
    """Shapley values with the least error per evaluation; they add up exactly, and tell how far off they may be.

    ``phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S))``, where v(S) is the score with the
    baseline in place of the features outside S (with several references, the mean). Shapley values depend only on
    ``u(S) = (v(S) - v(N - S)) / 2``, so coalitions are evaluated in pairs: N and the empty one; those of one feature
    and of all but one, where the budget is 2.4 per feature or more; others without repeats, all sizes as often. A
    Gaussian process, which learns from the scores how strongly each feature takes part in interactions, is conditioned
    on them; phi is its posterior mean and the standard error its posterior standard deviation, both in closed form.
    Of many pairs the first 2,048 condition the process (fewer of thousands of features), and the mean of what it leaves
    unexplained of the others corrects it. All 2^M coalitions are evaluated where the budget allows: phi is then exact.

    The budget counts model evaluations: a coalition costs one per reference, the input itself one more.

    Source: O'Hagan 1991, Bayes-Hermite quadrature; Owen 1972, Multilinear extensions of games; pairs: Covert and Lee
    2021, arXiv:2012.01536; correcting a model's Shapley values: Witter, Liu and Musco 2025, arXiv:2506.11849.
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
        """Evaluate pairs of coalitions and condition the process on them."""
        size = problem.features.size
        pairs = self._pairs(size, problem.baseline.count)
        game = problem.game(expected=2 * pairs)
        if pairs == 1 << (size - 1):
            phi = exact_values(game)
            return of_features(problem, game, phi, complete=True, notes=("all coalitions: the values are exact",))
        scores = PairScores(game, ordered_pairs(size, pairs, problem.rng()))
        done = pairs if self.tolerance is None else min(pairs, max(FIRST_LOOK, 2 * size))
        while True:
            scores.evaluate(done)
            found = estimate(scores.packed[:done], scores.odd[:done], size)
            if done == pairs or found.errors.max() <= (self.tolerance or 0.0):
                break
            done = min(pairs, int(done * GROWTH))
        return of_features(
            problem, game, found.values, errors=found.errors, complete=True, notes=(f"{done} pairs of coalitions",)
        )

    def _pairs(self, size: int, references: int) -> int:
        """Return how many pairs the budget allows, the input itself and the empty coalition being the first."""
        every = 1 << (size - 1)
        if self.budget is None:
            return min(every, min(size, AUTO_FEATURES) + AUTO_EVALUATIONS // 2)
        pairs = ((self.budget - 1) // references + 1) // 2
        least = min(every, LEAST_PAIRS)
        if pairs < least:
            raise SettingError(
                f"shapley.budget must be at least {1 + references * (2 * least - 1)} for {size} features"
                + (f" and {references} references" if references > 1 else "")
                + f", not {self.budget}",
                tip="raise the budget"
                + (", or use fewer references, such as baseline=background:10" if references > 1 else ""),
            )
        return min(every, pairs)
