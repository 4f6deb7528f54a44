"""Mu-fidelity: faithfulness correlation of ranks over cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ..registry import PREDICT, register
from .faithfulness_correlation import FaithfulnessCorrelation
from .similarity import Correlation


@register("metric", "mu-fidelity", needs=PREDICT, source="Bhatt et al. 2020, arXiv:2005.00631")
@dataclass(frozen=True)
class MuFidelity(FaithfulnessCorrelation):
    """Rank correlation between the attribution of random sets of cells and the fall of the score without them.

    ``mu_F = corr_S(sum_(i in S) phi_i, f(x) - f(x with S replaced by the baseline))``, like
    ``faithfulness-correlation``, but over a fifth of the cells of a 9 by 9 grid instead of single pixels (whose random
    sets all look alike), and of ranks, as it is in common use since.

    Source: Bhatt, Weller and Moura 2020, arXiv:2005.00631, definition 3.
    """

    meaning: ClassVar[str] = "rank correlation of attributions of random cells with the effect of removing them"

    features: Annotated[Any, "what is removed; auto: a grid of 9 by 9 cells of images"] = "auto"
    correlation: Annotated[Correlation, "linear (pearson) or of ranks (spearman)"] = "spearman"
    image: ClassVar[str] = "grid:9"
