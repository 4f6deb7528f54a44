"""Which picture an explanation gets: a map, a coloured series, or bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bars import bars
from .colour import OPACITY, mode_for
from .image import Look, overlay
from .plane import plane_of
from .series import coloured_line, series_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..explanation import Explanation


def figure(
    explanation: Explanation,
    *,
    mode: str | None = None,
    alpha: float = OPACITY,
    outlines: bool | None = None,
    top: int = 15,
    title: bool | str = True,
    size: tuple[float, float] | None = None,
    input_name: str = "",
) -> Figure:
    """Return a matplotlib figure of an explanation, made without pyplot and without a display.

    An image gets its picture and the map over it; a series its line, coloured; named features and anything else a bar
    each for the ``top`` strongest and one for the sum of all others, with a waterfall where the values add up to the
    score. Colours start at 0 and are never stretched to the values; their limits are written below.

    ``mode`` is for maps and series: 'signed', 'centred' (relative to the mean of the map), 'magnitude', 'positive' or
    'error' (the standard error); None is 'centred' for RISE, whose values are all positive, and 'signed' for all else.
    ``alpha`` is the opacity of the strongest colour. ``outlines`` draws the borders of features; None draws them where
    they are coarse enough. ``title`` may be a text; ``size`` is width and height in inches; ``input_name`` chooses the
    input to be drawn. Raises ``SettingError`` where a setting does not fit the explanation.
    """
    look = Look(mode, alpha, outlines)
    mode_for(explanation, mode)
    found = series_of(explanation, input_name)
    if found is not None:
        return coloured_line(explanation, *found, mode, title=title, size=size)
    plane = plane_of(explanation, input_name)
    if plane is not None:
        return overlay(explanation, plane, look, title=title, size=size)
    return bars(explanation, top, title=title, size=size)
