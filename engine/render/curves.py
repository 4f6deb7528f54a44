"""Curves of metrics: a panel per metric, a line per method with its 95 % band, controls in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from .colour import INK, MUTED, RULE
from .sheet import BODY, FOOT, MARGIN, SMALL, Sheet, fitted, height_of, tick_places, width_of, wrapped
from .title import write_title
from .wording import number, tick_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..metrics.score import Score

IN_A_ROW = 3
WIDE, TALL = 2.9, 2.2  # inches of a panel's axes
LEFT, BETWEEN = 0.62, 0.35  # for the numbers at the side, and after a panel
ABOVE, BELOW = 0.5, 0.62
KEY = 0.24  # height of a line of the key
FEWEST = 4  # inputs; the bands of fewer hide everything
MARKED = 12  # points of a curve, that are drawn as such
SHADE = 0.12  # opacity of a band
# Okabe and Ito's colours, which readers with any colour blindness can tell apart; then the same, broken.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7a5195", "#5b4636")
CONTROLS = {"random": ("#8b949e", (0, (1, 1.2))), "edges": ("#57606a", (0, (4, 2)))}
AXES = {
    "deletion": "share of features removed",
    "insertion": "share of features put in",
    "pixel-flipping": "share of features replaced",
    "region-perturbation": "regions perturbed",
    "road": "share of pixels filled in",
    "monotonicity": "share of features put in",
    "sensitivity-n": "features in a set, n",
    "parameter-randomisation": "layers randomised",
}


def curves(scores: Sequence[Score], *, title: str | bool = True) -> Figure:
    """Return a figure of all scores that have a curve; ``title`` may be a text. ``SettingError`` where none has."""
    shown = [s for s in scores if s.curve is not None]
    if not shown:
        raise SettingError("no metric of this evaluation has a curve to draw")
    metrics = list(dict.fromkeys(s.metric for s in shown))
    methods = list(dict.fromkeys(s.method for s in shown))
    methods.sort(key=lambda name: name in CONTROLS)
    across = min(len(metrics), IN_A_ROW)
    panel = LEFT + WIDE + BETWEEN
    wide = max(2 * MARGIN + across * panel - BETWEEN, 6.0)
    rows = -(-len(metrics) // across)
    lines = _key_lines(methods, wide - 2 * MARGIN)
    count = max(len(s.samples) for s in shown)
    notes = wrapped(_note(count), wide - 2 * MARGIN, SMALL)
    key = MARGIN + (0.55 if title else 0.0)
    head = key + KEY * len(lines)
    sheet = Sheet(wide, head + rows * (ABOVE + TALL + BELOW) + height_of(len(notes), SMALL) + FOOT)
    own = sum(name not in CONTROLS for name in methods)
    inputs = "1 input" if count == 1 else f"{count} inputs"
    if title:
        subtitle = f"{own} method{'' if own == 1 else 's'} and {len(methods) - own} controls on {inputs}"
        write_title(sheet, title if isinstance(title, str) else "Curves of the evaluation", subtitle)
    styles = _styles(methods)
    _write_key(sheet, key, lines, styles)
    for k, metric in enumerate(metrics):
        row, column = divmod(k, across)
        box = (MARGIN + column * panel + LEFT, head + row * (ABOVE + TALL + BELOW) + ABOVE, WIDE, TALL)
        _panel(sheet, box, [s for s in shown if s.metric == metric], styles)
    sheet.paragraph(MARGIN, sheet.height - FOOT - height_of(len(notes), SMALL), notes)
    return sheet.figure


def _note(count: int) -> str:
    bands = ", its band the 95 % interval, cut off where it is wide" if count >= FEWEST else ""
    narrow = f" Intervals of fewer than {FEWEST} inputs are not drawn." if 1 < count < FEWEST else ""
    text = f"A line is the mean over inputs{bands}.{narrow} " if count > 1 else ""
    return f"{text}Grey lines are controls: a random map, and an edge detector that knows the picture only."


def _styles(methods: Sequence[str]) -> dict[str, tuple[str, object]]:
    """Return colour and dashes of each method."""
    own = [name for name in methods if name not in CONTROLS]
    styles: dict[str, tuple[str, object]] = {
        name: (COLOURS[k % len(COLOURS)], "-" if k < len(COLOURS) else (0, (6, 1.5))) for k, name in enumerate(own)
    }
    return styles | {name: CONTROLS[name] for name in methods if name in CONTROLS}


def _key_lines(methods: Sequence[str], room: float) -> list[list[tuple[str, float]]]:
    """Break the key into lines; each entry has its place from the left."""
    lines: list[list[tuple[str, float]]] = [[]]
    left = 0.0
    for name in methods:
        width = 0.42 + width_of(fitted(name, 2.5, BODY), BODY) + 0.25
        if lines[-1] and left + width > room:
            lines.append([])
            left = 0.0
        lines[-1].append((name, left))
        left += width
    return lines


def _write_key(
    sheet: Sheet, begin: float, lines: Sequence[Sequence[tuple[str, float]]], styles: dict[str, tuple[str, object]]
) -> None:
    for k, line in enumerate(lines):
        top = begin + k * KEY
        for name, left in line:
            axes = sheet.axes(MARGIN + left, top, 0.34, 0.14)
            axes.set_axis_off()
            _line(axes, np.array([0.0, 1.0]), np.zeros(2), styles[name])
            sheet.write(MARGIN + left + 0.42, top, fitted(name, 2.5, BODY), size=BODY)


def _panel(
    sheet: Sheet,
    box: tuple[float, float, float, float],
    scores: Sequence[Score],
    styles: dict[str, tuple[str, object]],
) -> None:
    axes = sheet.axes(*box)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    first = scores[0]
    for score in sorted(scores, key=lambda s: s.method not in CONTROLS):  # controls lie below
        if score.curve is None:
            continue
        x, y = score.curve
        if score.curve_interval is not None and len(score.samples) >= FEWEST:
            low, high = score.curve_interval
            axes.fill_between(x, low, high, color=styles[score.method][0], alpha=SHADE, linewidth=0)
        _line(axes, x, y, styles[score.method])
    _limit(axes, scores)
    places = tick_places(*axes.get_ylim(), count=4)
    sheet.ticks(axes, places, tick_labels(places), side="y")
    across = tick_places(*axes.get_xlim(), count=5)
    sheet.ticks(axes, across, tick_labels(across))
    axes.grid(visible=True, axis="y", color=RULE, linewidth=0.5, alpha=0.6)
    good = {True: "higher is better", False: "lower is better", None: ""}[first.higher_is_better]
    best = max(
        (s for s in scores if np.isfinite(s.value)),
        key=lambda s: s.value * (1 if s.higher_is_better else -1),
        default=None,
    )
    leads = (
        f"; best: {best.method} {number(best.value)}" if best is not None and first.higher_is_better is not None else ""
    )
    sheet.write(box[0], box[1] - 0.42, fitted(first.metric, box[2], BODY, bold=True), bold=True, colour=INK)
    sheet.write(box[0], box[1] - 0.21, fitted(good + leads, box[2], SMALL), size=SMALL, colour=MUTED)
    label = AXES.get(first.metric, "")
    sheet.write(box[0] + box[2] / 2, box[1] + box[3] + 0.27, label, size=SMALL, colour=MUTED, align="center")


def _limit(axes: Axes, scores: Sequence[Score]) -> None:
    """Show all of the lines, and of the bands what lies within half as much again on either side."""
    lines = np.concatenate([s.curve[1] for s in scores if s.curve is not None])
    least, most = float(lines.min()), float(lines.max())
    room = ((most - least) or abs(most) or 1.0) / 2
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, least - room), min(high, most + room))


def _line(axes: Axes, x: np.ndarray, y: np.ndarray, style: tuple[str, object]) -> None:
    (line,) = axes.plot(x, y, color=style[0], linewidth=1.6)
    line.set_linestyle(style[1])  # type: ignore[arg-type]  # a name, or an offset with dashes
    if 2 < len(x) <= MARKED:
        line.set_marker("o")
        line.set_markersize(3)
