"""A text with its words on coloured grounds, as a terminal shows it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..engine.errors import printable

if TYPE_CHECKING:
    from ..engine.explanation import Explanation
    from ..engine.marked_text import MarkedText

FAINT = 0.03  # of the largest value: what is less is left as it is
LONGEST = 4000  # characters; the rest of a longer text is left off


def coloured(explanation: Explanation, *, force: str | None = None) -> str:
    """Return the explained text, coloured as far as stdout can show colours; empty where it cannot, or there is none.

    ``force`` is a kind of terminal as rich names them (``truecolor``, ``256``, ``standard``), for what stdout is not.
    """
    from ..engine.marked_text import marked_text

    is_shown = sys.stdout is not None and sys.stdout.isatty()
    if not (force or is_shown):
        return ""
    marked = marked_text(explanation)
    return "" if marked is None else _drawn(marked, centre=explanation.method == "rise", force=force)


def _drawn(marked: MarkedText, *, centre: bool, force: str | None) -> str:
    from io import StringIO

    from rich.console import Console
    from rich.padding import Padding
    from rich.style import Style
    from rich.text import Text

    from ..engine.palette import ink_on, shade

    values = [mark.value for mark in marked.marks]
    middle = sum(values) / len(values) if centre and values else 0.0  # those of RISE are all near the mean score
    largest = max((abs(value - middle) for value in values), default=0.0) or 1.0
    shown, length = Text(), 0
    for text, mark in marked.runs():
        length += len(text)
        if length > LONGEST:
            shown.append("...")
            break
        safe = printable(" ".join(text.split("\n")))
        share = 0.0 if mark is None else (mark.value - middle) / largest
        if abs(share) < FAINT:
            shown.append(safe)
            continue
        ground = shade(share)
        shown.append(safe, Style(color=_code(ink_on(ground)), bgcolor=_code(ground)))
    out = StringIO()
    given = {"color_system": force, "force_terminal": True, "no_color": False} if force else {}
    console = Console(file=out if force else None, highlight=False, **given)  # type: ignore[arg-type]  # rich's literals
    if force:
        console.print(Padding(shown, (0, 2)))
        return out.getvalue().rstrip("\n")
    if console.color_system is None or console.no_color:
        return ""
    with console.capture() as captured:
        console.print(Padding(shown, (0, 2)))
    return captured.get().rstrip("\n")


def _code(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
