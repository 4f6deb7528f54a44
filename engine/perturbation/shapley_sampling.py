"""Shapley sampling: Shapley values from random orders of the features, each on a random row of the background."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..errors import SettingError
from ..game import Game
from ..registry import PREDICT, register
from ..results.findings import of_features
from ..settings import Range
from .odd_pairs import exact_values
from .permutations import CHECKED_EVERY, Mean, drawn_orders, gains

if TYPE_CHECKING:
    from ..explanation import Explanation
    from ..masking.features import Features
    from ..problem import Problem

AUTO_COALITIONS = 2048
AUTO_ORDERS = 10  # where there are so many features that those coalitions are fewer
LEAST_ORDERS = 2


@register(
    "explainer",
    "shapley-sampling",
    needs=PREDICT,
    source="Strumbelj & Kononenko 2014, Explaining prediction models and individual predictions, KAIS 41",
)
@dataclass(frozen=True)
class ShapleySampling:
    """Shapley values from random orders of the features, each on one random row of the background; they add up.

    ``phi_i = mean over draws of f(x for those before i and for i, w for the others) - f(x for those before i, w for i
    and the others)``, over random orders and references w of the baseline; every reference is drawn as often as any
    other, or by its weight. An order costs M - 1 evaluations, however many references there are: with a large
    background that is a fraction of what a method costs that averages over it for every coalition. The standard error
    is the standard deviation of the gains over the square root of their number. What is missing of the sum, as not
    every order has the same reference, is dealt out in proportion to the squared standard errors. All 2^M coalitions of
    all references are evaluated where the budget allows: phi is then exact.

    Source: Strumbelj and Kononenko 2014, Explaining prediction models and individual predictions with feature
    contributions, Knowledge and Information Systems 41, algorithm 2 (here all features share an order).
    """

    features: Annotated[Any, "what can be absent: a name, a grid or labels (see docs)"] = "auto"
    baseline: Annotated[Any, "what replaces absent features: a number, array or name (see docs)"] = "auto"
    budget: Annotated[
        int | None, "most model evaluations; none: about 2048, or ten orders of many features", Range(1)
    ] = None
    tolerance: Annotated[
        float | None,
        "stop sampling when no feature's standard error, in units of the score, is above this",
        Range(0, open_low=True),
    ] = None
    orders: Annotated[
        np.ndarray | None, "orders to use instead of random ones: rows of the numbers of all features, from 0"
    ] = None

    def explain(self, problem: Problem) -> Explanation:
        """Walk orders, those of each reference together."""
        size = problem.features.size
        references = problem.baseline.count if _separable(problem) else 1
        given = self._given(size)
        orders = self._orders(size, references, problem.baseline.count // references) if given is None else len(given)
        if orders is None:
            game = problem.game(expected=1 << size)
            exact = exact_values(game)
            return of_features(problem, game, exact, complete=True, notes=("all coalitions: the values are exact",))
        games = _Games(problem, references, expected=orders * (size - 1) + references)
        of_orders, of_references = problem.rng(0), problem.rng(1)
        drawn = games.drawn(orders, of_references)
        mean = Mean(size)
        at_a_time = orders if self.tolerance is None else CHECKED_EVERY
        for start in range(0, orders, at_a_time):
            places = drawn[start : start + at_a_time]
            walks = drawn_orders(size, of_orders, len(places)) if given is None else given[start : start + at_a_time]
            for reference in np.unique(places):
                for gain in gains(games.by_reference[reference], walks[places == reference], games.full):
                    mean.add(gain)
            if self.tolerance is not None and mean.standard_error().max() <= self.tolerance:
                break
        values, errors = mean.values(), mean.standard_error()
        missing, total = games.full - games.empty - values.sum(), float((errors**2).sum())
        values += missing * errors**2 / total if total > 0 else missing / size
        notes = (f"{mean.count} orders",)
        return of_features(problem, games, values, errors=errors, complete=True, notes=notes)  # type: ignore[arg-type]

    def _given(self, size: int) -> np.ndarray | None:
        """Return the orders (K, M) of the setting, None without; ``SettingError`` unless each names all features."""
        if self.orders is None:
            return None
        orders = np.atleast_2d(self.orders)
        if orders.dtype.kind not in "iu" or len(orders) < LEAST_ORDERS or orders.shape[1:] != (size,):
            wanted = f"at least {LEAST_ORDERS} rows of {size} whole numbers"
            raise SettingError(f"shapley-sampling.orders are {wanted}, not an array {orders.shape}")
        if (np.sort(orders, axis=1) != np.arange(size)).any():
            raise SettingError(f"each of shapley-sampling.orders holds the numbers 0 to {size - 1} once")
        return orders

    def _orders(self, size: int, references: int, each: int) -> int | None:
        """Return how many orders the budget allows, at ``each`` evaluations a coalition; None where it allows all."""
        step = max(1, size - 1) * each
        ends = 1 + references * each
        evaluations = self.budget or ends + max(AUTO_COALITIONS * each, AUTO_ORDERS * step)
        if size < ((evaluations - 1) // (references * each) + 1).bit_length():
            return None
        if evaluations < ends + LEAST_ORDERS * step:
            raise SettingError(
                f"shapley-sampling.budget must be at least {ends + LEAST_ORDERS * step} for {size} features"
                + (f" and {references} references" if references > 1 else "")
                + f", not {self.budget}",
                tip="raise the budget, use fewer features, or use the method shapley",
            )
        return (evaluations - ends) // step


def _separable(problem: Problem) -> bool:
    """Say whether the score is a mean over references, of which one at a time can be drawn."""
    return problem.baseline.count > 1 and problem.baseline.reduce == "mean"


class _Games:
    """A game for each reference; together they score like the game that averages over all of them."""

    def __init__(self, problem: Problem, references: int, expected: int) -> None:
        self._weights = np.ones(1)
        if references == 1:
            self.by_reference = [problem.game(expected=expected)]
            return
        baseline = problem.baseline
        given = baseline.weights
        self._weights = np.full(references, 1 / references) if given is None else given
        problem.progress.start(problem.method, expected)
        self.by_reference = [
            Game(
                problem.model,
                problem.sample,
                problem.target,
                problem.features,
                dataclasses.replace(
                    baseline,
                    references={n: r[k : k + 1] if len(r) > 1 else r for n, r in baseline.references.items()},
                    weights=None,
                ),
                progress=problem.progress.advance,
                expected=expected // references,
            )
            for k in range(references)
        ]

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the reference of each order (count,): each in proportion to its weight, in random order."""
        ends = np.append(0.0, np.cumsum(self._weights)) * count
        ends[-1] = count
        often = np.diff(np.floor(ends + rng.random())).astype(int)
        return rng.permutation(np.repeat(np.arange(len(often)), often))

    @property
    def features(self) -> Features:
        """The features of every game."""
        return self.by_reference[0].features

    @property
    def full(self) -> float:
        """The score of the input as it is."""
        return self.by_reference[0].full

    @property
    def empty(self) -> float:
        """The mean score of the references."""
        return float(np.dot(self._weights, [game.empty for game in self.by_reference]))

    @property
    def evaluations(self) -> int:
        """Model rows of all games."""
        return sum(game.evaluations for game in self.by_reference)
