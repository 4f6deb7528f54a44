"""Model agreement: whether a quantised or half-precision version of the model has the same explanation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..registry import DATA, PREDICT, register
from .altered import compared, difference, explained_by, opened
from .similarity import Comparing

if TYPE_CHECKING:
    from .score import Reading
    from .trial import Trial


@register("metric", "model-agreement", needs=PREDICT | DATA, source="onnxplain")
@dataclass(frozen=True, kw_only=True)
class ModelAgreement(Comparing):
    """Similarity between the explanation and that of another version of the model: quantised, FP16, optimised.

    The same method, settings, seed and target; 1 where the two versions decide for the same reasons. Inputs are given
    in the precision that the other version takes. The part ``relative difference`` is ``|phi' - phi| / |phi|``,
    ``score`` the other version's score.
    """

    better: ClassVar[str | None] = "higher"
    meaning: ClassVar[str] = "similarity to the explanation of another version of the model"
    cost: ClassVar[str] = "1 explanation"

    model: Annotated[Any, "file of the other version: quantised, FP16, optimised"]

    def score(self, trial: Trial) -> Reading:
        """Explain the other version and compare."""
        again = explained_by(opened(self.model, trial), trial)
        parts = {"relative difference": difference(trial, again), "score": again.score}
        return compared(trial, again, self.similarity, **parts)
