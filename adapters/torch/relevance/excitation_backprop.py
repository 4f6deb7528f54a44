"""Excitation backpropagation: the chance that a walk down from the target along exciting weights passes a neuron."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from ....engine.errors import SettingError
from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem


@register("explainer", "excitation-backprop", needs=GRADIENT, source="Zhang et al. 2018, arXiv:1608.00507")
@dataclass(frozen=True)
class ExcitationBackprop:
    """The marginal winning probability of each element: who wins when neurons compete to excite the target.

    From the target, which has probability 1, down: ``P(a_j) = sum_i a_j w_ij^+ / sum_j a_j w_ij^+ P(a_i)``. The values
    add up to 1 but for neurons that nothing excites. ``contrastive`` takes away the map of the dual target, whose last
    layer has negated weights: what remains tells the target from the others, and adds up to 0; with ``truncated``, only
    what is above zero below the last layer goes on down. Made for activations that are not below zero; where they are,
    exciting means ``a_j w_ij > 0``. The authors look at inner tensors (``--wrt``), where the maps are smooth.

    Source: Zhang, Bargal, Lin, Brandt, Shen and Sclaroff 2018, Top-Down Neural Attention by Excitation Backprop,
    arXiv:1608.00507, equations 3 to 5 and section 3.3.
    """

    contrastive: Annotated[bool, "take away the map of the dual target"] = False
    truncated: Annotated[bool, "keep only the positive part of the contrast below the last layer"] = False

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def __post_init__(self) -> None:
        """Check that the settings go together."""
        if self.truncated and not self.contrastive:
            raise SettingError("truncated is a form of the contrast", tip="set excitation-backprop.contrastive=true")

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from ..rules import Z_PLUS, Contrast, RuleSet
        from ..rules.parse import Numbers
        from .method import under_rules
        from .presets import others

        chosen = others(Numbers()) | {"rest": Z_PLUS, "pool": Z_PLUS, "sum": Z_PLUS, "batch-norm": Z_PLUS}
        if self.contrastive:
            chosen |= {"last": Contrast(truncated=self.truncated)}
        rules = RuleSet("excitation-backprop", tuple(chosen.items()), seed="one", bias=False)
        found = under_rules(problems, lambda _: rules)
        return [replace(one, gap=None) for one in found] if self.contrastive else found  # a contrast adds up to 0
