"""Texts: every word on a background in the colour of its value, wrapped into lines, with the scale below."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle

from ..errors import SettingError, printable
from ..palette import ink_on
from .colour import INK, MUTED, Scale, mode_for, scale
from .reading_order import in_sight, is_from_right
from .sheet import FOOT, MARGIN, POINTS, SMALL, Sheet, drawable, fitted, height_of, width_of, wrapped
from .title import head_height, write_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from ..explanation import Explanation
    from ..marked_text import MarkedText

SIZE = 11.0  # of the letters
LINE = 0.29  # inches from line to line
BOX = 0.235  # height of a coloured background
BASELINE = 0.165  # below the top of the background
WIDTH = 7.5
NARROWEST = 2.5
MOST_LINES = 150  # of the picture; the rest of a longer text is left off, and said to be
MOST_CAPTION = 30  # lines below another picture
BAR = 3.2
SCALE = 0.62  # inches of the colour bar with its numbers and label
CLIPPED = "the rest of the text is not drawn"


@dataclass(frozen=True)
class Run:
    """Letters that stand together, [begin, end) of the text, and the number of their mark, -1 if they have none."""

    text: str
    mark: int


def coloured_text(
    explanation: Explanation,
    marked: MarkedText,
    mode: str | None,
    *,
    title: bool | str,
    size: tuple[float, float] | None,
) -> Figure:
    """Return the text with its words on coloured backgrounds; the colours start at white for 0."""
    colours = shades_of(explanation, marked, mode)
    wide = size[0] if size else WIDTH
    room = wide - 2 * MARGIN
    if wide < NARROWEST:
        raise SettingError(f"a figure of {wide:g} inches is too narrow for a text", tip=f"at least {NARROWEST:g}")
    rows = lines_of(marked, room)
    clipped = len(rows) > MOST_LINES
    rows = rows[:MOST_LINES]
    notes = wrapped(" ".join([*colours.notes, *([f"{CLIPPED.capitalize()}."] if clipped else [])]), room, SMALL)
    top = MARGIN + head_height(explanation, title)
    foot = 0.2 + SCALE + height_of(len(notes), SMALL) + FOOT
    tall = max(top + len(rows) * LINE + foot, size[1] if size else 0.0)
    sheet = Sheet(wide, tall)
    write_head(sheet, explanation, title)
    fills = fills_of(colours)
    for line, runs in enumerate(rows):
        write_line(sheet, top + line * LINE, runs, fills, from_right=is_from_right(marked.text))
    below = top + len(rows) * LINE + 0.2
    length = min(BAR, room)
    sheet.colour_bar(colours, (MARGIN + 0.1, below, length - 0.2, 0.13), strongest=1.0, ground=1.0, across=True)
    sheet.write(MARGIN + 0.1, below + 0.36, fitted(colours.label, room - 0.1, SMALL), size=SMALL, colour=MUTED)
    sheet.paragraph(MARGIN, below + SCALE, notes)
    return sheet.figure


class Caption:
    """A text with coloured words below another picture, ``width`` inches wide, and what its colours mean."""

    def __init__(self, explanation: Explanation, marked: MarkedText, mode: str | None, width: float) -> None:
        room = width - 2 * MARGIN
        self._colours = shades_of(explanation, marked, mode)
        self._lines = lines_of(marked, room)[:MOST_CAPTION]
        self._from_right = is_from_right(marked.text)
        self._notes = wrapped(f"Words: {' '.join(self._colours.notes)}", room, SMALL)
        self.height = 0.2 + len(self._lines) * LINE + height_of(len(self._notes), SMALL)

    def write(self, sheet: Sheet, top: float) -> None:
        """Write it on a sheet, its top at ``top``."""
        fills = fills_of(self._colours)
        for line, runs in enumerate(self._lines):
            write_line(sheet, top + 0.1 + line * LINE, runs, fills, from_right=self._from_right)
        sheet.paragraph(MARGIN, top + 0.15 + len(self._lines) * LINE, self._notes)


def shades_of(explanation: Explanation, marked: MarkedText, mode: str | None) -> Scale:
    """Return the scale of the values of a text's marks, one for each mark."""
    values = np.array([mark.value for mark in marked.marks])
    errors = [mark.error for mark in marked.marks]
    known = None if any(e is None for e in errors) else np.array(errors, dtype=np.float64)
    return scale(explanation, values, mode_for(explanation, mode), known)


