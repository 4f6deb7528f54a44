"""Data randomisation: whether the explanation changes when the model was trained on permuted labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..registry import DATA, PREDICT, register
from .altered import opened, same_target
from .score import Reading, undefined
from .similarity import Likeness, likeness

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "data-randomisation", needs=PREDICT | DATA, source="Adebayo et al. 2018, arXiv:1810.03292")
@dataclass(frozen=True)
class DataRandomisation:
    """Similarity between the explanation and that of a model trained on permuted labels; it should be low.

    ``model`` is the file of that model: the same architecture, trained on the same inputs with their labels permuted.

    Source: Adebayo et al. 2018, Sanity checks for saliency maps, arXiv:1810.03292, section 4.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "similarity to the explanation of a model trained on permuted labels"
    cost: ClassVar[str] = "1 explanation"

    model: Annotated[Any, "file of the model trained on permuted labels"] = None
    similarity: Annotated[Likeness, "how maps are compared"] = "spearman"

    def score(self, trial: Trial) -> Reading:
        """Explain the other model and compare."""
        other = opened(self.model, trial, "a model trained on permuted labels")
        again = trial.again(model=other, target=same_target(trial, other))
        found = likeness(trial.map, trial.map_of(again), self.similarity)
        return undefined("one of the two maps is constant") if math.isnan(found) else Reading(found)
