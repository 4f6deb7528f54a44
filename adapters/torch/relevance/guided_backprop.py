"""Guided backpropagation: the gradient, where neither an activation nor the gradient itself is below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem


@register("explainer", "guided-backprop", needs=GRADIENT, source="Springenberg et al. 2015, arXiv:1412.6806")
@dataclass(frozen=True)
class GuidedBackprop:
    """The gradient through activations that let only positive ones back.

    At each activation a, ``g_in = a'(z) max(0, g_out)``: for ReLU, the gradient where both z and the gradient are above
    zero. All activations that are like ReLU are treated so (leaky ReLU, ELU, GELU, SiLU, ReLU6 and the like), and a
    note names those that are no ReLU; sigmoid and tanh keep their gradient. Nothing is multiplied with the input. The
    maps show fine structure and depend little on the class (Adebayo et al. 2018, arXiv:1810.03292).

    Source: Springenberg, Dosovitskiy, Brox and Riedmiller 2015, Striving for Simplicity, arXiv:1412.6806, section 3.4.
    """

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .backprop import rectified

        return rectified(problems, "guided-backprop", guided=True)
