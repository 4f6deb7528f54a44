"""A text with coloured words as HTML: spans whose colours are classes of the page's style sheet, all text escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ..errors import printable
from ..palette import ink_on, shade
from .text import shades_of
from .wording import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..explanation import Explanation
    from ..marked_text import MarkedText

STEPS = 20  # shades on each side of white
LONGEST = 20_000  # characters; the rest of a longer text is left off, and said to be
SIGNED = {"signed", "centred", "positive"}  # modes whose colours the shades are

Passage = tuple[tuple[str, int | None, str], ...]  # text, shade -20..20 (None: no colour), what it says when pointed at


def passage_of(explanation: Explanation, marked: MarkedText, mode: str | None) -> tuple[Passage, str]:
    """Return the text in pieces with their shades, and what the colours mean; empty for modes without a sign."""
    scale = shades_of(explanation, marked, mode)
    if scale.mode not in SIGNED:
        return (), ""
    places = {id(mark): k for k, mark in enumerate(marked.marks)}
    pieces: list[tuple[str, int | None, str]] = []
    length = 0
    for text, mark in marked.runs():
        length += len(text)
        if length > LONGEST:
            pieces.append(("…", None, "the rest of the text is not shown"))
            break
        if mark is None:
            pieces.append((text, None, ""))
            continue
        error = "" if mark.error is None else f" ± {number(mark.error)}"
        share = float(scale.data[places[id(mark)]]) / scale.high
        pieces.append((text, round(STEPS * min(max(share, -1.0), 1.0)), f"{number(mark.value, sign=True)}{error}"))
    return tuple(pieces), f"{scale.label}. {' '.join(scale.notes)}"


def says_more(explanation: Explanation) -> bool:
    """Say whether an explanation has values that its coloured texts do not show: those of inputs beside them."""
    sample = explanation.sample
    filled = {name for text in sample.texts for name in (text.input, *text.companions)} if sample is not None else set()
    return any(array.any() for name, array in explanation.values.items() if name not in filled)


def html_of(passages: Sequence[tuple[str, Passage]], meaning: str) -> str:
    """Return passages as paragraphs, each under its name if it has one, and a line on what the colours mean."""
    words = "".join(
        (f'<p class="of">{_safe(name)}</p>' if name else "")
        + f'<p class="passage" dir="auto">{"".join(_piece(*piece) for piece in passage)}</p>'
        for name, passage in passages
    )
    bar = "".join(f'<span class="{_name(k)}">&nbsp;</span>' for k in range(-STEPS, STEPS + 1, 2))
    return f'{words}<p class="shades"><span aria-hidden="true">{bar}</span> {_safe(meaning)}</p>'


def style() -> str:
    """Return the style sheet's rules for all shades."""
    rules = [
        ".passage { max-width: none; line-height: 2.1; font-size: 1.125rem; white-space: pre-wrap; }",
        ".of { margin: 1rem 0 0; font-weight: 600; }",
        ".passage span { padding: .2em .15em; border-radius: .2em; }",
        ".shades { color: var(--muted); font-size: .875rem; } .shades span span { padding: .2em 0; }",
    ]
    for k in [k for k in range(-STEPS, STEPS + 1) if k]:
        colour = shade(k / STEPS)
        rules.append(f".{_name(k)} {{ background: {_code(colour)}; color: {_code(ink_on(colour))}; }}")
    return "\n".join(rules)


def _piece(text: str, place: int | None, said: str) -> str:
    safe = "\n".join(_safe(line) for line in text.split("\n"))
    if place is None:
        return safe
    shade_of = f' class="{_name(place)}"' if place else ""
    return f'<span{shade_of} title="{_safe(said)}">{safe}</span>'


def _name(place: int) -> str:
    return f"raises{place}" if place > 0 else f"lowers{-place}"


def _code(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _safe(text: str) -> str:
    return html.escape(printable(text), quote=True)
