"""Gradient times activation: how much each element of a tensor speaks for the target, to first order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes


@register("explainer", "gradient-x-activation", needs=GRADIENT, source="Ancona et al. 2018, arXiv:1711.06104")
@dataclass(frozen=True)
class GradientXActivation:
    """What each element of an inner tensor speaks for: its value times the gradient of the score.

    Values are ``y_j dF/dy_j`` at the tensor y that ``wrt`` names: to first order, how far the score falls when y_j
    becomes zero. Where everything after the tensor is piecewise linear and has no biases, they add up to the score.

    Source: Ancona, Ceolini, Öztireli and Gross 2018, Towards Better Understanding of Gradient-Based Attribution
    Methods, arXiv:1711.06104, section 2 (gradient times input), taken at an inner tensor.
    """

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        problems[0].layer()
        return together(problems, _explained)


def _explained(slopes: Slopes) -> list[Explanation]:
    step = slopes.at_samples()
    values = {n: step.activations[n].double() * g for n, g in step.gradients.items()}
    return slopes.explanations(values, evaluations=1)
