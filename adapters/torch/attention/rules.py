"""Rules for attention: nothing for what is masked, and everything for the values that attention weights mix."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING

import torch

from ....engine.graph.attention import AttentionGraph
from ....engine.internals.attention import spelled_out
from ..rules import Rule, RuleSet, share, stabilised, to_factors, unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..rules import Moment, Site
    from ..rules.ruled import Back


@dataclass(frozen=True)
class Unmasked:
    """Another rule, but elements that a mask has put to infinity get nothing; the rule itself would give them 0/0."""

    rule: Rule

    def back(self, site: Site) -> Back | None:
        """Leave out what is not finite."""
        inner = self.rule.back(site)
        if inner is None:
            return None

        def finite(m: Moment) -> list[torch.Tensor | None]:
            parts = zip(inner(m), m.xs, strict=True)
            return [None if p is None else torch.where(torch.isfinite(x), p, torch.zeros_like(p)) for p, x in parts]

        return finite

    def __str__(self) -> str:
        """Name of the rule."""
        return f"{self.rule} of what is not masked"


@dataclass(frozen=True)
class Values:
    """``R_x = x (dy/dx) R / y`` for the values, the factor at ``place``; attention weights are taken for constant.

    The rule for attention heads of Ali et al. 2022, arXiv:2202.07304.
    """

    place: int
    epsilon: float = 1e-9

    def back(self, site: Site) -> Back:
        """Give all relevance to the values."""

        def given(m: Moment) -> Sequence[torch.Tensor]:
            slopes = to_factors(site, m.xs, share(m.R[0], stabilised(m.y, self.epsilon)))
            pairs = zip(m.xs, slopes, strict=True)
            return [x * s if k == self.place else torch.zeros_like(x) for k, (x, s) in enumerate(pairs)]

        return given

    def __str__(self) -> str:
        """Name."""
        return "values"


@dataclass(frozen=True)
class Balanced:
    """Of a sum ``x + y`` each part gets ``x / (x + y) R``, scaled so that the sizes of their sums add up to that of R.

    ``R_x <- R_x sign(sum R_x) sum R / (|sum R_x| + |sum R_y|)`` over all elements: for one sample at a time. What is
    added as a constant gets none, nor does what a mask has put to infinity. Chefer et al. 2021, arXiv:2012.09838, eq. 8
    to 10.
    """

    epsilon: float = 1e-9

    def back(self, site: Site) -> Back:
        """Share and scale."""
        layer = site.linear
        if layer is None:
            raise unfit(self, site, "it is for sums")

        def shared(m: Moment) -> Sequence[torch.Tensor]:
            if len(m.xs) == 1:
                return [back.masked_fill(m.x.isinf(), 0) for back in layer.back(m.R[0], m.xs)]
            slopes = layer.back(share(m.R[0], stabilised(m.y, self.epsilon)), m.xs)
            parts = [x * s for x, s in zip(m.xs, slopes, strict=True)]
            sums = [float(part.sum()) for part in parts]
            if not all(map(math.isfinite, sums)):
                parts = [part.masked_fill_(x.isinf(), 0) for x, part in zip(m.xs, parts, strict=True)]
                sums = [float(part.sum()) for part in parts]
            size = sum(map(abs, sums))
            factor = float(m.R[0].sum()) / size if size else 0.0
            signs = [(total > 0) - (total < 0) for total in sums]
            return [part.mul_(sign * factor) for sign, part in zip(signs, parts, strict=True)]

        return shared

    def __str__(self) -> str:
        """Name."""
        return "balanced"


@dataclass(frozen=True)
class Scaled:
    """A rule for products, but a factor that scales all features of a token alike counts as constant.

    That is one with a last axis of one beside a longer one: the deviation that LayerNorm, RMSNorm or a unit length are
    spelled out with. All relevance goes to the other factor, as the rules for normalisation say.
    """

    rule: Rule
    epsilon: float = 1e-9

    def back(self, site: Site) -> Back | None:
        """Look at the shapes on the way back."""
        inner = self.rule.back(site)
        if site.form not in {"Mul", "Div"} or len(site.reads) != 2:
            return inner
        to_first, to_second = (Values(place, self.epsilon).back(site) for place in (0, 1))

        def shared(m: Moment) -> Sequence[torch.Tensor | None]:
            narrow = [x.dim() == 0 or x.shape[-1] == 1 for x in m.xs]
            if narrow == [False, True]:
                return to_first(m)
            return to_second(m) if narrow == [True, False] else inner(m)  # type: ignore[misc]

        return shared

    def __str__(self) -> str:
        """Name of the rule."""
        return f"{self.rule}, but for scales"


def norm_rules(problem: Problem) -> tuple[tuple[str, Rule], ...]:
    """Return ``Stop`` for each length of a vector that the target is made from: a length counts as constant."""
    from ..rules import Stop

    needed = AttentionGraph(problem.model.proto).before(problem.target.tensor)
    names = (node.output[0] for node in problem.model.proto.graph.node if node.op_type in {"ReduceL1", "ReduceL2"})
    return tuple((escape(name), Stop()) for name in names if name in needed)


def value_rules(problem: Problem) -> tuple[tuple[str, Rule], ...]:
    """Return the rule ``Values`` for each product of attention weights and values before the target."""
    graph = AttentionGraph(problem.model.proto, start=problem.wrt or "")
    makers = {name: node for node in problem.model.proto.graph.node for name in node.output}
    return tuple(
        (escape(layer.output), Values(min(1, list(makers[layer.output].input).index(layer.value))))
        for layer in graph.leading_to(problem.target.tensor)
    )


def relevance(problems: Sequence[Problem], rules_of: Callable[[Problem], RuleSet]) -> list[Explanation]:
    """Return relevance under rules on the model whose attention is spelled out in plain operators."""
    from ..relevance.method import under_rules

    plain = [dataclasses.replace(p, model=spelled_out(p.model, p.sample.feeds, p.target.tensor)) for p in problems]
    groups: dict[str, list[int]] = {}
    for place, problem in enumerate(plain):
        groups.setdefault(problem.target.tensor, []).append(place)
    found: dict[int, Explanation] = {}
    for places in groups.values():
        found |= dict(zip(places, under_rules([plain[k] for k in places], rules_of), strict=True))
    return [found[k] for k in range(len(plain))]
