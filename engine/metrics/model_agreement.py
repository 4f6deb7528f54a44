"""Model agreement: whether a quantised or half-precision version of the model has the same explanation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import DATA, PREDICT, register
from .altered import gap, joined, opened, same_target
from .score import Reading, undefined
from .similarity import Likeness, likeness
from .trial import Trial, values_of


@register("metric", "model-agreement", needs=PREDICT | DATA, source="onnxplain")
@dataclass(frozen=True)
class ModelAgreement:
    """Similarity between the explanation and that of another version of the model: quantised, FP16, optimised.

    The same method, settings, seed and target; 1 where the two versions decide for the same reasons. The part
    ``relative difference`` is ``|phi' - phi| / |phi|``, ``score`` the other version's score.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "similarity to the explanation of another version of the model"
    cost: ClassVar[str] = "1 explanation"

    model: Annotated[Any, "file of the other version: quantised, FP16, optimised"] = None
    similarity: Annotated[Likeness, "how maps are compared"] = "spearman"

    def score(self, trial: Trial) -> Reading:
        """Explain the other version and compare."""
        other = opened(self.model, trial, "another version of the model")
        again = trial.again(model=other, target=same_target(trial, other))
        found = likeness(trial.map, trial.map_of(again), self.similarity)
        difference = gap(joined(trial.values), joined(values_of(again, trial.model, trial.sample)))
        parts = {"relative difference": difference, "score": again.score}
        return (
            undefined("one of the two maps is constant", parts=parts)
            if math.isnan(found)
            else Reading(found, parts=parts)
        )
