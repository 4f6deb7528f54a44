"""Layer-wise relevance propagation: the score is handed back from node to node and shared among their inputs."""

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

Preset = Literal[
    "auto", "epsilon-plus-unbiased", "epsilon-plus", "epsilon-alpha2-beta1", "epsilon-gamma-box", "uniform"
]
Rules = str | dict[str, str]
Bounds = float | tuple[float, ...] | None


@register(
    "explainer",
    "lrp",
    needs=GRADIENT,
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10",
)
@dataclass(frozen=True)
class Lrp:
    """Layer-wise relevance propagation: the score, handed back layer by layer, each by its own rule.

    Relevance starts as the score and goes back from a node to what it reads, ``R_i = sum_j z_ij / z_j R_j`` and the
    rules made from it: ``zero``, ``epsilon:E``, ``gamma:G``, ``literal-gamma:G``, ``alpha-beta:A`` (with
    alpha - beta = 1), ``z-plus``, ``w-squared``, ``flat``, ``box:LOW..HIGH`` for linear maps, ``pass`` (or
    ``identity``) for activations, ``detached`` or ``pass`` for normalisation, ``half`` and ``gate`` for products,
    ``winner`` and ``proportional`` for max-pooling, ``taylor`` for softmax; ``adapters.torch.rules`` has the formulas.
    For transformers there are attn-lrp and conservative-lrp.

    ``rules`` name them by layer: one name for all layers (convolutions and dense ones; sums, pooling and batch
    normalisation by itself keep epsilon unless named: ``rest=z-plus, sum=z-plus``), or pairs ``KEY=RULE`` parted by
    commas, or a dict of these, or a TOML file with a table ``[rules]``. Keys: ``first``, ``last``, ``lower``,
    ``middle``, ``upper`` (thirds by depth), ``conv``, ``dense``, ``pool``, ``sum``, ``activation``, ``product``,
    ``max-pool``, ``softmax``, ``normalisation``, ``batch-norm``, ``rest``, or the name, or a pattern such as
    ``layer1*``, of nodes or tensors; of layers that were merged, any name counts. Keys that are not
    given have the rule of the preset: ``epsilon-plus-unbiased`` (convolutions z-plus, of which biases keep nothing;
    dense layers epsilon), ``epsilon-plus`` (the same, biases keep their share), ``epsilon-alpha2-beta1``,
    ``epsilon-gamma-box`` (first layer box, convolutions gamma), ``uniform`` (all layers epsilon). ``auto`` is
    epsilon-plus-unbiased where there are convolutions, else uniform: of these presets it had the lowest deletion area
    on photographs (docs/relevance.md); with merged batch normalisation, biases would keep nearly all of the score.

    The values add up to the score but for what biases and epsilon keep: ``gap`` is what is missing, and ``extras``
    list the nodes that kept it (``lost``, ``lost_at``). LRP is reported to be patented for commercial use.

    Sources: Bach, Binder, Montavon, Klauschen, Mueller and Samek 2015, On Pixel-Wise Explanations; Montavon, Binder,
    Lapuschkin, Samek and Mueller 2019, Layer-Wise Relevance Propagation: An Overview; presets: Kohlbrenner et al.
    2020, arXiv:1910.09840.
    """

    rules: Annotated[Rules, "rules by layer: KEY=RULE, ... or a dict; one name for all layers; or a TOML file"] = ""
    preset: Annotated[Preset, "rules for what 'rules' leaves open"] = "auto"
    epsilon: Annotated[float, "of the epsilon rule where none is written, in units of its layer's output", Range(0)] = (
        1e-6
    )
    gamma: Annotated[float, "of the gamma rules where none is written", Range(0)] = 0.25
    low: Annotated[Bounds, "smallest value of the input, or one per channel, for box"] = None
    high: Annotated[Bounds, "largest value of the input, or one per channel, for box"] = None
    merge: Annotated[bool, "put batch normalisation into the layer before it"] = True
    bias: Annotated[bool, "let biases keep their share; without, they are left out of the sums"] = True

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .method import under_rules

        return under_rules(problems, self.rule_set)

    def rule_set(self, problem: Problem) -> RuleSet:
        """Return the rules for a problem's model."""
        from ..rules import RuleSet
        from ..rules.parse import Numbers, parse_rules
        from .bounds import bounds_of, listed
        from .presets import layers, others

        known = bounds_of(problem)
        numbers = Numbers(
            self.epsilon,
            self.gamma,
            known[0] if self.low is None else listed(self.low),
            known[1] if self.high is None else listed(self.high),
        )
        given = dict(parse_rules(self.rules, numbers))
        preset = self._preset(problem)
        chosen = others(numbers) | ({} if "rest" in given else layers(preset, numbers)) | given
        return RuleSet("lrp", tuple(chosen.items()), merge=self.merge, bias=self.bias, own=frozenset(given))

    def _preset(self, problem: Problem) -> str:
        if self.preset != "auto":
            return self.preset
        convolutions = any("Conv" in node.op_type for node in problem.model.proto.graph.node)
        return "epsilon-plus-unbiased" if convolutions else "uniform"
