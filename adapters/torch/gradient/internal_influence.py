"""Internal influence: the mean gradient at a tensor while the inputs go from a reference to the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ....engine.registry import GRADIENT, register
from ....engine.settings import Range
from .integrated_gradients import MOST_POINTS, Rule, nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes, Values


@register("explainer", "internal-influence", needs=GRADIENT, source="Leino et al. 2018, arXiv:1802.03788")
@dataclass(frozen=True)
class InternalInfluence:
    """How strongly each element of an inner tensor moves the score, on average from a reference to the sample.

    ``I_j = integral_0^1 dF/dy_j dt`` at ``x0 + t (x - x0)``, for the elements y_j of the tensor that ``wrt`` names:
    the influence of Leino et al. for the distribution of interest that is uniform on this line. Several references x0
    are averaged. Values are in units of the score per unit of the tensor.

    Source: Leino, Sen, Datta, Fredrikson and Li 2018, Influence-Directed Explanations for Deep Convolutional Networks,
    arXiv:1802.03788, definition 1.
    """

    points: Annotated[int, "points t at which the gradient is taken, per reference", Range(1, MOST_POINTS)] = 50
    rule: Annotated[Rule, "where the points are and what they weigh"] = "gauss-legendre"
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
        import torch

        from .paths import Straight, tapping
        from .slopes import broad

        slopes = tapping(given.problems, [given.problems[0].layer()])
        references = slopes.references
        places, weights = (torch.tensor(a).to(references.owners.device) for a in nodes(self.rule, self.points))
        path = Straight(slopes, places)
        values: Values = {}
        for rows in slopes.chunks(len(references.owners) * self.points, "internal-influence"):
            way, place = rows // self.points, rows % self.points
            owners = references.owners[way]
            for tap, gradient in slopes.run(path.points(way, place), owners).gradients.items():
                share = weights[place] / references.counts[owners]
                empty = gradient.new_zeros((len(slopes.problems), *gradient.shape[1:]), dtype=torch.float64)
                values.setdefault(tap, empty).index_add_(0, owners, broad(share, gradient) * gradient)
        return slopes.explanations(
            values,
            evaluations=1 + int(references.counts.max()) * (self.points + 1),
            baseline_scores=references.mean_scores(),
        )
