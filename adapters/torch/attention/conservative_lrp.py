"""Conservative LRP for transformers: attention weights and deviations are taken for constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from ....engine.registry import GRADIENT, register
from ....engine.settings import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..rules import RuleSet


@register("explainer", "conservative-lrp", needs=GRADIENT, source="Ali et al. 2022, arXiv:2202.07304")
@dataclass(frozen=True)
class ConservativeLrp:
    """Layer-wise relevance propagation for transformers that keeps the sum: attention weights count as constants.

    Attention: ``R_j = sum_i A_ij v_j / o_i R_i``, all to the values, none to queries and keys (AH-rule). LayerNorm and
    RMSNorm: linear with the deviation held, ``R_i = x_i sum_j (d_ij - 1/N) R_j / (x_j - mean)`` (LN-rule). Linear maps
    and residual sums: ``R_i = sum_j a_i w_ij / z_j R_j`` with a small epsilon. Activations pass relevance; of a
    gate and a signal the signal gets it. Biases keep their share: ``gap`` is what they keep in all, ``extras`` list
    where. With ReLU or no activation this is the input times the gradient of the model with these parts held constant.

    LRP is reported to be patented for commercial use. Source: Ali, Schnake, Eberle, Montavon, Mueller and Wolf 2022,
    XAI for transformers: better explanations through conservative propagation, ICML, arXiv:2202.07304, section 4.
    """

    epsilon: Annotated[float, "of the epsilon rule, in units of a layer's output", Range(0)] = 1e-6

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .rules import relevance

        return relevance(problems, self.rule_set)

    def rule_set(self, problem: Problem) -> RuleSet:
        """Return the rules for a problem's model, whose attention is spelled out."""
        from ..rules import Detached, Epsilon, Exact, Gate, Pass, RuleSet, Stop, Taylor
        from .rules import Scaled, Unmasked, norm_rules, value_rules

        epsilon = Epsilon(self.epsilon)
        return RuleSet(
            "conservative-lrp",
            (
                *value_rules(problem),
                *norm_rules(problem),
                ("linear", epsilon),
                ("sum", Unmasked(epsilon)),
                ("activation", Pass()),
                ("product", Scaled(Gate())),
                ("reduction", Taylor()),
                ("max-pool", Exact()),
                ("softmax", Stop()),
                ("normalisation", Detached()),
            ),
        )
