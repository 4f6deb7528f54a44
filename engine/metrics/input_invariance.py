"""Input invariance: whether the explanation stays when a shift of the input is undone in the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..graph import shifted
from ..registry import PREDICT, register
from ..settings import Range
from .altered import altered, difference, latest
from .score import Reading, undefined
from .sparseness import NOTHING

if TYPE_CHECKING:
    from .trial import Trial

NEAR = 1e-3  # relative: scores that differ by more are not those of the same function


@register("metric", "input-invariance", needs=PREDICT, source="Kindermans et al. 2019, arXiv:1711.00867")
@dataclass(frozen=True)
class InputInvariance:
    """Relative change of the explanation when the input is shifted and the model shifts it back; 0 is invariant.

    The model ``f'(x + s) = f(x)`` is the same function of the shifted input, so the explanation of ``x + s`` by f'
    should be that of x by f: ``|phi' - phi| / |phi|``, Euclidean. Methods that compare with a fixed baseline, or
    multiply by the input, are not invariant. Numbers far from 0 have fewer digits after the point: where that alone
    moves the score there is no value, and a smaller ``shift`` may have one.

    Source: Kindermans et al. 2019, The (un)reliability of saliency methods, arXiv:1711.00867.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "relative change of the explanation when a shift of the input is undone in the model"
    cost: ClassVar[str] = "1 explanation"

    shift: Annotated[
        float,
        "how far all numbers are shifted, in parts of the input's range, a column's own in tables",
        Range(-100, 100),
    ] = 1.0

    def score(self, trial: Trial) -> Reading:
        """Shift, explain again, compare."""
        feeds, mine = trial.floats(), trial.model
        shifts = {n: np.asarray(self.shift * trial.reaches[n], dtype=f.dtype) for n, f in feeds.items()}
        key = tuple((n, shift.tobytes()) for n, shift in shifts.items())
        model = latest(mine, key, lambda: altered(mine, shifted(mine.proto, shifts)))
        moved = {n: f + shifts[n] for n, f in feeds.items()}
        again = trial.again(model=model, feeds={**trial.sample.feeds, **moved})
        found = difference(trial, again)
        if math.isnan(found):
            return undefined(NOTHING)
        before = trial.explanation.score
        parts = {"score difference": again.score - before}
        if abs(again.score - before) > NEAR * max(abs(before), 1e-6):
            return undefined("numbers this far from 0 are too coarse: the score changes by rounding alone", parts=parts)
        return Reading(found, parts=parts)
