"""AttnLRP: layer-wise relevance propagation that goes through the weights of attention as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ....engine.registry import GRADIENT, register
from ....engine.settings import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..rules import RuleSet


@register("explainer", "attn-lrp", needs=GRADIENT, source="Achtibat et al. 2024, arXiv:2402.05602")
@dataclass(frozen=True)
class AttnLrp:
    """Layer-wise relevance propagation for transformers: relevance goes through queries and keys and through values.

    Softmax: ``R_i = x_i (R_i - s_i sum_j R_j)``, its Taylor expansion at the sample (prop. 3.1); it depends on a shift
    of the logits and does not conserve. Products of two signals, as of attention weights and values or of a gate: half
    of the relevance of each term to each factor (prop. 3.3). RMSNorm: relevance passes as it is (prop. 3.4). LayerNorm:
    linear with the deviation held, which is the same but for the mean; with ``layernorm='identity'`` relevance passes
    as it is, as the paper has it, and grows without bound where what is normalised is near zero. Linear maps, residual
    sums included: ``R_i = sum_j a_i w_ij / z_j R_j`` with a small epsilon in z_j (biases keep their share), or with
    ``gamma`` the gamma rule in dense layers and convolutions, which the authors advise for vision transformers.
    Activations pass relevance. Masked logits get nothing. The values add up to the score but for what biases, softmax
    and epsilon keep: ``gap`` is what is missing, ``extras`` list where.

    LRP is reported to be patented for commercial use. Source: Achtibat et al. 2024, AttnLRP: attention-aware layer-wise
    relevance propagation for transformers, ICML, arXiv:2402.05602, section 3.
    """

    layernorm: Annotated[Literal["held", "identity"], "deviation held constant, or relevance passed as it is"] = "held"
    epsilon: Annotated[float, "of the epsilon rule, in units of a layer's output", Range(0)] = 1e-6
    gamma: Annotated[float, "of the gamma rule in dense layers and convolutions; 0 is the epsilon rule", Range(0)] = 0.0

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
        from ..rules import Detached, Epsilon, Exact, Gamma, Half, Pass, RuleSet, Taylor
        from .rules import Scaled, Unmasked, norm_rules

        epsilon = Epsilon(self.epsilon)
        layer = Gamma(self.gamma, signed=True) if self.gamma else epsilon
        return RuleSet(
            "attn-lrp",
            (
                *norm_rules(problem),
                ("conv", layer),
                ("dense", layer),
                ("linear", epsilon),
                ("sum", Unmasked(epsilon)),
                ("activation", Pass()),
                ("product", Scaled(Half())),
                ("max-pool", Exact()),
                ("softmax", Unmasked(Taylor())),
                ("reduction", Taylor()),
                ("normalisation", Pass() if self.layernorm == "identity" else Detached()),
            ),
        )
