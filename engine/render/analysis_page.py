"""The part of a page about an Analysis: its picture, its tables, and how it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .analysis import figure
from .output import png
from .page import PageSection, PageTable

if TYPE_CHECKING:
    from ..analyses.analysis import Analysis

MOST_LINES = 100  # of a table; the file of the analysis has all


def analysis_section(analysis: Analysis, **options: Any) -> PageSection:
    """Return the part of a page about one analysis, drawn with ``options`` as in ``analysis.figure``."""
    title = analysis.words.get("title", analysis.name)
    manifest = analysis.manifest
    facts: dict[str, Any] = {"analysis": analysis.name}
    for name in ("data", "data_rows", "target"):
        if manifest.get(name) not in {None, ""}:
            facts[name.replace("_", " ")] = manifest[name]
    facts |= {"model evaluations": analysis.evaluations, "seconds": analysis.seconds}
    facts |= {f"setting {name}": value for name, value in analysis.settings.items() if value is not None}
    for name in ("seed", "model_digest", "data_digest"):
        if manifest.get(name) is not None:
            facts[name.replace("_", " ")] = manifest[name]
    tables = [_table("", analysis.columns, analysis.rows[:MOST_LINES], len(analysis.rows))]
    if analysis.listing:
        count = len(analysis.arrays[analysis.listing[0]])
        caption = analysis.words.get("listing", "")
        tables.append(_table(caption, analysis.listing, analysis.listed(MOST_LINES), count))
    return PageSection(
        title=title,
        text=tuple(part for part in (analysis.words.get("below", ""), *analysis.notes) if part),
        png=b"" if analysis.picture == "none" else png(figure(analysis, **({"title": False} | options))),
        facts=facts,
        alternative=f"Picture of {title}.",
        tables=tuple(tables),
    )


def _table(caption: str, head: tuple[str, ...], lines: Any, count: int) -> PageTable:
    left = f"the first {len(lines):,} of {count:,}" if len(lines) < count else ""
    return PageTable(", ".join(part for part in (caption, left) if part), head, lines)
