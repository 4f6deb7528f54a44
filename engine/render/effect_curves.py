"""Curves of an Analysis: a small panel per column, the mean thick, single rows thin behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from ..errors import InputError
from .colour import INK, LOWERS, LOWERS_PALE, MUTED, RAISES, RULE
from .sheet import (
    BODY,
    FOOT,
    MARGIN,
    SMALL,
    TITLE,
    Sheet,
    fitted,
    height_of,
    tick_places,
    width_of,
    wrapped,
)
from .title import write_title
from .wording import short, tick_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analyses.analysis import Analysis

WIDE, HIGH = 2.6, 1.75  # inches of a panel
ALONE = (4.6, 3.0)  # of the only one
ACROSS = 3
GAP = 0.28
BELOW = 0.82  # below a panel: ticks, and the next one's name
NAMED = 0.22  # more, where it is told what the ticks are
SCALE = 0.55  # left of the first panel: its ticks
MOST_NAMES = 8  # of categories that are written
COLOURS = (LOWERS, RAISES, "#1b7837", "#7b3294", "#e08214", "#01665e", "#8c510a", "#c51b7d", "#4d4d4d", "#35978f")


def curves(analysis: Analysis, top: int, title: str) -> Figure:
    """Return a panel per name in ``arrays["panels"]``, the first ``top`` of them.

    They have a common vertical scale, or with ``words["scale"] == "own"`` each its own.
    """
    names = [short(name) for name in analysis.arrays["panels"].tolist()]
    shown = min(top, len(names))
    if not shown:
        raise InputError("the analysis holds no curves; there is nothing to draw")
    series = [short(name) for name in analysis.arrays["series"].tolist()]
    is_own = analysis.words.get("scale") == "own"
    gap = GAP + SCALE if is_own else GAP
    below = BELOW + (NAMED if analysis.words.get("across") else 0.0)
    across = min(ACROSS, shown)
    down = -(-shown // across)
    width, height = ALONE if shown == 1 else (WIDE, HIGH)
    wide = 2 * MARGIN + SCALE + 0.3 + across * width + (across - 1) * gap
    if title:
        wide = max(wide, min(9.5, 2 * MARGIN + width_of(title, TITLE, bold=True)))
    legend = 0.3 if len(series) > 1 else 0.0
    head = MARGIN + (0.6 if title else 0.1) + legend
    limits = [_limits(analysis, [k]) for k in range(shown)] if is_own else [_limits(analysis, range(shown))] * shown
    singles = {k: analysis.arrays[f"single/{k}"] for k in range(shown) if f"single/{k}" in analysis.arrays}
    is_cut = any(one.min() < limits[k][0] or one.max() > limits[k][1] for k, one in singles.items())
    lines = wrapped(" ".join(_notes(analysis, len(names) - shown, is_cut=is_cut)), wide - 2 * MARGIN, SMALL)
    foot = height_of(len(lines), SMALL) + FOOT
    tall = head + down * (height + below) - 0.15 + foot
    sheet = Sheet(wide, tall)
    if title:
        write_title(sheet, title, analysis.words.get("below", ""))
    if legend:
        _write_legend(sheet, series, head - 0.32)
    for k in range(shown):
        left = MARGIN + SCALE + 0.3 + (k % across) * (width + gap)
        low, high = limits[k]
        place = head + (k // across) * (height + below)
        axes = sheet.axes(left, place + 0.22, width, height)
        axes.set_ylim(low, high)
        sheet.write(left, place, fitted(names[k], width, BODY, bold=True), size=BODY, bold=True)
        _draw(axes, analysis, k)
        _write_ticks(sheet, axes, analysis.arrays[f"grid/{k}"], width)
        places = tick_places(low, high)
        is_written = is_own or k % across == 0
        sheet.ticks(axes, places, tick_labels(places) if is_written else [""] * len(places), side="y")
        axes.grid(visible=True, axis="y", color=RULE, linewidth=0.6, alpha=0.6, linestyle="-")
        told = fitted(analysis.words.get("across", ""), width, SMALL)
        sheet.write(left, place + 0.22 + height + 0.32, told, size=SMALL, colour=MUTED)
    middle = head + (down * (height + below) - below) / 2 + 0.22
    label = fitted(analysis.words.get("value", ""), down * (height + below), SMALL)
    sheet.write(MARGIN + 0.08, middle, label, size=SMALL, colour=MUTED, rotation=90, align="center")
    sheet.paragraph(MARGIN, tall - foot, lines)
    return sheet.figure


def _limits(analysis: Analysis, panels: Sequence[int]) -> tuple[float, float]:
    """Return the common limits of some panels: all means, and all but the outermost percent of single rows."""
    arrays = analysis.arrays
    means = np.concatenate([arrays[f"mean/{k}"].reshape(-1) for k in panels])
    singles = [arrays[f"single/{k}"].reshape(-1) for k in panels if f"single/{k}" in arrays]
    if not np.isfinite(means).all():
        raise InputError("the analysis holds values that are not finite; there is nothing to draw")
    low, high = float(means.min()), float(means.max())
    if singles:
        inner = np.percentile(np.concatenate(singles), [0.5, 99.5])
        low, high = min(low, float(inner[0])), max(high, float(inner[1]))
    margin = ((high - low) or abs(high) or 1.0) * 0.06
    return low - margin, high + margin


def _draw(axes: Axes, analysis: Analysis, k: int) -> None:
    arrays = analysis.arrays
    grid = arrays[f"grid/{k}"]
    is_scale = grid.dtype.kind == "f"
    x = grid if is_scale else np.arange(len(grid), dtype=np.float64)
    margin = 0.03 * float(np.ptp(x)) if is_scale else 0.4
    axes.set_xlim(float(x[0]) - margin, float(x[-1]) + margin)
    single = arrays.get(f"single/{k}")
    if single is not None:
        segments = [np.column_stack([x, row]) for row in single]
        weight = float(np.clip(30 / len(segments), 0.15, 0.6))
        axes.add_collection(LineCollection(segments, colors=LOWERS_PALE, linewidths=0.7, alpha=weight, zorder=1))
    means = arrays[f"mean/{k}"]
    for number, mean in enumerate(means):
        colour = INK if len(means) == 1 and single is not None else COLOURS[number % len(COLOURS)]
        marker = None if is_scale else "o"
        axes.plot(x, mean, color=colour, linewidth=2.0 if is_scale else 1.0, marker=marker, markersize=4.5, zorder=3)
    marks = arrays.get(f"data/{k}")
    if marks is not None:
        inside = marks[(marks >= x[0]) & (marks <= x[-1])]
        axes.vlines(inside, 0, 0.04, transform=axes.get_xaxis_transform(), color=MUTED, linewidth=1.0, zorder=2)


def _write_ticks(sheet: Sheet, axes: Axes, grid: np.ndarray, width: float) -> None:
    if grid.dtype.kind == "f":
        low, high = axes.get_xlim()
        places = tick_places(low, high, 4)
        labels = tick_labels(places)
        while len(places) > 2 and sum(width_of(label, SMALL) + 0.1 for label in labels) > width:
            places, labels = places[::2], labels[::2]
        sheet.ticks(axes, places, labels)
        return
    step = -(-len(grid) // MOST_NAMES)
    places = [float(k) for k in range(0, len(grid), step)]
    names = [fitted(short(name), width / len(places) - 0.06, SMALL) for name in grid[::step].tolist()]
    sheet.ticks(axes, places, names)


def _write_legend(sheet: Sheet, series: list[str], top: float) -> None:
    left = MARGIN
    for number, name in enumerate(series):
        text = fitted(name, 1.8, SMALL)
        if left + 0.4 + width_of(text, SMALL) > sheet.width - MARGIN:
            sheet.write(left, top, "…", size=SMALL, colour=MUTED)
            return
        sheet.write(left, top, "■", size=SMALL, colour=COLOURS[number % len(COLOURS)])
        sheet.write(left + 0.16, top, text, size=SMALL, colour=INK)
        left += 0.16 + width_of(text, SMALL) + 0.24


def _notes(analysis: Analysis, rest: int, *, is_cut: bool) -> list[str]:
    notes = [analysis.words.get("notes", "")]
    if any(name.startswith("data/") for name in analysis.arrays):
        notes.append("Marks below: tenths of the data.")
    if rest:
        notes.append(f"{rest} more column{'' if rest == 1 else 's'}, of weaker effect, not shown.")
    if is_cut:
        notes.append("The scale leaves out the outermost percent of single rows.")
    return [note for note in notes if note]
