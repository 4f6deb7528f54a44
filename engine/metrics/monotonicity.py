"""Monotonicity: whether the score only rises as features are put in, the least important ones first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .removal import ROUNDING, Rank, ranked_curve
from .score import Reading, undefined
from .trial import Of, Trial


@register(
    "metric",
    "monotonicity",
    needs=PREDICT,
    source="Luss et al. 2019, arXiv:1905.12698; Arya et al. 2019, arXiv:1909.03012",
)
@dataclass(frozen=True)
class Monotonicity:
    """1 where the score never falls while features are put into the baseline in ascending order of their values.

    The mean over samples is the share of samples where that holds. ``with_baseline`` counts the step from the bare
    baseline to the first feature too; AIX360 and Quantus do not. A fall in the last bits of the runtime is none. The
    part ``rising`` is the share of steps that do not fall, the curve the scores.

    Source: Luss et al. 2019, Generating contrastive explanations with monotonic attribute functions,
    arXiv:1905.12698; Arya et al. 2019, arXiv:1909.03012.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of samples whose score never falls as features are put in, least important first"
    cost: ClassVar[str] = "steps + 1"
    is_share: ClassVar[bool] = True

    features: Annotated[Any, "what is put in; auto: a grid of 7 by 7 cells of images"] = "auto"
    baseline: Annotated[Any, "what they are put into: a number, array or name"] = "auto"
    steps: Annotated[int, "most steps", Range(1, 100_000)] = 224
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    with_baseline: Annotated[bool, "count the step from the bare baseline too"] = False
    of: Annotated[Of, "what rises: the explained score, or the class's probability"] = "score"

    def score(self, trial: Trial) -> Reading:
        """Put in the least important features first."""
        found = ranked_curve(trial, self, insert=True, order="least", image="grid:7")
        if isinstance(found, str):
            return undefined(found)
        x, y, _, _ = found
        rises = np.diff(y if self.with_baseline else y[1:]) >= -ROUNDING * float(np.abs(y).max())
        if not rises.size:
            return undefined("there is one step only, and that from the baseline is left out", curve=(x, y))
        return Reading(float(rises.all()), (x, y), parts={"rising": float(rises.mean())})
