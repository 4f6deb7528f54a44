"""Ablation: how far the score falls when one feature is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..registry import PREDICT, register
from ..results.findings import of_features

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..problem import Problem


@register("explainer", "ablation", needs=PREDICT, source="Robnik-Sikonja & Kononenko 2008, 10.1109/TKDE.2007.190734")
@dataclass(frozen=True)
class Ablation:
    """Importance of a feature: how far the score falls when it alone is absent.

    ``phi_i = v(N) - v(N without i)``, where v(S) is the score with the baseline in place of all features outside S and
    N is all of them. Every element of a feature carries the feature's value (as in Captum). The values need not
    add up to ``v(N) - v(empty)``.

    Source: Robnik-Sikonja and Kononenko 2008, Explaining Classifications for Individual Instances,
    doi:10.1109/TKDE.2007.190734 (with the difference of scores; with several references, their mean).
    """

    features: Annotated[Any, "what is taken away at a time: a name, a grid or labels (see docs)"] = "auto"
    baseline: Annotated[Any, "what replaces absent features: a number, array or name (see docs)"] = "auto"

    def explain(self, problem: Problem) -> Explanation:
        """Take away each feature in turn."""
        game = problem.game(expected=problem.features.size)
        full = game.full
        scores = [scores for _, scores in game.stream(_all_but_one(game.size, game.batch), distinct=game.size > 1)]
        return of_features(problem, game, full - np.concatenate(scores))


def _all_but_one(size: int, batch: int) -> Iterator[np.ndarray]:
    """Yield the coalitions that lack feature 0, 1, ..., ``batch`` at a time."""
    for start in range(0, size, batch):
        absent = np.arange(start, min(start + batch, size))
        chunk = np.ones((len(absent), size), dtype=bool)
        chunk[np.arange(len(absent)), absent] = False
        yield chunk
