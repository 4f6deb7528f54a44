"""Deep Taylor decomposition: each neuron's relevance is expanded around a root point in its inputs' domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ....engine.errors import SettingError
from ....engine.registry import GRADIENT, register
from .lrp import Bounds  # read at run time: the settings are described by their types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..rules import Rule, RuleSet

Domain = Literal["auto", "bounded", "unbounded"]


@register("explainer", "deep-taylor", needs=GRADIENT, source="Montavon et al. 2017, arXiv:1512.02479")
@dataclass(frozen=True)
class DeepTaylor:
    """Relevance by Taylor expansion of every neuron: z-plus above, and the domain's rule in the first layer.

    Above the first layer ``R_i = sum_j a_i w_ij^+ / sum_i a_i w_ij^+ R_j`` (z+); in the first layer, where inputs are
    bounded, ``R_i = sum_j (x_i w_ij - l_i w_ij^+ - h_i w_ij^-) / sum_i (same) R_j`` (zB), and else ``R_i = sum_j w_ij^2
    / sum_i w_ij^2 R_j`` (w2). Biases have no part, so that relevance is kept; where a neuron has no positive input it
    is lost, and ``extras`` tell where (``lost``, ``lost_at``). Made for targets above zero and networks of ReLU;
    contributions of inputs below zero are split by the sign of the product.

    Source: Montavon, Lapuschkin, Binder, Samek and Mueller 2017, Explaining Nonlinear Classification Decisions with
    Deep Taylor Decomposition, arXiv:1512.02479, section III.
    """

    domain: Annotated[Domain, "of the input; auto: bounded where bounds are given or known"] = "auto"
    low: Annotated[Bounds, "smallest value of the input, or one per channel; none: from the preprocessing"] = None
    high: Annotated[Bounds, "largest value of the input, or one per channel; none: from the preprocessing"] = None

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .method import under_rules

        return under_rules(problems, self._rules)

    def _rules(self, problem: Problem) -> RuleSet:
        from ..rules import Z_PLUS, RuleSet
        from ..rules.parse import Numbers
        from .presets import others

        chosen = others(Numbers()) | {"first": self._first(problem), "rest": Z_PLUS, "pool": Z_PLUS, "sum": Z_PLUS}
        return RuleSet("deep-taylor", tuple(chosen.items()), bias=False)

    def _first(self, problem: Problem) -> Rule:
        from ..rules import WSquared
        from ..rules.parse import Numbers, parse_rule
        from .bounds import bounds_of, listed

        low, high = bounds_of(problem)
        low = low if self.low is None else listed(self.low)
        high = high if self.high is None else listed(self.high)
        bounded = bool(low and high)
        if self.domain == "bounded" and not bounded:
            raise SettingError("a bounded domain needs low and high", tip="set deep-taylor.low and deep-taylor.high")
        if self.domain == "unbounded" or not bounded:
            return WSquared()
        return parse_rule("box", Numbers(low=low, high=high))
