"""Several explanations of one text: its words once for each method, one passage under the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..marked_text import marked_text
from .colour import MUTED, mode_for
from .page import PageSection
from .passage import SIGNED, passage_of, says_more
from .reading_order import is_from_right
from .sheet import BODY, FOOT, MARGIN, SMALL, Sheet, fitted, height_of, width_of, wrapped
from .text import CLIPPED, LINE, MOST_LINES, fills_of, lines_of, shades_of, write_line
from .title import write_title
from .wording import evaluations, number, outcome, short, target_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from ..explanation import Explanation
    from ..marked_text import MarkedText
    from .colour import Scale

WIDTH = 7.5  # inches
HEAD = 0.5
NAME = 0.26  # of a passage's head
BETWEEN = 0.22
MEANING = "Red raises the score, blue lowers it; white is 0."


def text_in_common(explanations: Sequence[Explanation]) -> list[MarkedText]:
    """Return the text of each explanation with its values where all are of one text and of nothing beside it."""
    found = [marked_text(e) for e in explanations]
    marked = [m for e, m in zip(explanations, found, strict=True) if m is not None and not says_more(e)]
    return marked if len(marked) == len(found) and len({m.text for m in marked}) == 1 else []


def texts_figure(
    explanations: Sequence[Explanation],
    marked: Sequence[MarkedText],
    mode: str | None = None,
    *,
    title: bool | str = True,
) -> Figure:
    """Return the passages below each other, each with the name of its method and on a scale of its own."""
    room = WIDTH - 2 * MARGIN
    scales = [shades_of(e, m, mode_for(e, mode)) for e, m in zip(explanations, marked, strict=True)]
    passages = [lines_of(m, room) for m in marked]
    most = max(1, MOST_LINES // len(passages))
    clipped = any(len(lines) > most for lines in passages)
    notes = wrapped(" ".join([_meaning(scales), *([f"{CLIPPED.capitalize()}."] if clipped else [])]), room, SMALL)
    top = MARGIN + (HEAD if title is not False else 0.0)
    tall = sum(NAME + LINE * len(lines[:most]) + BETWEEN for lines in passages)
    sheet = Sheet(WIDTH, top + tall + height_of(len(notes), SMALL) + FOOT)
    if title is not False:
        heading = short(title, 200) if isinstance(title, str) else told(explanations)
        write_title(sheet, heading, f"{len(explanations)} explanations of the same text")
    for explanation, lines, scale in zip(explanations, passages, scales, strict=True):
        _write_name(sheet, top, explanation, scale, room)
        top += NAME
        fills = fills_of(scale)
        for line in lines[:most]:
            write_line(sheet, top, line, fills, from_right=is_from_right(marked[0].text))
            top += LINE
        top += BETWEEN
    sheet.paragraph(MARGIN, top, notes)
    return sheet.figure


def texts_section(
    explanations: Sequence[Explanation], marked: Sequence[MarkedText], mode: str | None = None
) -> PageSection:
    """Return a part of a page with the same text once for each method."""
    scales = [shades_of(e, m, mode_for(e, mode)) for e, m in zip(explanations, marked, strict=True)]
    names = [short(e.method) for e in explanations]
    found = [passage_of(e, m, mode)[0] for e, m in zip(explanations, marked, strict=True)]
    ends = ", ".join(f"{name} {_end(scale)}" for name, scale in zip(names, scales, strict=True))
    return PageSection(
        f"{len(explanations)} methods, {told(explanations)}",
        passages=tuple(zip(names, found, strict=True)),
        meaning=f"{_meaning(scales)} Colours end at: {ends}.",
    )


def told(explanations: Sequence[Explanation]) -> str:
    """Return what is explained, where that is the same for all."""
    targets = {(target_name(e), number(e.score)) for e in explanations}
    return outcome(explanations[0]) if len(targets) == 1 else "several targets"


def _write_name(sheet: Sheet, top: float, explanation: Explanation, scale: Scale, room: float) -> None:
    name = fitted(short(explanation.method), room / 2, BODY, bold=True)
    sheet.write(MARGIN, top, name, size=BODY, bold=True)
    spent = evaluations(explanation) if explanation.evaluations else ""
    about = ", ".join(part for part in (f"colours end at {_end(scale)}", spent) if part)
    left = width_of(name, BODY, bold=True) + 0.15
    sheet.write(MARGIN + left, top + 0.012, fitted(about, room - left, SMALL), size=SMALL, colour=MUTED)


def _end(scale: Scale) -> str:
    """Return where the colours of a scale end."""
    if scale.mode == "centred":
        return f"{number(scale.middle)} ± {number(scale.high)}"
    return f"{'±' if scale.mode in SIGNED else ''}{number(scale.high)}"


def _meaning(scales: Sequence[Scale]) -> str:
    if any(scale.mode not in SIGNED for scale in scales):
        return "The stronger the colour, the larger the value. Each method has its own scale."
    if any(scale.mode == "centred" for scale in scales):
        return f"{MEANING} Where colours are relative to a mean, white is that mean. Each method has its own scale."
    return f"{MEANING} Each method has its own scale."
