"""Pictures of an Analysis, by the kind that it names: bars, curves or a surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SettingError, nearest, printable
from .effect_curves import curves
from .effect_surface import surface
from .importances import importances

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.figure import Figure

    from ..analyses.analysis import Analysis

TOP = {"bars": 20, "curves": 9, "surface": 1}


def figure(analysis: Analysis, *, top: int | None = None, title: bool | str = True) -> Figure:
    """Return a matplotlib figure of an analysis, made without pyplot and without a display.

    ``top`` is how many bars (20) or panels (9) are drawn, the first of the analysis; ``title`` may be a text. Raises
    ``SettingError`` where the analysis is a table only.
    """
    if analysis.picture not in PICTURES:
        raise SettingError(
            f"there is no picture of '{printable(analysis.name)}': its table is all there is",
            tip=nearest(analysis.picture, PICTURES) if analysis.picture != "none" else "",
        )
    most = TOP[analysis.picture] if top is None else top
    if most < 1:
        raise SettingError(f"top is how many are drawn, at least 1, not {most}")
    text = title if isinstance(title, str) else analysis.words.get("title", analysis.name) if title else ""
    return PICTURES[analysis.picture](analysis, most, text)


PICTURES: Mapping[str, Callable[[Analysis, int, str], Figure]] = {
    "bars": importances,
    "curves": curves,
    "surface": surface,
}
