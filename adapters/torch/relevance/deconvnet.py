"""Deconvnet: the gradient with each activation's derivative replaced by rectifying what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem


@register("explainer", "deconvnet", needs=GRADIENT, source="Zeiler & Fergus 2014, arXiv:1311.2901")
@dataclass(frozen=True)
class Deconvnet:
    """The network run backwards, with the activation applied to what comes back.

    At each activation ``g_in = max(0, g_out)``, whatever its input was; max-pooling sends back to where the largest
    element was. All activations that are like ReLU are treated so, and a note names those that are no ReLU; sigmoid
    and tanh keep their gradient. Nothing is multiplied with the input.

    Source: Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901, section 2.1.
    """

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .backprop import rectified

        return rectified(problems, "deconvnet", guided=False)
