"""Several explanations of one sample side by side: the picture first, then a map per method; or bars on shared rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from .bars import GAP as BETWEEN_BARS
from .bars import NAMES, ROW, Panel, draw_bars, rows_of, write_names
from .colour import INK, MUTED, OPACITY, PERCENTILE, Scale
from .image import GAP, Look, draw_map, draw_picture, fitting, ground_of, outlines_of, scaled
from .plane import Plane, plane_of
from .sheet import BODY, FOOT, MARGIN, SMALL, Sheet, fitted, height_of, width_of, wrapped
from .texts_together import text_in_common, texts_figure, told
from .title import write_title
from .wording import evaluations, number, outcome, quantity, short, target_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from ..explanation import Explanation

IN_A_ROW = 4
SIDE = 2.5  # inches of a panel's longer side
ABOVE = 0.42  # a panel's title and score
BELOW = 0.78  # a panel's colour bar
BARS = 2.6


def side_by_side(
    explanations: Sequence[Explanation],
    *,
    mode: str | None = None,
    alpha: float = OPACITY,
    outlines: bool | None = None,
    top: int = 15,
    title: bool | str = True,
) -> Figure:
    """Return one figure of several explanations of the same sample, four panels to a row, the picture being the first.

    Each map has a colour bar of its own: methods differ in what their numbers mean. A text is written once for each
    explanation, one passage under the other. Explanations with the same named features get bars on the same rows, in
    the order of the first. Settings are those of ``figure``. Raises ``SettingError`` where the explanations are not of
    one sample.
    """
    if not explanations:
        raise SettingError("there is no explanation to draw")
    marked = text_in_common(explanations)
    if marked:
        return texts_figure(explanations, marked, mode, title=title)
    planes = [plane_of(e) for e in explanations]
    found = [p for p in planes if p is not None]
    if len(found) == len(planes):
        return _maps(explanations, found, Look(mode, alpha, outlines), title)
    if found or any(e.feature_names != explanations[0].feature_names for e in explanations):
        raise SettingError("these explanations do not have the same features; draw them one by one")
    return _bars(explanations, top, title)


def _maps(explanations: Sequence[Explanation], planes: Sequence[Plane], look: Look, title: bool | str) -> Figure:  # noqa: FBT001 - a setting
    picture = planes[0].picture
    for plane in planes[1:]:
        if plane.data.shape != planes[0].data.shape or not _equal(plane.picture, picture):
            raise SettingError("these explanations are not of one picture; draw them one by one")
    scales = [scaled(e, p, look.mode) for e, p in zip(explanations, planes, strict=True)]
    count = len(planes) + (picture is not None)
    columns = -(-count // -(-count // IN_A_ROW))
    width, height = fitting(planes[0].data.shape, SIDE, SIDE)
    step = ABOVE + height + BELOW
    head = MARGIN + (0.5 if title is not False else 0.0)
    wide = 2 * MARGIN + columns * width + (columns - 1) * GAP
    notes = wrapped(_legend(scales, planes), wide - 2 * MARGIN, SMALL)
    sheet = Sheet(wide, head + -(-count // columns) * step + height_of(len(notes), SMALL) + FOOT)
    _head(sheet, explanations, title)
    boxes = [
        (MARGIN + k % columns * (width + GAP), head + k // columns * step + ABOVE, width, height) for k in range(count)
    ]
    if picture is not None:
        box = boxes.pop(0)
        _name(sheet, box, planes[0].picture_title, "")
        draw_picture(sheet.axes(*box), picture)
    for explanation, plane, colours, box in zip(explanations, planes, scales, boxes, strict=True):
        _name(sheet, box, short(explanation.method), _told_apart(explanation, explanations))
        draw_map(sheet.axes(*box), plane, colours, look.opacity, outlines_of(plane, look.outlines))
        bar = (box[0] + 0.25, box[1] + height + 0.12, width - 0.5, 0.12)
        sheet.colour_bar(colours, bar, strongest=look.opacity, ground=ground_of(plane), across=True)
        label = fitted(_bar_label(colours), width, SMALL)
        sheet.write(box[0] + width / 2, bar[1] + 0.33, label, size=SMALL, colour=MUTED, align="center")
    sheet.paragraph(MARGIN, sheet.height - FOOT - height_of(len(notes), SMALL), notes)
    return sheet.figure


def _bars(explanations: Sequence[Explanation], top: int, title: bool | str) -> Figure:  # noqa: FBT001 - a setting
    order = rows_of(explanations[0], top)
    shared = [rows_of(e, top, like=explanations[0]) for e in explanations]
    names = min(NAMES, max(width_of(row.name, BODY) for row in order)) + 0.12
    head = MARGIN + (0.5 if title is not False else 0.0) + ABOVE
    wide = 2 * MARGIN + names + len(shared) * BARS + (len(shared) - 1) * BETWEEN_BARS
    notes = wrapped("Red raises the score, blue lowers it. Each panel has its own scale.", wide - 2 * MARGIN, SMALL)
    tall = len(order) * ROW
    sheet = Sheet(wide, head + tall + 0.6 + height_of(len(notes), SMALL) + FOOT)
    _head(sheet, explanations, title)
    for k, (explanation, rows) in enumerate(zip(explanations, shared, strict=True)):
        box = (MARGIN + names + k * (BARS + BETWEEN_BARS), head, BARS, tall)
        panel = Panel.on(sheet, box, len(rows))
        if k == 0:
            write_names(panel, rows, 0, names)
        _name(sheet, box, short(explanation.method), _told_apart(explanation, explanations))
        draw_bars(panel, rows, 0, quantity(explanation))
    sheet.paragraph(MARGIN, sheet.height - FOOT - height_of(len(notes), SMALL), notes)
    return sheet.figure


def _head(sheet: Sheet, explanations: Sequence[Explanation], title: bool | str) -> None:  # noqa: FBT001 - a setting
    if title is False:
        return
    text = short(title, 200) if isinstance(title, str) else told(explanations)
    write_title(sheet, text, f"{len(explanations)} explanations of the same input")


def _name(sheet: Sheet, box: tuple[float, float, float, float], text: str, below: str) -> None:
    sheet.write(box[0], box[1] - ABOVE + 0.02, fitted(text, box[2], BODY, bold=True), size=BODY, bold=True, colour=INK)
    if below:
        sheet.write(box[0], box[1] - 0.2, fitted(below, box[2], SMALL), size=SMALL, colour=MUTED)


def _told_apart(explanation: Explanation, explanations: Sequence[Explanation]) -> str:
    """Return the line below a panel's title: its target where targets differ, else its expense."""
    if len({(target_name(e), number(e.score)) for e in explanations}) > 1:
        return outcome(explanation)
    return evaluations(explanation) if explanation.evaluations else ""


def _bar_label(colours: Scale) -> str:
    return {
        "signed": "effect on the score",
        "centred": f"relative to the mean {number(colours.middle)}",
        "magnitude": "|effect on the score|",
        "positive": "effect on the score, positive part",
        "error": "standard error",
    }[colours.mode]


def _legend(scales: Sequence[Scale], planes: Sequence[Plane]) -> str:
    """Say once what every colour bar means."""
    meanings = []
    modes = {colours.mode for colours in scales}
    if modes & {"signed"}:
        meanings.append("Red raises the score, blue lowers it.")
    if modes & {"centred"}:
        meanings.append("Where a map is relative to its mean, red is above the mean and blue below.")
    meanings.append(f"Each map has its own colour bar, up to the {PERCENTILE:g}th percentile of its absolute values;")
    meanings.append("arrows stand for values beyond.")
    if any(plane.note for plane in planes):
        meanings.append("Channels are added up where they differ.")
    return " ".join(meanings)


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
