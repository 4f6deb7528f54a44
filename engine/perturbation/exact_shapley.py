"""Exact Shapley values, from the scores of all coalitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..errors import SettingError
from ..registry import PREDICT, register
from ..results.findings import of_features

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..problem import Problem

MOST_FEATURES = 20  # 2**20 coalitions


@register("explainer", "exact-shapley", needs=PREDICT, source="Shapley 1953; Strumbelj & Kononenko 2010, JMLR 11")
@dataclass(frozen=True)
class ExactShapley:
    """Exact Shapley values of up to 20 features: the mean gain in score when a feature joins the others.

    ``phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S))``, where v(S) is the score with
    the baseline in place of the features outside S. With several references v is their mean: the interventional
    Shapley values. All 2**M coalitions are evaluated; the values add up to ``v(N) - v(empty)``.

    Source: Shapley 1953, A Value for n-Person Games; for classifiers, Strumbelj and Kononenko 2010, JMLR 11.
    """

    features: Annotated[Any, "what can be absent: a name, a grid or labels (see docs)"] = "auto"
    baseline: Annotated[Any, "what replaces absent features: a number, array or name (see docs)"] = "auto"

    def explain(self, problem: Problem) -> Explanation:
        """Evaluate every coalition."""
        size = problem.features.size
        if size > MOST_FEATURES:
            raise SettingError(
                f"exact-shapley takes at most {MOST_FEATURES} features, not {size}",
                tip="use kernel-shap, or fewer features (superpixels, a grid, groups of columns)",
            )
        game = problem.game(expected=1 << size)
        _ = game.full  # remembered: the last coalition costs nothing
        values = [scores for _, scores in game.stream(_all_coalitions(size, game.batch))]
        return of_features(problem, game, shapley_values(np.concatenate(values)), complete=True)


def shapley_values(v: np.ndarray) -> np.ndarray:
    """Return the Shapley values (M,) of a game given as the scores (2**M,); bit i of an index says that i is present.

    >>> shapley_values(np.array([0.0, 1.0, 2.0, 5.0]))
    array([2., 3.])
    """
    size = len(v).bit_length() - 1
    weights = np.array([1.0 / (size * math.comb(size - 1, s)) for s in range(size)])
    members = np.bitwise_count(np.arange(len(v), dtype=np.uint32))
    phi = np.empty(size)
    for i in range(size):
        absent, present = np.moveaxis(v.reshape(-1, 2, 1 << i), 1, 0)
        of_size = members.reshape(-1, 2, 1 << i)[:, 0]
        phi[i] = np.sum(weights[of_size] * (present - absent))
    return phi


def _all_coalitions(size: int, batch: int) -> Iterator[np.ndarray]:
    """Yield the coalitions 0 .. 2**M - 1 as bits, ``batch`` at a time."""
    bits = np.arange(size)
    for start in range(0, 1 << size, batch):
        numbers = np.arange(start, min(start + batch, 1 << size))
        yield (numbers[:, None] >> bits & 1).astype(bool)
