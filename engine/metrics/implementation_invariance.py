"""Implementation invariance: whether the same function as another graph has the same explanation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..errors import CapabilityError, InputError
from ..graph import rewritten
from ..registry import PREDICT, register
from ..settings import Range
from .altered import altered, difference, held, opened, same_target, taken_by
from .score import Reading, undefined
from .sparseness import NOTHING

if TYPE_CHECKING:
    from ..model import Model
    from .trial import Trial


@register("metric", "implementation-invariance", needs=PREDICT, source="Sundararajan et al. 2017, arXiv:1703.01365")
@dataclass(frozen=True)
class ImplementationInvariance:
    """Relative difference between the explanations of two graphs of the same function; 0 is invariant.

    ``|phi' - phi| / |phi|``, Euclidean. The other graph is a file (``model``), or this one with its inputs negated
    twice and ``Relu(x)`` written ``Max(x, x - x)``. It is an error if the two do not give the same score.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, arXiv:1703.01365, section 2.2.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "relative difference between explanations of two graphs of the same function"
    cost: ClassVar[str] = "1 explanation"

    model: Annotated[Any, "file of the same function as another graph; none: this graph, rewritten"] = None
    tolerance: Annotated[float, "largest relative difference of the scores", Range(0)] = 1e-3

    def score(self, trial: Trial) -> Reading:
        """Explain the other graph and compare."""
        mine = trial.model
        other = self._rewritten(trial) if self.model is None else opened(self.model, trial)
        feeds = taken_by(other, trial.sample.feeds)
        target = same_target(trial, other, feeds)
        scores = [
            float(t.scores(m.rows(f, (t.tensor,))[0][:1])[0])
            for m, t, f in ((mine, trial.target, trial.sample.feeds), (other, target, feeds))
        ]
        if abs(scores[0] - scores[1]) > self.tolerance * max(abs(scores[0]), 1e-6):
            raise InputError(
                f"the other graph is another function: its score is {scores[1]:.6g}, not {scores[0]:.6g}",
                tip="give a graph that computes the same, or raise implementation-invariance.tolerance",
            )
        found = difference(trial, trial.again(model=other, feeds=feeds, target=target))
        if math.isnan(found):
            return undefined(NOTHING)
        return Reading(found, parts={"score difference": scores[1] - scores[0]})

    @staticmethod
    def _rewritten(trial: Trial) -> Model:
        mine = trial.model
        names = tuple(n for n, e in trial.inputs.items() if e.feed.dtype.kind == "f")
        if not names and not any(node.op_type == "Relu" for node in mine.proto.graph.node):
            raise CapabilityError(
                "this graph has no Relu and no input of floating-point numbers that could be written otherwise",
                tip="give the same function as another graph: --set implementation-invariance.model=FILE.onnx",
            )
        return held(mine, ("rewritten", names), lambda: altered(mine, rewritten(mine.proto, names)))
