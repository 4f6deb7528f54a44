"""An evaluation as parts of a page: a table and the curves of each metric, the gates, and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..metrics import wording
from .curves import curves
from .output import png
from .page import PageSection, PageTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..evaluation.comparison import Failure
    from ..metrics.gates import Verdict
    from ..metrics.score import Score

HEAD = ("", "method", "value", "95 % interval", "inputs", "model evaluations", "seconds")


def evaluation_sections(
    scores: Sequence[Score],
    controls: Sequence[str],
    verdicts: Sequence[Verdict] = (),
    failures: Sequence[Failure] = (),
    facts: Mapping[str, Any] | None = None,
) -> list[PageSection]:
    """Return the parts of a page: the gates, a part per metric, and how it was made with what could not be done."""
    parts = [_gates(verdicts)] if verdicts else []
    parts += [_metric(name, mine, controls) for name, mine in wording.by_metric(scores)]
    lines = [(f.source, f.method, f.metric, f.error.message) for f in failures]
    failed = (PageTable("what could not be done", ("input", "method", "metric", "why"), lines),) if lines else ()
    return [*parts, PageSection("How it was made", facts=facts or {}, tables=failed)]


def _gates(verdicts: Sequence[Verdict]) -> PageSection:
    lines = [(v.gate, v.method, v.outcome, v.why) for v in verdicts]
    return PageSection("Gates", tables=(PageTable("", ("gate", "method", "outcome", "why"), lines),))


def _metric(name: str, scores: Sequence[Score], controls: Sequence[str]) -> PageSection:
    said, ends = wording.meaning(name), wording.ends(scores[0])
    lines = [wording.line(*ranked, controls) for ranked in zip(wording.places(scores), scores, strict=True)]
    tables = [PageTable("", HEAD, lines)]
    head, rows = wording.agreement(scores, controls)
    tables += [PageTable("how alike methods are, each with each", head, rows)] if rows else []
    notes = [f"{', '.join(methods)}: {note}" for note, methods in wording.notes(scores, controls).items()]
    drawn = any(score.curve is not None for score in scores)
    return PageSection(
        name,
        text=(f"{said[:1].upper()}{said[1:]} ({ends})." if said else f"{ends}.", *notes),
        png=png(curves(scores, title=False)) if drawn else b"",
        alternative=f"Curves of {name}, a line for each method.",
        tables=tuple(tables),
    )
