"""Conductance: how much of an integrated gradient flows through each element of a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ....engine.registry import GRADIENT, register
from ....engine.settings import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes


@register("explainer", "conductance", needs=GRADIENT, source="Dhamdhere et al. 2018, arXiv:1805.12233")
@dataclass(frozen=True)
class Conductance:
    """What passes through each element of an inner tensor while the inputs go from a reference to the sample.

    ``Cond_j = integral_0^1 dF/dy_j dy_j/dt dt`` at ``x0 + t (x - x0)``, for the elements y_j of the tensor that ``wrt``
    names. The integral is the sum over ``points`` of the gradient times the step of y_j. Several references x0 are
    averaged. Where all that the inputs do to the target
    goes through the tensor, the values add up to score minus baseline score, and the gap is reported; beside a skip
    connection they add up to the tensor's share. At an input, conductance is the integrated gradient.

    Source: Dhamdhere, Sundararajan and Yan 2018, How Important Is a Neuron?, arXiv:1805.12233, definition 1.
    """

    points: Annotated[int, "points at which the gradient is taken, per reference", Range(1, 1_000_000)] = 50
    baseline: Annotated[Any, "the reference x0: a number, array or name (see docs); several are averaged"] = "auto"

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        problems[0].layer()
        return together(problems, self._explained)

    def _explained(self, given: Slopes) -> list[Explanation]:
        from .paths import Straight, gathered, line_integral, spread, tapping

        slopes = tapping(given.problems, [given.problems[0].layer()])
        references = slopes.references
        path = Straight(slopes, spread(self.points, slopes))
        return slopes.explanations(
            line_integral(slopes, path, "conductance"),
            evaluations=1 + int(references.counts.max()) * (self.points + 3),
            baseline_scores=references.mean_scores(),
            complete=gathered(slopes, path.moving),
        )
