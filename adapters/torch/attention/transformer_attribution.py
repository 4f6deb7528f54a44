"""Transformer attribution: attention relevance by Deep Taylor decomposition, weighed by gradients and rolled out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ....engine.errors import CapabilityError, printable
from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.internals.rollout import Relevance
    from ....engine.problem import Problem
    from ..rules import RuleSet
    from .weighed import Weighed


@register("explainer", "transformer-attribution", needs=GRADIENT, source="Chefer et al. 2021, arXiv:2012.09838")
@dataclass(frozen=True)
class TransformerAttribution:
    """Which tokens speak for the target: relevance of attention weights times their gradients, rolled out.

    ``C_l = I + mean over heads of max(0, dy/dA_l * R_l)`` and ``C_L ... C_2 C_1``; the values are the row of the token
    that the target is made from, or the mean of these rows, less the I of that token itself. R_l is the relevance that
    comes to the weights A_l, from 1 at the target: linear maps share it among their positive contributions,
    ``R_i = sum_j (a_i w_ij)^+ / sum_i (a_i w_ij)^+ R_j``, biases get none; products of two signals give each factor
    half; of a sum each part gets its share x / (x + y) R, scaled so that the parts' sums, in size, are to each other as
    before and add up to that of R (eq. 8 to 10); softmax, activations and normalisation pass it. For self-attention;
    cross-attention: ``generic-attention``.

    LRP is reported to be patented for commercial use. Source: Chefer, Gur and Wolf 2021, Transformer interpretability
    beyond attention visualization, CVPR, arXiv:2012.09838, section 3, and the authors' code where the text is open.
    """

    token: Annotated[int | None, "token that is explained; none finds those that the target is made from"] = None

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model; relevance is made for one after the other."""
        from .weighed import explained

        return explained(problems, rolled, self.token, rule_set)


def rule_set(problem: Problem) -> RuleSet:
    """Return the rules that relevance of attention weights is made by."""
    from ..rules import AlphaBeta, Epsilon, Exact, Half, Pass, RuleSet
    from .rules import Balanced, Scaled, norm_rules

    positive = AlphaBeta(1.0, 0.0, bias=False)  # Chefer et al. 2021, eq. 5
    return RuleSet(
        "transformer-attribution",
        (
            *norm_rules(problem),
            ("conv", positive),
            ("dense", positive),
            ("linear", Epsilon(0.0)),
            ("sum", Balanced()),
            ("activation", Pass()),
            ("product", Scaled(Half())),
            ("max-pool", Exact()),
            ("softmax", Pass()),
            ("normalisation", Pass()),
        ),
        seed="one",
    )


def rolled(one: Weighed) -> Relevance:
    """Return the product of the layers."""
    R = one.start()
    for layer in one.found.layers:
        if not layer.is_self:
            raise CapabilityError(
                f"transformer-attribution is for self-attention; '{printable(layer.weights)}' is cross-attention",
                tip="use generic-attention, which is for encoders, decoders and pairs of inputs",
            )
        C, s = np.maximum(one.G[layer] * one.S[layer], 0).mean(axis=0), layer.query_inputs
        for t in R.sizes:
            R[s, t] = R[s, t] + C @ R[s, t]
    return R
