"""Permutation SHAP: Shapley values from random orders of the features, each walked there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..errors import SettingError
from ..registry import PREDICT, register
from ..results.findings import of_features
from ..settings import Range
from .odd_pairs import exact_values
from .permutations import CHECKED_EVERY, Mean, drawn_orders, gains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..game import Game
    from ..problem import Problem

AUTO_COALITIONS = 2048
AUTO_PAIRS = 5  # orders there and back, where there are so many features that those coalitions are fewer


@register(
    "explainer",
    "permutation-shap",
    needs=PREDICT,
    source="Castro et al. 2009; Mitchell et al. 2022, Sampling permutations for Shapley value estimation, JMLR 23",
)
@dataclass(frozen=True)
class PermutationShap:
    """Shapley values from random orders of the features, each walked forwards and backwards; they add up exactly.

    ``phi_i = mean over orders of v(those before i, and i) - v(those before i)``, over random orders and their
    reverses; v(S) is the score with the baseline in place of the features outside S (with several references, the
    mean). An order and its reverse cost 2 (M - 1) coalitions, and are exact for games of pairwise interactions. The
    standard error is the standard deviation of the means of such pairs over the square root of their number. All 2^M
    coalitions are evaluated where the budget allows: phi is then exact. The shap library's explainer of this name does
    the same, with at least one pair of orders.

    Source: Castro, Gomez and Tejada 2009, Polynomial calculation of the Shapley value based on sampling; antithetic
    orders: Mitchell, Cooper, Frank and Holmes 2022, JMLR 23.
    """

    features: Annotated[Any, "what can be absent: a name, a grid or labels (see docs)"] = "auto"
    baseline: Annotated[Any, "what replaces absent features: a number, array or name (see docs)"] = "auto"
    budget: Annotated[
        int | None, "most model evaluations; none: 2048 coalitions, or five orders of many features", Range(1)
    ] = None
    tolerance: Annotated[
        float | None,
        "stop sampling when no feature's standard error, in units of the score, is above this",
        Range(0, open_low=True),
    ] = None

    def explain(self, problem: Problem) -> Explanation:
        """Walk pairs of orders."""
        size, references = problem.features.size, problem.baseline.count
        pairs = self._pairs(size, references)
        if pairs is None:
            game = problem.game(expected=1 << size)
            exact = exact_values(game)
            return of_features(problem, game, exact, complete=True, notes=("all coalitions: the values are exact",))
        game = problem.game(expected=2 + 2 * (size - 1) * pairs)
        mean = Mean(size)
        for gain in _paired_gains(game, problem.rng(), pairs, CHECKED_EVERY):
            mean.add(gain)
            at_a_check = mean.count % CHECKED_EVERY == 0
            if self.tolerance is not None and at_a_check and mean.standard_error().max() <= self.tolerance:
                break
        told = f"{mean.count} orders and their reverses"
        return of_features(
            problem,
            game,
            mean.values(),
            errors=mean.standard_error() if mean.count > 1 else None,
            complete=True,
            notes=(told if mean.count > 1 else "one order and its reverse: no standard error",),
        )

    def _pairs(self, size: int, references: int) -> int | None:
        """Return how many orders the budget allows with their reverses; None where it allows all coalitions."""
        each = 2 * (size - 1)
        if self.budget is None:
            coalitions = max(AUTO_COALITIONS, AUTO_PAIRS * each)
        else:
            coalitions = (self.budget - 1) // references + 1
        if size < coalitions.bit_length():
            return None
        if coalitions < 2 + each:
            raise SettingError(
                f"permutation-shap.budget must be at least {1 + references * (1 + each)} for {size} features"
                + (f" and {references} references" if references > 1 else "")
                + f", not {self.budget}",
                tip="raise the budget, use fewer features, or use the method shapley",
            )
        return (coalitions - 2) // each


def _paired_gains(game: Game, rng: np.random.Generator, pairs: int, at_a_time: int) -> Iterator[np.ndarray]:
    """Yield the mean gains of each order and its reverse."""
    for start in range(0, pairs, at_a_time):
        forwards = drawn_orders(game.size, rng, min(at_a_time, pairs - start))
        both = np.stack([forwards, forwards[:, ::-1]], axis=1).reshape(-1, game.size)
        walked = gains(game, both, game.full)
        yield from ((there + back) / 2 for there, back in zip(walked, walked, strict=True))
