"""Contributions of differences from references: DeepLIFT's rules, run for each reference and averaged."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..gradient.slopes import broad, together
from ..rules import Averaged, Exact, Flow, Largest, Rescale, RevealCancel, RuleSet, Transpose
from .method import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..gradient.slopes import Slopes
    from ..rules import Rule


def rules_of(variant: str) -> RuleSet:
    """Return DeepLIFT's rules."""
    rules: dict[str, Rule] = {
        "linear": Transpose(),
        "sum": Exact(),
        "activation": Rescale(),
        "max-pool": Largest(),
        "product": Averaged(),
        "softmax": Averaged(),
        "normalisation": Averaged(),
        "recurrent": Averaged(),
        "reduction": Averaged(),
    }
    pairs: dict[str, Rule] = {"pair": RevealCancel()} if variant == "reveal-cancel" else {}
    return RuleSet("deeplift", tuple((rules | pairs).items()), flow="gradient")


def from_references(problems: Sequence[Problem], variant: str, *, errors: bool = False) -> list[Explanation]:
    """Return contributions averaged over each problem's references; with ``errors``, their standard errors."""
    rules = rules_of(variant)

    def explained(slopes: Slopes) -> list[Explanation]:
        return _explained(dataclasses.replace(slopes, rules=rules), variant, errors=errors)

    return together([spelled(p) for p in problems], explained, references=True)


def _explained(slopes: Slopes, variant: str, *, errors: bool) -> list[Explanation]:
    flow, references = Flow(slopes), slopes.references
    means, squares = slopes.sums(), slopes.sums()
    for rows in slopes.chunks(len(references.owners), "deeplift"):
        owners = references.owners[rows]
        points = {n: v[owners] for n, v in slopes.values.items()}
        starts = {n: v[rows] for n, v in references.values.items()}
        found = flow.run(points, owners, starts).relevance
        shares = 1 / references.counts[owners].double()
        for name in slopes.names:
            term = (points[name] - starts[name]).double() * found[name]
            means[name].index_add_(0, owners, broad(shares, term) * term)
            squares[name].index_add_(0, owners, broad(shares, term) * term.square())
    counts = references.counts.double()
    spread = {n: (squares[n] - means[n].square()).clamp_min(0) for n in slopes.names}
    deviations = {n: (v / broad((counts - 1).clamp_min(1), v)).sqrt() for n, v in spread.items()}
    made = slopes.explanations(
        means,
        evaluations=1 + 2 * int(references.counts.max()),
        baseline_scores=references.mean_scores(),
        complete=True,
        errors=deviations if errors else None,
    )
    note = _rescaled(flow) if variant == "reveal-cancel" else ()
    return [dataclasses.replace(one, notes=(*one.notes, *note)) for one in made]


def _rescaled(flow: Flow) -> tuple[str, ...]:
    alone = [form for _, kind, form, _ in flow.nodes if kind == "activation"]
    if not alone:
        return ()
    return (f"{len(alone)} activations that do not alone read a layer are rescaled",)
