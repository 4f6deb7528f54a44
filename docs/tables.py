"""Fills the marks ``<!-- table: NAME -->`` of the pages from the package itself, so that each fact has one source."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import onnxplain
from onnxplain.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
UNMEASURED = "*not measured yet: see [Benchmarks](benchmarks.md)*"
WIDTH = 96  # columns of a help text


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; mkdocs calls this for each."""
    for name, fill in TABLES.items():
        mark = f"<!-- table: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, fill())
    return markdown


def methods() -> str:
    """Return all plug-ins, by name: what each does, what it needs and what it takes."""
    rows = [
        (f"[`{p.name}`](#{p.name})", p.kind, p.summary, ", ".join(p.to_json()["needs"]), ", ".join(p.modalities))
        for p in onnxplain.methods()
    ]
    return table(("name", "kind", "what it gives", "needs", "inputs"), rows)


def settings() -> str:
    """Return a section for each plug-in: its summary, source and settings."""
    return "\n\n".join(section(p) for p in onnxplain.methods())


def section(plugin: onnxplain.Plugin) -> str:
    """Return heading, summary, source and settings of one plug-in."""
    rows = [
        (f"`{s.name}`", f"`{s.type_name}`", f"`{s.default}`", f"{s.help}; {s.bounds}" if s.bounds else s.help)
        for s in plugin.settings
    ]
    parts = [f"### {plugin.name}", plugin.summary]
    if plugin.source:
        parts.append(f"Source: {plugin.source}.")
    if rows:
        parts.append(table(("setting", "type", "default", "meaning"), rows))
    return "\n\n".join(parts)


def metrics() -> str:
    """Return the metrics: what each means, which end is good, its range, what it costs, and its source."""
    rows = []
    for plugin in onnxplain.methods("metric"):
        facts = plugin.to_json()
        low, high = facts.get("range") or (None, None)
        reach = f"{'-∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}"
        name = f"[`{plugin.name}`](methods.md#{plugin.name})"
        rows.append(
            (
                name,
                facts.get("meaning") or plugin.summary,
                facts.get("better") or "",
                reach,
                facts.get("cost") or "",
                plugin.source,
            )
        )
    return table(("metric", "what it says", "better", "range", "evaluations", "source"), rows)


def models() -> str:
    """Return the demonstration models."""
    rows = [(f"`{r.name}`", r.title, r.task, r.modality, r.licence) for r in onnxplain.models.recipes()]
    return table(("name", "what it is", "task", "input", "licence"), rows)


def commands() -> str:
    """Return the help text of every command, each under a heading."""
    parts = []
    for context in contexts(main, "onnxplain", None):
        parts += [f"## {context.command_path}", f"```text\n{context.get_help().replace(chr(8), '').rstrip()}\n```"]
    return "\n\n".join(parts)


