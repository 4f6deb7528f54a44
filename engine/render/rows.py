"""Several rows of a table in one picture: a line per feature, a column per row, the effect as colour and number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Rectangle

from ..errors import SettingError
from ..palette import SIGNED
from .colour import INK, MUTED, PAPER, RULE
from .naming import held
from .sheet import BODY, FOOT, LINE, MARGIN, POINTS, SMALL, Sheet, fitted, height_of, width_of, wrapped
from .title import write_title
from .wording import aligned, is_regression, number, scale_of, short, target_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..explanation import Explanation

MOST_ROWS = 10  # in one picture
CELL = (0.98, 0.46)  # inches
NAMES = 2.6  # the most that names get
HEAD = 0.62  # row, what is predicted, and its score
GAP = 0.06
DARK = 0.45  # luminance below which letters are white


def shown_together(explanations: Sequence[Explanation]) -> bool:
    """Say whether these are explanations of several rows of one table by one method, with the same named features."""
    if len(explanations) < 2:
        return False
    first = explanations[0]
    return bool(first.feature_names) and all(
        e.sample is not None
        and e.sample.modality == "table"
        and e.feature_values is not None
        and e.feature_names == first.feature_names
        and e.method == first.method
        for e in explanations
    )


def rows_figure(explanations: Sequence[Explanation], *, top: int = 15, title: bool | str = True) -> Figure:
    """Return one picture of several rows of a table, at most ten, with the features that matter most over all of them.

    A cell holds what the row has in the feature, and below it the effect on that row's own target, coloured on one
    scale for all. Raises ``SettingError`` where the explanations are not of rows of one table by one method.
    """
    if not shown_together(explanations):
        raise SettingError("these are not explanations of several rows of one table by one method")
    if top < 1:
        raise SettingError(f"top is how many features are drawn, at least 1, not {top}")
    shown = explanations[:MOST_ROWS]
    values = _values(explanations)
    order = np.argsort(-np.abs(values).mean(axis=0), kind="stable")
    chosen, rest = order[:top], order[top:]
    drawn = values[: len(shown)]
    table = np.concatenate([drawn[:, chosen], drawn[:, rest].sum(axis=1, keepdims=True)[:, : len(rest)]], axis=1)
    names = [short(explanations[0].feature_names[k]) for k in chosen.tolist()]
    names += [f"{len(rest)} other feature{'' if len(rest) == 1 else 's'}"] if len(rest) else []
    texts = [[held(e, k) for k in chosen.tolist()] + [""] * bool(len(rest)) for e in shown]
    return _drawn(shown, table, names, texts, len(explanations), title)


def _values(explanations: Sequence[Explanation]) -> np.ndarray:
    """Return the effects (rows, features); for RISE, whose values are scores, relative to their mean in each row."""
    values = np.array([e.feature_values for e in explanations], dtype=np.float64)
    if not np.isfinite(values).all():
        raise SettingError("an explanation holds values that are not finite; there is nothing to draw")
    return values - values.mean(axis=1, keepdims=True) if explanations[0].method == "rise" else values


def _drawn(
    shown: Sequence[Explanation],
    table: np.ndarray,
    names: list[str],
    texts: list[list[str]],
    count: int,
    title: bool | str,  # noqa: FBT001 - a setting
) -> Figure:
    left = MARGIN + min(NAMES, max(width_of(name, BODY) for name in names)) + 0.14
    above = MARGIN + (0.55 if title is not False else 0.0)
    wide = max(left + len(shown) * CELL[0] + MARGIN, 5.2)
    largest = float(np.abs(table).max()) or 1.0
    notes = wrapped(_notes(shown, largest, count), wide - 2 * MARGIN, SMALL)
    tall = above + HEAD + len(names) * CELL[1] + 0.18 + height_of(len(notes), SMALL) + FOOT
    sheet = Sheet(wide, tall)
    if title is not False:
        heading = short(title, 200) if isinstance(title, str) else f"{short(shown[0].method)}: {count} rows"
        write_title(sheet, heading, f"effect on the {_quantity(shown)}")
    for k, explanation in enumerate(shown):
        _write_head(sheet, explanation, left + (k + 0.5) * CELL[0], above)
    axes = sheet.axes(left, above + HEAD, len(shown) * CELL[0], len(names) * CELL[1])
    axes.set_xlim(0, len(shown))
    axes.set_ylim(len(names), 0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    written = aligned(table.ravel().tolist(), sign=True)
    for line, name in enumerate(names):
        top = above + HEAD + (line + 0.5) * CELL[1] - BODY * LINE / POINTS / 2
        last = line == len(names) - 1 and not any(row[line] for row in texts)
        text = fitted(name, left - MARGIN - 0.14, BODY)
        sheet.write(left - 0.14, top, text, colour=MUTED if last else INK, align="right")
        for k in range(len(shown)):
            content = (texts[k][line], written[k * len(names) + line], table[k, line] / largest)
            _cell(sheet, axes, (left, above + HEAD), (k, line), content)
    sheet.paragraph(MARGIN, tall - FOOT - height_of(len(notes), SMALL), notes)
    return sheet.figure


def _cell(
    sheet: Sheet, axes: Axes, corner: tuple[float, float], at: tuple[int, int], content: tuple[str, str, float]
) -> None:
    """Draw a cell: its colour by the share of the largest effect, what the row holds, and the effect."""
    text, effect, share = content
    colour = LinearSegmentedColormap.from_list("signed", list(SIGNED))((share + 1) / 2)
    box = (at[0] + GAP / 2, at[1] + GAP / 2)
    axes.add_patch(Rectangle(box, 1 - GAP, 1 - GAP, facecolor=colour, edgecolor=RULE, linewidth=0.5))
    red, green, blue = to_rgb(colour)
    ink = PAPER if 0.2126 * red + 0.7152 * green + 0.0722 * blue < DARK else INK
    middle = corner[0] + (at[0] + 0.5) * CELL[0]
    top = corner[1] + at[1] * CELL[1]
    line = SMALL * LINE / POINTS
    begin = top + (CELL[1] - (2 * line if text else line)) / 2
    if text:
        sheet.write(middle, begin, fitted(text, CELL[0] - 0.12, SMALL), size=SMALL, colour=ink, align="center")
        begin += line
    sheet.write(middle, begin, effect, size=SMALL, colour=ink, bold=True, align="center")


def _write_head(sheet: Sheet, explanation: Explanation, middle: float, top: float) -> None:
    """Write which row this is, what was explained, and its score."""
    source = explanation.sample.source if explanation.sample is not None else ""
    _, colon, row = source.rpartition(":")
    room = CELL[0] - 0.08
    place = f"row {row}" if colon and row.isdigit() else short(source) or "row"
    sheet.write(middle, top, fitted(place, room, SMALL), size=SMALL, colour=MUTED, align="center")
    name = "" if is_regression(explanation) else short(explanation.label) or target_name(explanation)
    line = SMALL * LINE / POINTS
    if name:
        sheet.write(middle, top + line, fitted(name, room, SMALL), size=SMALL, align="center")
    score = number(explanation.score)
    sheet.write(middle, top + 2 * line, fitted(score, room, BODY, bold=True), size=BODY, bold=True, align="center")


def _quantity(shown: Sequence[Explanation]) -> str:
    """Return what the effects are on: one thing for all rows, or each row's own."""
    targets = {scale_of(e) for e in shown}
    if len(targets) == 1:
        return targets.pop()
    return f"{'probability' if all('probability' in t for t in targets) else 'score'} of each row's own class"


def _notes(shown: Sequence[Explanation], largest: float, count: int) -> str:
    parts = ["In each cell: what the row holds, and its effect. Red raises the score, blue lowers it;"]
    parts.append(f"the strongest colours stand for {number(largest)}.")
    if shown[0].method == "rise":
        parts.append("Effects are relative to the mean of each row.")
    if count > len(shown):
        parts.append(f"The first {len(shown)} of {count} rows are shown; features are in the order of all.")
    return " ".join(parts)
