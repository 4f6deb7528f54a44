"""A surface of an Analysis: the mean score over the values of two columns, as colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from ..errors import InputError
from .colour import MUTED, RULE
from .sheet import FOOT, MARGIN, SMALL, TITLE, Sheet, fitted, height_of, tick_places, width_of, wrapped
from .title import write_title
from .wording import short, tick_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analyses.analysis import Analysis

SIDE = 4.2  # inches
SCALE = 0.75  # left of the plot: ticks and a name
MOST_NAMES = 6  # of categories that are written
COLOURS = ("#f6f4f9", "#c9d7e8", "#8fbcd9", "#4a98cf", "#2166ac", "#123f80", "#0b2450")


def surface(analysis: Analysis, top: int, title: str) -> Figure:  # noqa: ARG001 - all kinds of pictures take the same
    """Return the surface of ``arrays["mean"]`` (G, H) over ``grid/0`` (G,), to the right, and ``grid/1`` (H,), up."""
    mean = analysis.arrays["mean"].astype(np.float64)
    if not mean.size or not np.isfinite(mean).all():
        raise InputError("the analysis holds no values, or some that are not finite; there is nothing to draw")
    names = [short(name) for name in analysis.arrays["panels"].tolist()]
    grids = [analysis.arrays["grid/0"], analysis.arrays["grid/1"]]
    wide = 2 * MARGIN + SCALE + SIDE + 1.35
    if title:
        wide = max(wide, min(9.5, 2 * MARGIN + width_of(title, TITLE, bold=True)))
    head = MARGIN + (0.6 if title else 0.1)
    lines = wrapped(" ".join([*analysis.notes, analysis.words.get("notes", "")]), wide - 2 * MARGIN, SMALL)
    foot = 0.72 + height_of(len(lines), SMALL) + FOOT
    tall = head + SIDE + foot
    sheet = Sheet(wide, tall)
    if title:
        write_title(sheet, title, analysis.words.get("below", ""))
    left = MARGIN + SCALE
    axes = sheet.axes(left, head, SIDE, SIDE)
    norm = Normalize(float(mean.min()), float(mean.max()))
    colours = LinearSegmentedColormap.from_list("surface", list(COLOURS))
    places = [grid if grid.dtype.kind == "f" else np.arange(len(grid), dtype=np.float64) for grid in grids]
    axes.pcolormesh(*places, mean.T, shading="nearest", cmap=colours, norm=norm, rasterized=True)
    for side, grid in zip("xy", grids, strict=True):
        _write_ticks(sheet, axes, grid, side)
    sheet.write(left + SIDE / 2, head + SIDE + 0.3, fitted(names[0], SIDE, SMALL), size=SMALL, align="center")
    sheet.write(MARGIN + 0.12, head + SIDE / 2, fitted(names[1], SIDE, SMALL), size=SMALL, rotation=90, align="center")
    _write_bar(sheet, ScalarMappable(norm, colours), _ends(norm), (left + SIDE + 0.25, head, 0.16, SIDE))
    label = fitted(analysis.words.get("value", ""), SIDE, SMALL)
    sheet.write(left + SIDE + 1.1, head + SIDE / 2, label, size=SMALL, colour=MUTED, rotation=90, align="center")
    sheet.paragraph(MARGIN, tall - foot + 0.72, lines)
    return sheet.figure


def _ends(norm: Normalize) -> tuple[float, float]:
    """Return the numbers at which the colours begin and end."""
    return float(norm.vmin or 0.0), float(norm.vmax or 0.0)


def _write_ticks(sheet: Sheet, axes: Axes, grid: np.ndarray, side: str) -> None:
    if grid.dtype.kind == "f":
        low, high = axes.get_xlim() if side == "x" else axes.get_ylim()
        places = tick_places(low, high)
        sheet.ticks(axes, places, tick_labels(places), side=side)
        return
    step = -(-len(grid) // MOST_NAMES)
    room = SIDE / -(-len(grid) // step) - 0.06 if side == "x" else SCALE - 0.25
    names = [fitted(short(name), room, SMALL) for name in grid[::step].tolist()]
    sheet.ticks(axes, [float(k) for k in range(0, len(grid), step)], names, side=side)


def _write_bar(
    sheet: Sheet, shown: ScalarMappable, ends: tuple[float, float], box: tuple[float, float, float, float]
) -> None:
    axes = sheet.axes(*box)
    bar = sheet.figure.colorbar(shown, cax=axes, drawedges=False)
    bar.outline.set(edgecolor=RULE, linewidth=0.8)
    bar.minorticks_off()
    places = tick_places(*ends)
    sheet.ticks(axes, places, tick_labels(places), side="y")
