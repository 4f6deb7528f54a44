"""Gradients whose activations let only positive ones through: what guided backpropagation and the deconvnet share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....engine.errors import printable
from .method import under_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from ..rules import Flow

_EXACT = ("Relu", "Clip")  # for which the papers were written
_NAMED = 4
_CLOSED = ("If", "Loop", "RNN", "Scan", "SequenceMap")  # operators that may hold activations


def rectified(problems: Sequence[Problem], name: str, *, guided: bool) -> list[Explanation]:
    """Return gradients that only positive ones have come through, with notes on activations that are no ReLU."""
    from ..rules import Exact, Rectified, RuleSet

    rules = RuleSet(name, (("activation", Rectified(guided=guided)), ("any", Exact())), flow="gradient", merge=False)
    return under_rules(problems, lambda _: rules, _notes)


def _notes(flow: Flow) -> tuple[str, ...]:
    from ..rules.kinds import LIKE_RELU

    forms = {form: tensor for tensor, kind, form, _ in flow.nodes if kind == "activation"}
    like = {f: t for f, t in forms.items() if f in LIKE_RELU and f not in _EXACT}
    other = {f: t for f, t in forms.items() if f not in LIKE_RELU}
    notes = []
    if like:
        notes.append(f"made for ReLU; activations here are {_listed(like)}, of which the positive gradient is kept too")
    if other:
        notes.append(f"activations that are not like ReLU keep their gradient: {_listed(other)}")
    closed = {form: tensor for tensor, _, form, _ in flow.nodes if form in _CLOSED}
    if closed:
        notes.append(f"activations inside of other operators keep their gradient: {_listed(closed)}")
    if not forms and not closed:
        notes.append("there is no activation between the values and the target: this is the plain gradient")
    return tuple(notes)


def _listed(forms: dict[str, str]) -> str:
    named = [f"{form if form != 'gate' else 'gated'} (such as '{printable(t)}')" for form, t in forms.items()]
    return ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more" if len(named) > _NAMED else "")
