"""Bars of an Analysis: a number per name, the largest first, with its spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .bars import Panel
from .colour import INK, LOWERS, LOWERS_PALE, MUTED
from .sheet import BODY, FOOT, MARGIN, SMALL, Sheet, fitted, height_of, width_of, wrapped
from .title import write_title
from .wording import aligned, number, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..analyses.analysis import Analysis

ROW = 0.29  # inches
THICKNESS = 0.62  # of a bar, in rows
PANEL = 5.0
NAMES = 3.4  # the most that names get


def importances(analysis: Analysis, top: int, title: str) -> Figure:
    """Return a bar per name from ``arrays["names"]`` and ``values``, with whiskers where ``spread`` is known.

    Bars begin at 0, or at 1 for ratios (``words["origin"]``).
    """
    names = [short(name) for name in analysis.arrays["names"].tolist()][:top]
    values = analysis.arrays["values"].astype(np.float64)
    if not len(names) or not np.isfinite(values).all():
        raise InputError("the analysis holds no values, or some that are not finite; there is nothing to draw")
    spread = analysis.arrays.get("spread", np.zeros(len(values)))[: len(names)]
    shown = values[: len(names)]
    origin = float(analysis.words.get("origin", "0"))
    room = min(NAMES, max(width_of(name, BODY) for name in names)) + 0.12
    head = MARGIN + (0.55 if title else 0)
    wide = 2 * MARGIN + room + PANEL
    if title:
        wide = max(wide, min(9.5, 2 * MARGIN + width_of(title, 12.5, bold=True)))
    lines = wrapped(" ".join(_notes(analysis, values, len(names))), wide - 2 * MARGIN, SMALL)
    foot = 0.55 + height_of(len(lines), SMALL) + FOOT
    tall = head + len(names) * ROW + foot
    sheet = Sheet(wide, tall)
    if title:
        write_title(sheet, title, analysis.words.get("below", ""))
    box = (MARGIN + room, head, wide - 2 * MARGIN - room, len(names) * ROW)
    panel = Panel.on(sheet, box, len(names))
    _draw(panel, shown, spread, origin)
    for line, name in enumerate(names):
        panel.write(panel.left - 0.12, line, fitted(name, room - 0.11, BODY), size=BODY, colour=INK, align="right")
    panel.scale(analysis.words.get("value", ""))
    sheet.paragraph(MARGIN, tall - foot + 0.55, lines)
    return sheet.figure


def _draw(panel: Panel, values: np.ndarray, spread: np.ndarray, origin: float) -> None:
    """Draw bars, whiskers and numbers, on axes that leave room for the numbers."""
    texts = aligned(values.tolist())
    below, above = values - spread, values + spread
    low, high = min(origin, float(below.min())), max(origin, float(above.max()))
    widths = np.array([width_of(text, SMALL) for text in texts])
    left = 0.12 + max(widths[values < origin], default=0.0)
    right = 0.12 + max(widths[values >= origin], default=0.0)
    inch = ((high - low) or 1.0) / max(panel.width - left - right, 0.3)
    panel.axes.set_xlim(low - left * inch, high + right * inch)
    places = np.arange(len(values))
    colours = [LOWERS if value >= origin else LOWERS_PALE for value in values]
    panel.axes.barh(places, values - origin, left=origin, height=THICKNESS, color=colours, linewidth=0)
    known = np.flatnonzero(spread > 0)
    if known.size:
        panel.axes.errorbar(
            values[known],
            places[known],
            xerr=spread[known],
            fmt="none",
            ecolor=INK,
            elinewidth=1,
            capsize=2.5,
            capthick=1,
        )
    panel.axes.axvline(origin, color=MUTED, linewidth=0.8)
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        edge = above[place] if value >= origin else below[place]
        side = 1 if value >= origin else -1
        panel.write(panel.across(edge) + side * 0.06, place, text, align="left" if side > 0 else "right")


def _notes(analysis: Analysis, values: np.ndarray, shown: int) -> list[str]:
    notes = [analysis.words.get("notes", "")]
    rest = len(values) - shown
    if rest:
        others = f"{rest} others are" if rest > 1 else "1 other is"
        notes.append(f"{others} not shown, with {number(values[shown])} at most.")
    return [note for note in notes if note]
