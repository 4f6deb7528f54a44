"""Seed agreement: whether the explanation depends on the random numbers that it was made with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .score import Reading, undefined
from .similarity import Comparing, likeness

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "seed-agreement", needs=PREDICT, source="Zhang et al. 2019, arXiv:1904.12991")
@dataclass(frozen=True)
class SeedAgreement(Comparing):
    """Mean similarity between explanations of the same input with different seeds; 1 where the seed does not matter.

    Over all pairs of the explanation and ``seeds`` others. What a sampling method with too small a budget lacks.

    Source: Zhang, Song, Sun, Tan and Udell 2019, "Why should you trust my explanation?", arXiv:1904.12991.
    """

    better: ClassVar[str | None] = "higher"
    meaning: ClassVar[str] = "mean similarity between explanations with different seeds"
    cost: ClassVar[str] = "seeds explanations"

    seeds: Annotated[int, "number of other seeds", Range(1)] = 3

    def score(self, trial: Trial) -> Reading:
        """Explain with other seeds and compare all pairs."""
        maps = [trial.map, *(trial.map_of(trial.again(seed=trial.seed + 1 + k)) for k in range(self.seeds))]
        found = np.array([likeness(a, b, self.similarity) for a, b in itertools.combinations(maps, 2)])
        known = found[np.isfinite(found)]
        if not known.size:
            return undefined("the maps are constant")
        same = all(np.array_equal(maps[0], other) for other in maps[1:])
        notes = ("the method does not depend on the seed",) if same else ()
        if known.size < found.size:
            notes = (*notes, f"{found.size - known.size} of {found.size} pairs are left out: a map is constant")
        return Reading(float(known.mean()), parts={"least": float(known.min())}, notes=notes)
