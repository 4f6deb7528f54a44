"""Rank correlation with occlusion: whether the map orders the image as covering patches of it does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from .faithfulness_estimate import singles
from .score import Reading, undefined
from .similarity import spearman
from .subsets import effects
from .trial import Of, Trial


@register("metric", "occlusion-rank-correlation", needs=PREDICT, source="Selvaraju et al. 2017, arXiv:1610.02391")
@dataclass(frozen=True)
class OcclusionRankCorrelation:
    """Rank correlation between the map and how far the score falls when patches are covered.

    Spearman's correlation, over patches, of the mean of the map on a patch with ``f(x) - f(x with the patch covered)``.
    1 is perfect.

    Source: Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391, section 5.3: faithfulness by image occlusion.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "rank correlation of the map with the effect of covering patches"
    cost: ClassVar[str] = "patches + 1"

    features: Annotated[Any, "the patches; auto: a grid of 14 by 14 cells of images"] = "auto"
    baseline: Annotated[Any, "what covers a patch: a number, array or name"] = "auto"
    of: Annotated[Of, "what falls: the explained score, or the class's probability"] = "score"

    def score(self, trial: Trial) -> Reading:
        """Cover one patch at a time and correlate."""
        patches = trial.features(self.features, "grid:14")
        found = effects(trial, patches, self.baseline, self.of, singles(patches), patches.size)
        found = dataclasses.replace(found, sums=trial.levels(patches))
        return undefined(found.trouble) if found.trouble else Reading(spearman(found.sums, found.drops))
