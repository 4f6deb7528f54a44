"""The head of every picture: its title, and a line below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .colour import MUTED
from .sheet import BODY, MARGIN, TITLE, Sheet, fitted, width_of
from .wording import heading, short, subheading

if TYPE_CHECKING:
    from ..explanation import Explanation

WIDEST = 9.5  # inches to which a long title widens a picture


def write_head(sheet: Sheet, explanation: Explanation, title: bool | str) -> None:  # noqa: FBT001 - a setting
    """Write the title (a text of one's own, or True for the usual one) and what the method compared with."""
    if title is False:
        return
    write_title(sheet, _title(explanation, title), subheading(explanation))


def write_title(sheet: Sheet, text: str, below: str) -> None:
    """Write a title and a line below it, both cut to the width of the sheet."""
    room = sheet.width - 2 * MARGIN
    sheet.write(MARGIN, MARGIN - 0.05, fitted(text, room, TITLE, bold=True), size=TITLE, bold=True)
    if below:
        sheet.write(MARGIN, MARGIN + 0.22, fitted(below, room, BODY), size=BODY, colour=MUTED)


def head_width(explanation: Explanation, title: bool | str) -> float:  # noqa: FBT001 - a setting
    """Return the width of a sheet that holds the whole title, within reason."""
    if title is False:
        return 0.0
    return min(WIDEST, 2 * MARGIN + width_of(_title(explanation, title), TITLE, bold=True))


def _title(explanation: Explanation, title: bool | str) -> str:  # noqa: FBT001 - a setting
    return short(title, 200) if isinstance(title, str) else heading(explanation)


def head_height(explanation: Explanation, title: bool | str) -> float:  # noqa: FBT001 - a setting
    """Return the inches that the head takes, with the space below it."""
    if title is False:
        return 0.0
    return 0.55 if subheading(explanation) else 0.32
