"""Bars: a value per named feature or element, the strongest first, and how they add up from baseline to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, SettingError
from .colour import INK, MUTED, RULE, colour_of
from .naming import namer
from .sheet import BODY, FOOT, MARGIN, POINTS, SMALL, Sheet, fitted, height_of, tick_places, width_of, wrapped
from .title import head_height, head_width, write_head
from .wording import aligned, number, quantity, scale_of, tick_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..explanation import Explanation

ROW = 0.29  # inches
THICKNESS = 0.62  # of a bar, in rows
PANEL = 3.6
NAMES = 3.4  # the most that names get
GAP = 0.45
ASCENT = 0.46  # half the height of a line's letters, over the font size
LARGEST_GAP = 0.01  # of what the values add up to in absolute value: beyond it nothing is stacked


@dataclass(frozen=True)
class Row:
    """One bar; ``count`` features make up the row of all others, 1 otherwise."""

    name: str
    value: float
    error: float | None = None
    count: int = 1


def bars(explanation: Explanation, top: int, *, title: bool | str, size: tuple[float, float] | None) -> Figure:
    """Return a bar per feature; for methods that promise completeness, a waterfall from baseline score to score too."""
    rows = rows_of(explanation, top)
    stacked = adds_up(explanation)
    names = min(NAMES, max(width_of(row.name, BODY) for row in rows)) + 0.12
    head = MARGIN + head_height(explanation, title)
    lines = len(rows) + (2 if stacked else 0)
    panels = 1 + stacked
    natural = 2 * MARGIN + names + panels * PANEL + (panels - 1) * GAP
    wide = size[0] if size else max(natural, head_width(explanation, title))
    panel = (wide - 2 * MARGIN - names - (panels - 1) * GAP) / panels
    notes = wrapped(" ".join(_notes(explanation, rows, stacked=stacked)), wide - 2 * MARGIN, SMALL)
    foot = 0.55 + height_of(len(notes), SMALL) + FOOT
    tall = size[1] if size else head + lines * ROW + foot
    if panel < 1 or tall - head - foot < 0.08 * lines:
        raise SettingError(
            f"a figure of {wide:g} by {tall:g} inches is too small for {len(rows)} bars",
            tip="lower top, or leave out size",
        )
    sheet = Sheet(wide, tall)
    write_head(sheet, explanation, title)
    box = (MARGIN + names, head, panel, tall - head - foot)
    left = Panel.on(sheet, box, lines)
    write_names(left, rows, 1 if stacked else 0, names)
    draw_bars(left, rows, 1 if stacked else 0, quantity(explanation))
    if stacked:
        right = Panel.on(sheet, (box[0] + panel + GAP, *box[1:]), lines)
        draw_waterfall(right, rows, float(explanation.baseline_score or 0), explanation.score, scale_of(explanation))
    sheet.paragraph(MARGIN, tall - foot + 0.55, notes)
    return sheet.figure


def rows_of(explanation: Explanation, top: int, like: Explanation | None = None) -> list[Row]:
    """Return the ``top`` strongest features or elements, strongest first, then one row for the sum of the others.

    With ``like`` they are those that are strongest there, in its order.
    """
    values, errors = _values(explanation)
    if not values.size:
        raise InputError("the explanation holds no values; there is nothing to draw")
    if not np.isfinite(values).all():
        raise InputError("the explanation holds values that are not finite; there is nothing to draw")
    order = strongest(values if like is None else _values(like)[0], top)
    name = namer(explanation)
    rows = [Row(name(k), float(values[k]), None if errors is None else float(errors[k])) for k in order.tolist()]
    others = values.size - len(rows)
    if others:
        rest = float(np.delete(values, order).sum())
        kind = "element" if explanation.feature_values is None else "feature"
        rows.append(Row(f"{others} other {kind}{'' if others == 1 else 's'}", rest, None, others))
    return rows


def strongest(values: np.ndarray, top: int) -> np.ndarray:
    """Return the indices of the largest absolute values, in falling order; equal ones in their own order."""
    if top < 1:
        raise SettingError(f"top is how many bars are drawn, at least 1, not {top}")
    return np.argsort(-np.abs(values), kind="stable")[:top]


def adds_up(explanation: Explanation) -> bool:
    """Say whether the values add up to score minus baseline score, within one percent of their absolute sum."""
    if explanation.gap is None or explanation.baseline_score is None:
        return False
    values, _ = _values(explanation)
    return abs(explanation.gap) <= LARGEST_GAP * max(float(np.abs(values).sum()), np.finfo(np.float64).tiny)


def _values(explanation: Explanation) -> tuple[np.ndarray, np.ndarray | None]:
    """Return values and standard errors of the named features, or else of all elements of all inputs."""
    if explanation.feature_values is not None:
        return explanation.feature_values, explanation.feature_errors
    errors = explanation.standard_error
    whole = np.concatenate([np.ravel(a) for a in explanation.values.values()]) if explanation.values else np.empty(0)
    return whole, None if errors is None else np.concatenate([np.ravel(errors[n]) for n in explanation.values])


@dataclass(frozen=True)
class Panel:
    """Axes with one line per bar, and where they lie on the sheet, in inches."""

    sheet: Sheet
    axes: Axes
    left: float
    top: float
    width: float
    height: float
    lines: int

    @classmethod
    def on(cls, sheet: Sheet, box: tuple[float, float, float, float], lines: int) -> Panel:
        """Make empty axes of that many lines, without a frame."""
        axes = sheet.axes(*box)
        axes.set_ylim(lines - 0.5, -0.5)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        return cls(sheet, axes, *box, lines)

    def across(self, value: float) -> float:
        """Return where a value lies, in inches from the left edge of the sheet."""
        low, high = self.axes.get_xlim()
        return self.left + (value - low) / (high - low) * self.width

    def write(self, left: float, line: float, text: str, *, size: float = SMALL, colour: str = INK, align: str) -> None:
        """Write a text in the middle of a line."""
        top = self.top + (line + 0.5) * self.height / self.lines - size * ASCENT / POINTS
        self.sheet.write(left, top, text, size=size, colour=colour, align=align)

    def scale(self, label: str) -> None:
        """Draw ticks and what they count below the panel."""
        low, high = self.axes.get_xlim()
        places = tick_places(low, high)
        self.sheet.ticks(self.axes, places, tick_labels(places))
        self.axes.grid(visible=True, axis="x", color=RULE, linewidth=0.6, alpha=0.6, linestyle="-")
        text = fitted(label, self.width, SMALL)
        middle = self.left + self.width / 2
        self.sheet.write(middle, self.top + self.height + 0.28, text, size=SMALL, colour=MUTED, align="center")


def draw_bars(panel: Panel, rows: list[Row], first: int, label: str) -> None:
    """Draw a bar per row from line ``first`` on, with whiskers and numbers, on axes that leave room for the numbers."""
    _make_room(panel, rows)
    places = list(range(first, first + len(rows)))
    _boxes(panel.axes, rows, places, [0.0] * len(rows))
    _whiskers(panel.axes, rows, places)
    panel.axes.axvline(0, color=MUTED, linewidth=0.8)
    for row, place, text in zip(rows, places, _written(rows), strict=True):
        side = 1 if row.value >= 0 else -1
        edge = panel.across(row.value + side * (row.error or 0)) + side * 0.06
        panel.write(edge, place, text, align="left" if side > 0 else "right")
    panel.scale(label)


def draw_waterfall(panel: Panel, rows: list[Row], begin: float, end: float, label: str) -> None:
    """Stack the values from the baseline score on the first line to the score on the last."""
    sums = [begin, *(begin + np.cumsum([row.value for row in rows])).tolist()]
    low, high = min(*sums, end), max(*sums, end)
    margin = ((high - low) or 1.0) * 0.12
    panel.axes.set_xlim(low - margin, high + margin)
    _boxes(panel.axes, rows, list(range(1, len(rows) + 1)), sums[:-1])
    for line, joint in enumerate(sums):
        panel.axes.plot([joint, joint], [line, line + 1], color=MUTED, linewidth=0.8)
    for text, value, line in (("baseline", begin, 0), ("score", end, panel.lines - 1)):
        panel.axes.plot([value], [line], marker="o", markersize=4.5, color=INK, label=text)
        words = f"{text} {number(value)}"
        place = panel.across(value)
        fits = place + 0.1 + width_of(words, SMALL) <= panel.left + panel.width
        panel.write(place + (0.1 if fits else -0.1), line, words, align="left" if fits else "right")
    panel.scale(label)


def write_names(panel: Panel, rows: list[Row], first: int, room: float) -> None:
    """Write what the bars are called, left of the panel."""
    for line, row in enumerate(rows, first):
        text = fitted(row.name, room - 0.12, BODY)
        colour = MUTED if row.count > 1 else INK
        panel.write(panel.left - 0.12, line, text, size=BODY, colour=colour, align="right")


def _make_room(panel: Panel, rows: list[Row]) -> None:
    low = min(0.0, *(row.value - (row.error or 0) for row in rows))
    high = max(0.0, *(row.value + (row.error or 0) for row in rows))
    widths = [width_of(text, SMALL) for text in _written(rows)]
    before, after = (
        0.12 + max((w for w, row in zip(widths, rows, strict=True) if (row.value < 0) is side), default=0.0)
        for side in (True, False)
    )
    inch = ((high - low) or 1.0) / max(panel.width - before - after, 0.3)
    panel.axes.set_xlim(low - before * inch, high + after * inch)


def _written(rows: list[Row]) -> list[str]:
    return aligned([row.value for row in rows], sign=True)


def _boxes(axes: Axes, rows: list[Row], places: list[int], begins: list[float]) -> None:
    colours = [colour_of(row.value, pale=row.count > 1) for row in rows]
    axes.barh(places, [row.value for row in rows], left=begins, height=THICKNESS, color=colours, linewidth=0)


def _whiskers(axes: Axes, rows: list[Row], places: list[int]) -> None:
    known = [(row.value, place, row.error) for row, place in zip(rows, places, strict=True) if row.error]
    if known:
        values, lines, errors = zip(*known, strict=True)
        axes.errorbar(values, lines, xerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5, capthick=1)


def _notes(explanation: Explanation, rows: list[Row], *, stacked: bool) -> list[str]:
    notes = ["Red raises the score, blue lowers it."]
    if explanation.method == "rise":
        notes = ["A bar is the mean score while the feature is kept: compare bars with each other, not with 0."]
    if any(row.error for row in rows):
        notes.append("Whiskers: one standard error each way.")
    if rows[-1].count > 1:
        notes.append("The pale bar is the sum of all others.")
    if explanation.gap is not None and explanation.baseline_score is not None and not stacked:
        notes.append(
            f"The values miss score minus baseline score by {number(explanation.gap)}, so they are not stacked."
        )
    return notes
