"""DeepLIFT: the difference from a reference's score, shared among the differences of the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem

Variant = Literal["rescale", "reveal-cancel"]


@register("explainer", "deeplift", needs=GRADIENT, source="Shrikumar et al. 2017, arXiv:1704.02685")
@dataclass(frozen=True)
class DeepLift:
    """What each element's difference from a reference contributes to the score's difference.

    ``S_i = m_i (x_i - x0_i)`` with multipliers m that go back through the network by the chain rule: linear maps have
    their weights, activations the quotient of differences (``rescale``), or one quotient for positive and one for
    negative contributions to an activation that alone reads a layer or a sum (``reveal-cancel``, others are rescaled).
    Max-pooling gives the difference to the place of the larger maximum. For products, softmax, normalisation and
    recurrent cells, of which the paper says nothing, the derivative is averaged on the straight way between what the
    node reads at reference and sample: for ``a b`` that is the mean over both orders. So the values add up to score
    minus baseline score, but for rounding, which is reported as ``gap``.

    Several references x0 (``baseline``) are averaged. At an inner tensor x0 is its value at the reference, with all
    inputs at the sample. Libraries differ: Captum multiplies by the gradient at products.

    Source: Shrikumar, Greenside and Kundaje 2017, Learning Important Features Through Propagating Activation
    Differences, arXiv:1704.02685, section 3.
    """

    variant: Annotated[Variant, "how activations hand back differences"] = "rescale"
    baseline: Annotated[Any, "the references x0: a number, array or name (see docs)"] = "auto"

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .differences import from_references

        return from_references(problems, self.variant)
