"""Data randomisation: whether the explanation changes when the model was trained on permuted labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..registry import DATA, PREDICT, register
from .altered import compared, explained_by, opened
from .similarity import Comparing

if TYPE_CHECKING:
    from .score import Reading
    from .trial import Trial


@register("metric", "data-randomisation", needs=PREDICT | DATA, source="Adebayo et al. 2018, arXiv:1810.03292")
@dataclass(frozen=True, kw_only=True)
class DataRandomisation(Comparing):
    """Similarity between the explanation and that of a model trained on permuted labels; it should be low.

    ``model`` is the file of that model: the same architecture, trained on the same inputs with their labels permuted.
    The part ``score`` is that model's score.

    Source: Adebayo et al. 2018, Sanity checks for saliency maps, arXiv:1810.03292, section 4.
    """

    better: ClassVar[str | None] = "lower"
    meaning: ClassVar[str] = "similarity to the explanation of a model trained on permuted labels"
    cost: ClassVar[str] = "1 explanation"

    model: Annotated[Any, "file of the model trained on permuted labels"]

    def score(self, trial: Trial) -> Reading:
        """Explain the other model and compare."""
        again = explained_by(opened(self.model, trial), trial)
        return compared(trial, again, self.similarity, score=again.score)