def contexts(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    """Yield the context of a command and of all commands below it."""
    width = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    context = command.make_context(name, [], parent, resilient_parsing=True, **width)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from contexts(found, below, context)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def house() -> str:
    """Return the picture of the folders, from the README's section on architecture."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Architecture", 1)[1]
    return "```" + section.split("```")[1] + "```"


def measured(name: str) -> str:
    """Return a result of ``make bench`` as a table, with where and when it was measured."""
    result = _result(name)
    if result is None:
        return UNMEASURED
    head = tuple(dict.fromkeys(k for row in result["rows"] for k, v in row.items() if not isinstance(v, list)))
    rows = [tuple(_figure(row.get(k, "")) for k in head) for row in result["rows"]]
    return f"{table(tuple(k.replace('_', ' ') for k in head), rows)}\n\n*{result['about']}. {_where(result)}.*"


def _result(name: str) -> dict[str, Any] | None:
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def _where(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    return f"{result['date']}, {result['cores']} cores of {result['cpu']}, Python {result['python']}, {versions}"


def shapley_error() -> str:
    """Return the error of each estimator of Shapley values at each budget, the mean over all games."""
    result = _result("shapley-error")
    if result is None:
        return UNMEASURED
    found = {(row["what"], row["budget"]): row for row in result["rows"] if row["game"] == "all"}
    budgets = sorted({budget for _, budget in found})
    rows = []
    for what in dict.fromkeys(what for what, _ in found):
        mine = [found.get((what, budget), {}) for budget in budgets]
        rows.append((what, *(f"{row['error']:.2g}" if "error" in row else "" for row in mine)))
        if what.startswith("onnxplain") and all("coverage" in row for row in mine if row):
            shares = (f"{100 * row['coverage']:.0f} %" if row else "" for row in mine)
            rows.append(("… within two standard errors", *shares))
    return f"{table(('evaluations', *map(str, budgets)), rows)}\n\n*{_where(result)}.*"


OVERVIEWS = {
    "all": ("deletion", "insertion", "road", "mu-fidelity", "sensitivity-n", "pointing-game"),
    "steadiness": (
        "max-sensitivity",
        "seed-agreement",
        "random-logit",
        "parameter-randomisation",
        "model-agreement",
        "input-invariance",
    ),
}


def evaluation(name: str) -> str:
    """Return the methods of a run by a few metrics, ranked by the first; what is no better than chance in italics."""
    result = _result(f"evaluate-{name}")
    if result is None:
        return UNMEASURED
    columns = OVERVIEWS[name]
    found = {(row["metric"], row["method"]): row for row in result["rows"]}
    methods = [row["method"] for row in result["rows"] if row["metric"] == columns[0]]
    lines = [(f"`{method}`", *(_judged(found.get((metric, method))) for metric in columns)) for method in methods]
    head = ("method", *(f"{metric} ({_end(found, metric)})" for metric in columns))
    return f"{table(head, lines)}\n\n*{result['about']}. {_where(result)}.*"


def evaluations(name: str) -> str:
    """Return a section for each metric of a run: methods, means, intervals, and how they stand to the controls.

    How they stand is left out where no control can change: another model or runtime computes no random map.
    """
    result = _result(name)
    if result is None:
        return UNMEASURED
    parts = []
    for metric in dict.fromkeys(row["metric"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["metric"] == metric]
        better = rows[0]["better"]
        is_judged = bool(better) and metric not in {"model-agreement", "provider-agreement"}
        lines = [
            (
                f"`{row['method']}`",
                *("" if row[end] is None else f"{row[end]:.4g}" for end in ("value", "low", "high")),
                str(row["photographs"]),
                *(([row["against random"], row["against edges"]]) if is_judged else ()),
            )
            for row in rows
        ]
        beside = ("against random", "against edges") if is_judged else ()
        head = ("method", "mean", "from", "to", "photographs", *beside)
        parts.append(f"### {metric}{f' ({better} is better)' if better else ''}\n\n{table(head, lines)}")
    return "\n\n".join([*parts, f"*{result['about']}. {_where(result)}.*"])


def _judged(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    figure = f"{row['value']:.3f}"
    return figure if row["against random"] == "better" else f"*{figure}*"


def _end(found: dict[tuple[str, str], dict[str, Any]], metric: str) -> str:
    return next((str(row["better"]) for (name, _), row in found.items() if name == metric), "")


def _figure(value: Any) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


TABLES = {
    "commands": commands,
    "house": house,
    "methods": methods,
    "metrics": metrics,
    "models": models,
    "settings": settings,
    "shapley error": shapley_error,
    **{
        f"measured {name}": partial(measured, name)
        for name in ("startup", "memory", "overhead", "twin", "rules", "metrics")
    },
    **{f"evaluation {name}": partial(evaluation, name) for name in OVERVIEWS},
    **{
        f"evaluations {name}": partial(evaluations, f"evaluate-{name}")
        for name in ("all", "steadiness", "cascade", "digits", "runtime", "runtime-bfloat16")
    },
}
