"""``onnxplain methods``: what there is, and one method in full, both read from the plug-in registry."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING

import click

from .completing import complete_methods
from .errors import DONE, print_error
from .lazy import command
from .output import heading, print_json, table

if TYPE_CHECKING:
    from ..engine.registry import Plugin

KINDS = ("explainer", "metric", "attack", "analysis")


@command("methods")
@click.argument("name", required=False, shell_complete=complete_methods)
@click.option("--kind", type=click.Choice(KINDS), help="Only plug-ins of this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def methods_command(name: str | None, kind: str | None, as_json: bool) -> int:  # noqa: FBT001 - click's call
    """List the methods, or describe the one called NAME with its settings.

    \b
    Examples:
      onnxplain methods
      onnxplain methods rise
      onnxplain methods --kind explainer --json
    """
    from ..engine.registry import broken, find, plugins

    found = [find(name, kind or "")] if name else plugins(kind or "")
    if as_json:
        print_json({"methods": [plugin.to_json() for plugin in found]})
    elif name:
        click.echo(description(found[0]))
    else:
        click.echo(overview(found))
    for plugin in [] if name else broken():
        print_error(f"plug-in '{plugin.name}' of {plugin.package} does not load: {plugin.reason}", "warning")
    return DONE


command = methods_command


def overview(listed: list[Plugin]) -> str:
    """Return a table of plug-ins."""
    rows = [(p.name, p.kind, _needs(p), " ".join(p.modalities), p.summary) for p in listed]
    return table(("name", "kind", "needs", "inputs", "what it gives"), rows)


def description(plugin: Plugin) -> str:
    """Return docstring, settings, source and an example of one plug-in."""
    facts = [("kind", plugin.kind), ("needs", _needs(plugin)), ("inputs", " ".join(plugin.modalities))]
    facts += _goodness(plugin) if plugin.kind == "metric" else []
    facts += [("source", plugin.source)] if plugin.source else []
    parts = [heading(plugin.name), inspect.getdoc(plugin.factory) or "", table((), facts)]
    if plugin.settings:
        rows = [
            (s.name, s.type_name, _default(s.default), f"{s.help}; {s.bounds}" if s.bounds else s.help)
            for s in plugin.settings
        ]
        parts.append(f"{heading('Settings')}\n{table(('name', 'type', 'default', 'meaning'), rows)}")
    example = _example(plugin)
    if example:
        parts.append(f"{heading('Example')}\n{example}")
    return "\n\n".join(parts)


def _goodness(plugin: Plugin) -> list[tuple[str, str]]:
    """Return what a metric's numbers mean."""
    ends = getattr(plugin.factory, "range", (-math.inf, math.inf))
    low, high = (f"{end:g}".replace("inf", "infinity") for end in ends)
    better = getattr(plugin.factory, "better", None)
    cost = getattr(plugin.factory, "cost", "")
    facts = [("range", f"{low} to {high}"), ("better", better or "neither end is good in itself")]
    return [*facts, ("rows", cost)] if cost else facts


def _needs(plugin: Plugin) -> str:
    return " ".join(str(need.name).lower() for need in plugin.needs)


def _default(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _example(plugin: Plugin) -> str:
    """Return a command line that sets the first setting whose default can be typed."""
    if plugin.kind == "metric":
        more = " --box 20,30,180,200" if getattr(plugin.factory, "needs_mask", False) else ""
        more += f" --set {plugin.name}.model=other.onnx" if "data" in _needs(plugin) else ""
        return f"  onnxplain evaluate model.onnx photo.jpg -m occlusion --metric {plugin.name}{more}"
    if plugin.kind == "analysis":
        return f"  onnxplain analyse {plugin.name} model.onnx --data rows.csv -o out"
    if plugin.kind != "explainer":
        return ""
    typed = next((s for s in plugin.settings if isinstance(s.default, int | float) and s.name != "seed"), None)
    given = f" --set {plugin.name}.{typed.name}={_default(typed.default)}" if typed else ""
    source = "photo.jpg" if "image" in plugin.modalities else "rows.csv:0"
    return f"  onnxplain explain model.onnx {source} -m {plugin.name}{given} -o out"
