"""What the methods on backward rules share: running problems under rules, and telling where relevance is lost."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ....engine.errors import CapabilityError, printable
from ....engine.internals.attention import spelled_out
from ..gradient.slopes import together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..gradient.slopes import Slopes
    from ..rules import Flow, Returned, RuleSet

MOST_LISTED = 64  # nodes that lose relevance, in an explanation
NOTED_FROM = 1e-6  # of the score: smaller losses are rounding
TOLD_FROM = 0.01  # of the score: losses that a note tells of
MOST_TOLD = 3


def under_rules(
    problems: Sequence[Problem],
    rules_of: Callable[[Problem], RuleSet],
    notes_of: Callable[[Flow], tuple[str, ...]] = lambda _: (),
    *,
    times_input: bool = False,
) -> list[Explanation]:
    """Return what comes back to the explained tensors at the samples themselves.

    ``times_input`` multiplies with the values there. For relevance, the explanations tell gap and losses (``told``).
    """
    from ..rules import Flow

    problems = [spelled(p) for p in problems]
    rules = {id(p.model): rules_of(p) for p in problems}

    def explained(slopes: Slopes) -> list[Explanation]:
        flow = Flow(dataclasses.replace(slopes, rules=rules[id(slopes.problems[0].model)]))
        found = flow.at_samples()
        values = {n: r.double() * found.values[n] if times_input else r for n, r in found.relevance.items()}
        made = slopes.explanations(values, evaluations=1, scores=found.scores)
        notes = (*unused(flow), *notes_of(flow))
        if flow.rules.flow == "relevance":
            made = [told(one, found, k, flow) for k, one in enumerate(made)]
        return [dataclasses.replace(one, notes=(*one.notes, *notes)) for one in made]

    return together(problems, explained)


def spelled(problem: Problem) -> Problem:
    """Return a problem whose model has plain operators for attention nodes and for residual sums with their norms.

    There are rules for these. Nodes that cannot be spelled out stay: without a rule they are an error, which names
    them, where something comes back to them.
    """
    try:
        model = spelled_out(problem.model, problem.sample.feeds, problem.target.tensor)
    except CapabilityError:
        return problem
    return problem if model is problem.model else dataclasses.replace(problem, model=model)


def told(one: Explanation, found: Returned, row: int, flow: Flow) -> Explanation:
    """Return an explanation with its gap and with the nodes that keep relevance, the largest first.

    ``gap`` is the sum of relevance less what was started with. ``extras``: ``lost`` (n,), and ``lost_at`` (n,) the
    tensors that these nodes make.
    """
    start = one.score if flow.rules.seed == "score" else 1.0
    total = math.fsum(float(a.sum()) for a in one.values.values())
    lost = {n: float(v[row]) for n, v in found.lost.items()}
    known = {n: v for n, v in lost.items() if math.isfinite(v)}
    order = sorted(known, key=lambda n: -abs(known[n]))
    least = NOTED_FROM * max(abs(start), np.finfo(np.float64).tiny)
    listed = [n for n in order if abs(known[n]) > least][:MOST_LISTED]
    large = [n for n in listed if abs(known[n]) >= TOLD_FROM * abs(start)][:MOST_TOLD]
    notes = []
    if large:
        parts = ", ".join(f"{known[n]:.3g} at '{printable(n)}' ({_why(flow, n)})" for n in large)
        notes.append(f"relevance that does not reach the values, of {start:.4g}: {parts}")
    beside = start - total - math.fsum(known.values())
    if len(known) == len(lost) and abs(beside) > TOLD_FROM * abs(start):
        notes.append(f"relevance of {beside:.3g} goes to constants, or by tensors that are not explained")
    return dataclasses.replace(
        one,
        gap=total - start,
        extras={
            **one.extras,
            "lost": np.array([known[n] for n in listed], np.float64),
            "lost_at": np.array(listed, np.str_) if listed else np.zeros(0, "<U1"),
        },
        notes=(*one.notes, *notes),
    )


def _why(flow: Flow, tensor: str) -> str:
    return next((f"{form}, {rule}" for name, _, form, rule in flow.nodes if name == tensor), "")


def unused(flow: Flow) -> tuple[str, ...]:
    """Return a note for each rule that a person asked for and no node has."""
    return tuple(f"no node that the target depends on fits the rule for '{printable(key)}'" for key in flow.unused)
