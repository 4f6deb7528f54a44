"""Which methods run with which settings: ``-m``, ``--set`` and the short forms, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import SettingError, nearest, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..engine.inputs.sample import Sample
    from ..engine.registry import Plugin

SPECIAL_TOKENS = 2  # that a tokenizer puts around a text
FEW_COLUMNS = 10  # up to here all coalitions of a table's columns are run: 2**10


@dataclass(frozen=True)
class Assignment:
    """``key = value`` for one method, or for all that have the setting where ``method`` is empty."""

    method: str
    key: str
    value: Any
    written: str  # as the user wrote it, for messages


@dataclass(frozen=True)
class Choice:
    """A method and the settings that were given for it."""

    method: str
    settings: dict[str, Any]


def assignments(set_options: Sequence[str], short_forms: Mapping[str, str | None]) -> list[Assignment]:
    """Read ``--set`` options and the short forms (``--budget`` and others, None where they are not given)."""
    from ..engine.settings import parse_value

    found = [_assignment(text) for text in set_options]
    found += [
        Assignment("", key, parse_value(text), f"--{key}") for key, text in short_forms.items() if text is not None
    ]
    return found


def _assignment(text: str) -> Assignment:
    from ..engine.settings import parse_value

    name, equals, value = text.partition("=")
    method, _, key = name.strip().rpartition(".")
    if not equals or not key:
        raise click.UsageError(f"--set takes SETTING=VALUE or METHOD.SETTING=VALUE, not '{text}'")
    return Assignment(method, key, parse_value(value), f"--set {name.strip()}")


def choices(methods: Sequence[str], given: Sequence[Assignment], smooth: str | None = None) -> list[Choice]:
    """Give each method its settings; with ``smooth``, that method around each, its own settings being ``SMOOTH.KEY``.

    Raises ``SettingError`` for an unknown method or setting, a value that is out of range, and an assignment that
    none of the methods takes.
    """
    from ..engine.registry import find

    if smooth is not None:
        around = choices([smooth], [a for a in given if a.method == smooth])[0].settings
        inner = choices(methods, [a for a in given if a.method != smooth])
        return [Choice(smooth, {**around, "of": c.method, "settings": c.settings}) for c in inner]
    settings = assigned({name: find(name, "explainer") for name in methods}, given)
    return [Choice(name, mine) for name, mine in settings.items()]


def assigned(plugins: Mapping[str, Plugin], given: Sequence[Assignment]) -> dict[str, dict[str, Any]]:
    """Return the settings of each plug-in by name, checked; ``SettingError`` for what none of them takes."""
    from ..engine.settings import build

    known = {name: {s.name for s in plugin.settings} for name, plugin in plugins.items()}
    for assignment in given:
        check_taken(assignment, known)
    found = {}
    for name, plugin in plugins.items():
        mine = [a for a in given if a.key in known[name] and a.method in {"", name}]
        mine.sort(key=lambda a: bool(a.method))  # METHOD.SETTING wins over SETTING
        found[name] = {a.key: a.value for a in mine}
        build(plugin.factory, found[name], name)
    return found


def check_taken(assignment: Assignment, known: Mapping[str, set[str]]) -> None:
    """Refuse an assignment that none of the plug-ins takes, given their settings' names by plug-in."""
    written = printable(assignment.written)
    if assignment.method and assignment.method not in known:
        raise SettingError(
            f"{written}: '{printable(assignment.method)}' is not among the methods of this run",
            tip=nearest(assignment.method, known),
        )
    takers = {assignment.method: known[assignment.method]} if assignment.method else known
    if not any(assignment.key in settings for settings in takers.values()):
        raise SettingError(
            f"{written}: {' and '.join(takers)} {'has' if len(takers) == 1 else 'have'} no such setting",
            tip=nearest(assignment.key, set().union(*takers.values())),
        )


def default_method(sample: Sample) -> str:
    """Return the method for a sample where none was asked for.

    That is Shapley values for tables, for texts that are short enough for exact ones, and for texts beside other
    inputs, whose words and columns are then on one scale; occlusion for the rest.
    """
    if sample.modality == "text":
        filled = {name for text in sample.texts for name in (text.input, *text.companions)}
        tokens = sum(len(text.tokens) for text in sample.texts)
        if filled < sample.feeds.keys():
            return "shapley"
        return "exact-shapley" if tokens <= FEW_COLUMNS + SPECIAL_TOKENS else "occlusion"
    if sample.modality != "table":
        return "occlusion"
    columns = len(sample.columns) or sum(feed.size for feed in sample.feeds.values())
    return "exact-shapley" if columns <= FEW_COLUMNS else "kernel-shap"
