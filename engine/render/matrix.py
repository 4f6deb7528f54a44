"""Matrices of tokens to tokens: what each token attends to, or is made from, with the tokens' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, nearest
from .colour import MUTED, scale
from .sheet import FOOT, MARGIN, SMALL, Sheet, height_of, width_of, wrapped
from .title import head_height, head_width, write_head
from .wording import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..explanation import Explanation

MATRIX = "matrix"  # the mode, and the beginning of the names in ``Explanation.extras``
OF = "matrix of "
SIDE = 4.6  # inches of the longer side
SHORTEST = 1.2
CELL = 0.42  # inches of a cell at most
LONGEST_NAME = 16  # characters
MOST_NAMED = 48  # tokens along a side; of more, some are numbered
BAR = 0.15
BAR_ROOM = 0.95
NARROWEST = 5.5


def has_matrix(explanation: Explanation) -> bool:
    """Say whether an explanation holds a matrix of tokens."""
    return any(_is_matrix(name, a) for name, a in explanation.extras.items())


def matrix(
    explanation: Explanation, *, title: bool | str = True, size: tuple[float, float] | None = None, input_name: str = ""
) -> Figure:
    """Return a picture of the matrix of tokens: a row for each token that reads, a column for each that is read.

    The rows that are explained are marked. ``input_name`` chooses the input that the columns come from, where there are
    several. Raises ``SettingError`` where there is none.
    """
    name = _chosen(explanation, input_name)
    data = explanation.extras[name]
    rows = explanation.extras.get(name.replace(MATRIX, "rows", 1), np.empty(0, int))
    colours = scale(explanation, data, "signed" if data.min(initial=0) < 0 else "positive")
    readers, read = explanation.extras.get(name.replace(MATRIX, "inputs", 1), np.array(["", ""])).tolist()
    down, across = (_names(explanation, n, which) for n, which in zip(data.shape, (readers, read), strict=True))
    left = MARGIN + 0.12 + max(width_of(n, SMALL) for n in down)
    below = 0.14 + max(width_of(n, SMALL) for n in across)
    cell = min(CELL, SIDE / max(data.shape))
    width, height = max(cell * data.shape[1], SHORTEST), max(cell * data.shape[0], SHORTEST)
    wide = size[0] if size else max(left + width + BAR_ROOM + MARGIN, NARROWEST, head_width(explanation, title))
    of = name.removeprefix(OF) if name.startswith(OF) else ""
    of = of or (read if read != readers else "")
    by = f" of {short(readers)}" if readers and read != readers else ""
    told = f"Rows: tokens{by} that read; columns: tokens{f' of {short(of)}' if of else ''} that are read. "
    notes = wrapped(told + " ".join(colours.notes), wide - 2 * MARGIN, SMALL)
    top = MARGIN + head_height(explanation, title) + 0.1
    bottom = below + 0.16 + height_of(len(notes), SMALL) + FOOT
    tall = size[1] if size else top + height + bottom
    if size:
        width, height = wide - left - BAR_ROOM - MARGIN, tall - top - bottom
    if min(width, height) < SHORTEST / 2:
        raise SettingError(f"a figure of {wide:g} by {tall:g} inches is too small for a matrix and its names")
    sheet = Sheet(wide, tall)
    write_head(sheet, explanation, title)
    axes = sheet.axes(left, top, width, height)
    axes.imshow(colours.data, cmap=colours.colours, norm=colours.norm, interpolation="nearest", aspect="auto")
    _label(sheet, axes, down, side="y")
    _label(sheet, axes, across, side="x")
    for row in rows.tolist() if len(rows) < len(data) else []:
        axes.annotate(
            "", (1.0, row), (1.03, row), ("axes fraction", "data"), arrowprops={"arrowstyle": "-|>", "color": MUTED}
        )
    sheet.colour_bar(colours, (left + width + 0.3, top, BAR, height), strongest=1.0, ground=1.0)
    sheet.paragraph(MARGIN, tall - bottom + below + 0.16, notes)
    return sheet.figure


def _is_matrix(name: str, array: np.ndarray) -> bool:
    return (name == MATRIX or name.startswith(OF)) and array.ndim == 2 and array.size > 0


def _chosen(explanation: Explanation, input_name: str) -> str:
    names = [name for name, a in explanation.extras.items() if _is_matrix(name, a)]
    if not names:
        raise SettingError(
            f"'{short(explanation.method)}' gives no matrix of tokens", tip="attention-map and attention-rollout do"
        )
    if not input_name or names == [MATRIX]:
        return names[0]
    if OF + input_name not in names:
        raise SettingError(
            f"there is no matrix of tokens of '{short(input_name)}'",
            tip=nearest(input_name, [name.removeprefix(OF) for name in names]),
        )
    return OF + input_name


def _names(explanation: Explanation, count: int, inputs: str) -> list[str]:
    """Return a name per token: the sample's, of the inputs that they come from, if there are so many; else numbers."""
    texts = explanation.sample.texts if explanation.sample is not None else ()
    named = [text for text in texts if text.input in inputs.split(" and ")]
    fitting = [text.tokens for text in named or texts if len(text.tokens) == count <= MOST_NAMED]
    if len(fitting) == 1:
        return [short(token, LONGEST_NAME) or "·" for token in fitting[0]]
    return [str(k) for k in range(count)]


def _label(sheet: Sheet, axes: Axes, names: list[str], *, side: str) -> None:
    step = -(-len(names) // MOST_NAMED) if len(names) <= MOST_NAMED else -(-len(names) // 12)
    places = list(range(0, len(names), step))
    sheet.ticks(axes, places, [names[k] for k in places], side=side)
    if side == "x":
        axes.xaxis.set_tick_params(rotation=90)