def fills_of(colours: Scale) -> np.ndarray:
    """Return a colour (marks, 3), 0 to 1, as it looks on white."""
    alpha = colours.opacity(1.0)[:, None]
    clipped = np.clip(colours.data, colours.low, colours.high)
    return np.asarray(colours.colours(colours.norm(clipped))[:, :3] * alpha + (1 - alpha))


def write_line(sheet: Sheet, top: float, runs: Sequence[Run], fills: np.ndarray, *, from_right: bool = False) -> None:
    """Write one line of a text, its words on the colours (marks, 3) of their values."""
    pieces = [(mark, "".join(run.text for run in group)) for mark, group in groupby(runs, key=lambda run: run.mark)]
    left = MARGIN
    if from_right:
        left = sheet.width - MARGIN - sum(_width(text) for _, text in pieces)
    for mark, text in (pieces[k] for k in in_sight([text for _, text in pieces], from_right=from_right)):
        width = _width(text)
        ink = INK
        if mark >= 0:
            fill = tuple(fills[mark])
            ink = "#{:02x}{:02x}{:02x}".format(*ink_on([round(255 * part) for part in fill]))
            box = ((left) / sheet.width, 1 - (top + BOX) / sheet.height)
            size = (width / sheet.width, BOX / sheet.height)
            sheet.figure.add_artist(
                Rectangle(box, *size, facecolor=fill, linewidth=0, transform=sheet.figure.transFigure, zorder=0.5)
            )
        if text.strip():
            shift = _width(text[: len(text) - len(text.lstrip())])
            width -= shift + _width(text[len(text.rstrip()) :])
            middle = left + shift + width / 2
            letters = sheet.write(middle, top + BASELINE, text.strip(), size=SIZE, colour=ink, align="center")
            letters.set_verticalalignment("baseline")
            width += shift + _width(text[len(text.rstrip()) :])
        left += width


def lines_of(marked: MarkedText, room: float) -> list[list[Run]]:
    """Break the text into lines of ``room`` inches: at its own line breaks, at spaces, and within long words."""
    lines: list[list[Run]] = [[]]
    left = 0.0
    for atom, gap in _atoms(marked):
        if gap is None:
            if lines[-1]:
                lines.append([])
            left = 0.0
            continue
        space = _width(gap.text) if lines[-1] else 0.0
        width = sum(_width(run.text) for run in atom)
        if lines[-1] and left + space + width > room:
            lines.append([])
            left = space = 0.0
        if space:
            lines[-1].append(gap)
        if width > room:
            *full, rest = _broken(atom, room)
            lines[-1:] = [*([lines[-1]] if lines[-1] else []), *full, rest]
            left = sum(_width(run.text) for run in rest)
            continue
        lines[-1] += atom
        left += space + width
        if len(lines) > MOST_LINES + 1:
            break
    return [line for line in lines if line]


def _atoms(marked: MarkedText) -> Iterator[tuple[list[Run], Run | None]]:
    """Yield what is not broken, with the space before it (of a mark, if that goes on over it); None at a line break."""
    atom: list[Run] = []
    gap = Run("", -1)
    numbers = {id(mark): k for k, mark in enumerate(marked.marks)}
    for text, mark in marked.runs():
        number = -1 if mark is None else numbers[id(mark)]
        for is_space, letters in groupby(text, key=str.isspace):
            part = "".join(letters)
            if not is_space:
                atom.append(Run(drawable(printable(part)), number))
                continue
            if atom:
                yield atom, gap
            atom = []
            gap = Run(" ", number)
            if "\n" in part:
                yield [], None
    if atom:
        yield atom, gap


def _broken(atom: Sequence[Run], room: float) -> list[list[Run]]:
    """Break a word that is longer than a line wherever the line is full."""
    lines: list[list[Run]] = [[]]
    left = 0.0
    for run in atom:
        for letter in run.text:
            width = _width(letter)
            if left + width > room:
                lines.append([])
                left = 0.0
            lines[-1].append(Run(letter, run.mark))
            left += width
    return lines


_widths: dict[str, float] = {}


def _width(text: str) -> float:
    """Return the width of letters in inches; those of common words are kept."""
    if not text:
        return 0.0
    if text not in _widths:
        if len(_widths) > 1 << 14:
            _widths.clear()
        _widths[text] = SIZE * 0.33 / POINTS * len(text) if text.isspace() else width_of(text, SIZE)
    return _widths[text]
