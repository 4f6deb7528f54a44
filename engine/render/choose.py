"""Which picture an explanation gets: a map, a coloured series or text, or bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..marked_text import marked_text
from .bars import bars
from .colour import OPACITY, mode_for
from .image import Look, overlay
from .matrix import MATRIX, has_matrix, matrix
from .plane import plane_of
from .series import coloured_line
from .signals import series_of
from .text import coloured_text

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

    An image gets its picture and the map over it; a series its line, coloured; a text its words on coloured grounds;
    named features and anything else a bar each for the ``top`` strongest and one for the sum of all others, with a
    waterfall where the values add up to the score. Colours start at 0 and are never stretched to the values; their
    limits are written below.

    ``mode`` is for maps and series: 'signed', 'centred' (relative to the mean of the map), 'magnitude', 'positive' or
    'error' (the standard error); None is 'centred' for RISE, whose values are all positive, and 'signed' for all else.
    'matrix' draws the matrix of tokens of an attention method, as is done where these are no image or series.
    ``alpha`` is the opacity of the strongest colour. ``outlines`` draws the borders of features; None draws them where
    they are coarse enough. ``title`` may be a text; ``size`` is width and height in inches; ``input_name`` chooses the
    input to be drawn; without it, named features of several inputs that are no photograph are drawn as bars, all
    together. Texts are one passage, also where they went into several inputs; beside a photograph it stands below the
    map. Raises ``SettingError`` where a setting does not fit the explanation.
    """
    if mode == MATRIX:
        return matrix(explanation, title=title, size=size, input_name=input_name)
    look = Look(mode, alpha, outlines)
    mode_for(explanation, mode)
    mixed = not input_name and _is_mixed(explanation)
    pictured = not input_name and _is_pictured(explanation)
    if not mixed and not pictured:
        drawn = _of_modality(explanation, mode, title=title, size=size, input_name=input_name)
        if drawn is not None:
            return drawn
    plane = None if mixed else plane_of(explanation, input_name)
    if plane is not None:
        marked = marked_text(explanation) if pictured else None
        return overlay(explanation, plane, look, title=title, size=size, marked=marked)
    if has_matrix(explanation):
        return matrix(explanation, title=title, size=size, input_name=input_name)
    return bars(explanation, top, title=title, size=size)


def _of_modality(
    explanation: Explanation, mode: str | None, *, title: bool | str, size: tuple[float, float] | None, input_name: str
) -> Figure | None:
    """Return the picture of a series or a text, None for anything else."""
    found = series_of(explanation, input_name)
    if found is not None:
        return coloured_line(explanation, found, mode, title=title, size=size)
    sample, marked = explanation.sample, marked_text(explanation)
    if marked is None or sample is None or (input_name and sample.text_in(input_name) is None):
        return None
    return coloured_text(explanation, marked, mode, title=title, size=size)


def _is_mixed(explanation: Explanation) -> bool:
    """Say whether named features lie in several inputs, none of which is a photograph."""
    texts = {text.input for text in explanation.sample.texts} if explanation.sample is not None else set()
    others = explanation.feature_labels.keys() - texts
    several = len(others) + bool(texts & explanation.feature_labels.keys()) > 1
    return explanation.feature_values is not None and several and not _is_pictured(explanation)


def _is_pictured(explanation: Explanation) -> bool:
    """Say whether values lie on a photograph."""
    sample = explanation.sample
    if sample is None or sample.image is None:
        return False
    values = explanation.values.get(sample.image_input)
    return not sample.texts or (values is not None and bool(values.any()))
