"""DeepLIFT SHAP: DeepLIFT averaged over a background, an approximation of Shapley values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ....engine.registry import GRADIENT, register
from .deeplift import Variant  # read at run time: the settings are described by their types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem


@register("explainer", "deeplift-shap", needs=GRADIENT, source="Lundberg & Lee 2017, arXiv:1705.07874")
@dataclass(frozen=True)
class DeepLiftShap:
    """DeepLIFT with each row of a background as reference, averaged, with the standard error of the mean.

    ``S_i = 1/R sum_r m_i^r (x_i - x0_i^r)``, which adds up to the score minus the mean score of the background. The
    background is that of ``baseline``: a file or array of samples. With one reference it is deeplift. Where inputs are
    independent and the model is close to linear between samples, the values are close to Shapley values.

    Source: Lundberg and Lee 2017, A Unified Approach to Interpreting Model Predictions, arXiv:1705.07874, section 4.2.
    """

    variant: Annotated[Variant, "how activations hand back differences"] = "rescale"
    baseline: Annotated[Any, "the background: samples as a file or array, or a name (see docs)"] = "auto"

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .differences import from_references

        return from_references(problems, self.variant, errors=True)
