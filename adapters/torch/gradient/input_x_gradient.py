"""Input times gradient: what each element contributes to the linear function that touches the target at the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes


@register("explainer", "input-x-gradient", needs=GRADIENT, source="Shrikumar et al. 2016, arXiv:1605.01713")
@dataclass(frozen=True)
class InputXGradient:
    """Each element times the gradient there.

    ``S_i = x_i df(x) / dx_i``. Where the model is made of linear layers without bias, ReLU and max-pooling, the values
    add up to the score. At an inner tensor this is activation times gradient.

    Source: Shrikumar, Greenside, Shcherbina and Kundaje 2016, Not Just a Black Box, arXiv:1605.01713, section 3.
    """

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        return together(problems, _explained)


def _explained(slopes: Slopes) -> list[Explanation]:
    step = slopes.at_samples()
    values = {n: slopes.values[n].double() * step.gradients[n] for n in slopes.names}
    return slopes.explanations(values, evaluations=1, scores=step.scores)
