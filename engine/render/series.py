"""Series: the signal coloured by its values, with the values below it on the same time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from ..errors import SettingError
from .colour import INK, LOWERS, MUTED, RAISES, Scale, mode_for, scale
from .sheet import FOOT, MARGIN, SMALL, Sheet, fitted, height_of, tick_places, width_of, wrapped
from .title import head_height, write_head
from .wording import short, tick_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..explanation import Explanation

LENGTH = 7.2  # inches
SIGNAL = 1.7
VALUES = 1.0
MOST_CHANNELS = 6
BETWEEN = 0.25
LEFT = MARGIN + 0.75  # where the axes begin
TIME = 0.55  # the numbers of the steps
GREY = "#79828d"  # of the signal


def series_of(explanation: Explanation, name: str = "") -> tuple[str, np.ndarray] | None:
    """Return an input's name and its values (channels, T), or None where it is not a series of a few channels."""
    sample = explanation.sample
    chosen = name or next(iter(explanation.values), "")
    if sample is None or sample.modality != "series" or chosen not in explanation.values:
        return None
    values = explanation.values[chosen]
    long = [n for n in values.shape if n > 1]
    if len(long) == 1:
        return chosen, values.reshape(1, -1)
    if len(long) != 2 or min(long) > MOST_CHANNELS:
        return None
    stacked = values.reshape(long)
    return chosen, stacked if long[0] <= MOST_CHANNELS else stacked.T


def coloured_line(
    explanation: Explanation,
    name: str,
    values: np.ndarray,
    mode: str | None,
    *,
    title: bool | str,
    size: tuple[float, float] | None,
) -> Figure:
    """Return, per channel, the signal coloured by ``values`` (channels, T) over the values themselves."""
    errors = _arranged((explanation.standard_error or {}).get(name), values)
    colours = scale(explanation, values, mode_for(explanation, mode), errors)
    signal = _arranged(explanation.sample.feeds.get(name) if explanation.sample is not None else None, values)
    bar_room = 0.35 + max(width_of(text, SMALL) for text in colours.ticks[1]) + 0.42
    wide = size[0] if size else LEFT + LENGTH + bar_room + MARGIN
    notes = wrapped(" ".join(colours.notes), wide - 2 * MARGIN, SMALL)
    top = MARGIN + head_height(explanation, title) + 0.05
    foot = TIME + height_of(len(notes), SMALL) + FOOT
    upper = SIGNAL if signal is not None else 0.0
    each = upper + VALUES + BETWEEN
    tall = size[1] if size else top + each * len(values) - BETWEEN + foot
    length, stretch = wide - LEFT - bar_room - MARGIN, (tall - top - foot) / (each * len(values) - BETWEEN)
    if length < 1 or stretch < 0.3:
        raise SettingError(f"a figure of {wide:g} by {tall:g} inches is too small for {len(values)} series")
    sheet = Sheet(wide, tall)
    write_head(sheet, explanation, title)
    for channel, row in enumerate(colours.data):
        above = top + channel * each * stretch
        if signal is not None:
            axes = _framed(sheet, (LEFT, above, length, upper * stretch), row.size)
            _draw_signal(axes, signal[channel].astype(np.float64), row, colours)
            _upright(sheet, axes, f"input {channel}" if len(values) > 1 else "input", above + upper * stretch / 2)
        below = above + upper * stretch
        axes = _framed(sheet, (LEFT, below, length, VALUES * stretch), row.size)
        _draw_values(axes, row, colours)
        _upright(sheet, axes, "values", below + VALUES * stretch / 2)
    _time(sheet, axes, LEFT + length / 2, tall - foot + 0.28, short(name))
    height = tall - top - foot
    sheet.colour_bar(colours, (LEFT + length + 0.2, top, 0.15, height), strongest=1.0, ground=1.0)
    label = fitted(colours.label, height, SMALL)
    sheet.write(LEFT + length + bar_room - 0.12, top + height / 2, label, size=SMALL, align="center", rotation=90)
    sheet.paragraph(MARGIN, tall - foot + TIME, notes)
    return sheet.figure


def _arranged(array: np.ndarray | None, values: np.ndarray) -> np.ndarray | None:
    """Return an array as (channels, T) like the values, or None where it holds no numbers or has another size."""
    if array is None or array.size != values.size or array.dtype.kind not in "fiub":
        return None
    long = [n for n in array.shape if n > 1]
    return array.reshape(long).T if len(long) == 2 and tuple(long) != values.shape else array.reshape(values.shape)


def _framed(sheet: Sheet, box: tuple[float, float, float, float], count: int) -> Axes:
    axes = sheet.axes(*box)
    axes.set_xlim(-0.5, count - 0.5)
    return axes


def _draw_signal(axes: Axes, signal: np.ndarray, values: np.ndarray, colours: Scale) -> None:
    """Draw the line in grey and over it, from halfway to the neighbours, each step in the colour of its value."""
    low, high = float(np.nanmin(signal)), float(np.nanmax(signal))
    margin = ((high - low) or 1.0) * 0.1
    axes.set_ylim(low - margin, high + margin)
    place = np.arange(signal.size)
    middles = np.concatenate([[-0.5], (place[1:] + place[:-1]) / 2, [signal.size - 0.5]])
    ends = np.stack([middles, np.interp(middles, place, signal)], axis=1)
    segments = np.stack([ends[:-1], np.stack([place, signal], axis=1), ends[1:]], axis=1)
    axes.plot(place, signal, color=GREY, linewidth=1.2, zorder=2)
    axes.add_collection(
        LineCollection(
            list(segments),
            array=values,
            norm=colours.norm,
            cmap=colours.colours,
            alpha=colours.opacity(1.0, values),
            linewidths=4,
            capstyle="butt",
            zorder=1,
        ),
        autolim=False,
    )


def _draw_values(axes: Axes, values: np.ndarray, colours: Scale) -> None:
    """Draw a bar per step, in the colours of the sign, on the limits of all channels."""
    shades = np.where(values >= 0, RAISES, LOWERS).tolist() if colours.low < 0 else INK
    axes.bar(np.arange(values.size), values, width=1.0, color=shades, linewidth=0)
    largest = float(np.abs(colours.data).max()) or 1.0
    axes.set_ylim(-largest * 1.1 if colours.low < 0 else 0, largest * 1.1)
    axes.axhline(0, color=MUTED, linewidth=0.8)


def _upright(sheet: Sheet, axes: Axes, label: str, middle: float) -> None:
    places = tick_places(*axes.get_ylim(), count=3)
    sheet.ticks(axes, places, tick_labels(places), side="y")
    sheet.write(MARGIN + 0.06, middle, label, size=SMALL, colour=MUTED, align="center", rotation=90)


def _time(sheet: Sheet, axes: Axes, left: float, top: float, name: str) -> None:
    """Write the numbers of the steps, from 0."""
    places = [p for p in tick_places(0, axes.get_xlim()[1], count=8) if p.is_integer()]
    sheet.ticks(axes, places, [f"{p:.0f}" for p in places])
    sheet.write(left, top, f"step of '{name}'", size=SMALL, colour=MUTED, align="center")
