"""Input invariance: whether the explanation stays when a shift of the input is undone in the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..graph import shifted
from ..registry import PREDICT, register
from ..settings import Range
from .altered import altered, difference
from .score import Reading, undefined
from .trial import reach

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "input-invariance", needs=PREDICT, source="Kindermans et al. 2019, arXiv:1711.00867")
@dataclass(frozen=True)
class InputInvariance:
    """Relative change of the explanation when the input is shifted and the model shifts it back; 0 is invariant.

    The model ``f'(x + s) = f(x)`` is the same function of the shifted input, so the explanation of ``x + s`` by f'
    should be that of x by f: ``|phi' - phi| / |phi|``, Euclidean. Methods that compare with a fixed baseline, or
    multiply by the input, are not invariant.

    Source: Kindermans et al. 2019, The (un)reliability of saliency methods, arXiv:1711.00867.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "relative change of the explanation when a shift of the input is undone in the model"
    cost: ClassVar[str] = "1 explanation"

    shift: Annotated[float, "how far all numbers are shifted, in parts of the input's range", Range(-100, 100)] = 1.0

    def score(self, trial: Trial) -> Reading:
        """Shift, explain again, compare."""
        feeds = trial.floats()
        shifts = {n: np.array(self.shift * reach(f), dtype=f.dtype) for n, f in feeds.items()}
        model = altered(trial.model, shifted(trial.model.proto, shifts))
        moved = {n: f + shifts[n] for n, f in feeds.items()}
        again = trial.again(model=model, feeds={**trial.sample.feeds, **moved})
        found = difference(trial, again)
        return undefined("the map is zero everywhere") if math.isnan(found) else Reading(found)
