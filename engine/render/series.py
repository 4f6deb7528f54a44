"""Series: the signal coloured by its values, with the values below it on the same time axis.

Sound gets its spectrogram above. A series that is longer than the picture is wide is drawn as the span between its
least and greatest value in each column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from ..errors import SettingError
from .colour import INK, LOWERS, MUTED, RAISES, RULE, Scale, mode_for, scale
from .sheet import FOOT, MARGIN, SMALL, Sheet, fitted, height_of, tick_places, width_of, wrapped
from .spectrogram import SPECTROGRAM, draw_spectrogram, is_sound
from .title import head_height, write_head
from .wording import short, tick_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..explanation import Explanation
    from .signals import Signals

LENGTH = 7.2  # inches
SIGNAL = 1.7
VALUES = 1.0
BETWEEN = 0.25
SHARED = 0.6  # of the height of a signal, where all channels have the same values and share one strip of them
LEFT = MARGIN + 0.75  # where the axes begin
TIME = 0.55  # the numbers of the steps
GREY = "#79828d"  # of the signal
MOST_STEPS = 1500  # drawn one by one
COLUMNS = 1080  # that longer series are drawn in: a pixel each
MOST_BARS = 60  # values that get a bar each
MOST_BORDERS = 60  # windows whose borders are drawn
SHADE = 0.75  # opacity of the strongest colour behind a long signal
PALE = 0.3  # the same behind a short one, cut into windows


def coloured_line(
    explanation: Explanation,
    series: Signals,
    mode: str | None,
    *,
    title: bool | str,
    size: tuple[float, float] | None,
) -> Figure:
    """Return, per channel, the signal coloured by its values over the values themselves.

    Channels that have the same values at every step share one strip of them.
    """
    colours = scale(explanation, series.values, mode_for(explanation, mode), series.errors)
    bar_room = 0.35 + max(width_of(text, SMALL) for text in colours.ticks[1]) + 0.42
    wide = size[0] if size else LEFT + LENGTH + bar_room + MARGIN
    notes = wrapped(" ".join([*colours.notes, *_left_out(series)]), wide - 2 * MARGIN, SMALL)
    top = MARGIN + head_height(explanation, title) + 0.05
    foot = TIME + height_of(len(notes), SMALL) + FOOT
    sound = series.signal is not None and is_sound(series.rate, series.values.shape[1])
    spectrum = SPECTROGRAM if sound else 0.0
    count = len(series.values)
    shared = count > 1 and series.signal is not None and bool((series.values == series.values[:1]).all())
    upper = spectrum + (SIGNAL if series.signal is not None else 0.0) * (SHARED if shared else 1.0)
    each = upper + (0.0 if shared else VALUES + BETWEEN)
    whole = each * count + (VALUES if shared else -BETWEEN)
    tall = size[1] if size else top + whole + foot
    length, stretch = wide - LEFT - bar_room - MARGIN, (tall - top - foot) / whole
    if length < 1 or stretch < 0.3:
        raise SettingError(f"a figure of {wide:g} by {tall:g} inches is too small for {count} series")
    sheet = Sheet(wide, tall)
    write_head(sheet, explanation, title)
    for channel, row in enumerate(colours.data):
        above = top + channel * each * stretch
        label = series.channels[channel] if count > 1 or not series.channels[0].startswith("input ") else "input"
        if series.signal is not None:
            signal = series.signal[channel]
            if sound:
                axes = sheet.axes(LEFT, above, length, spectrum * stretch)
                draw_spectrogram(axes, signal, series.rate)
                _upright(sheet, axes, "kHz", above + spectrum * stretch / 2, least=1e-9)
            place, high = above + spectrum * stretch, (upper - spectrum) * stretch
            axes = _framed(sheet, (LEFT, place, length, high), row.size)
            _draw_signal(axes, signal, row, colours, windowed=bool(series.borders))
            _upright(sheet, axes, short(label, 24), place + high / 2)
        if shared and channel < count - 1:
            continue
        below = above + upper * stretch
        axes = _framed(sheet, (LEFT, below, length, VALUES * stretch), row.size)
        _draw_values(axes, row, colours, series.borders)
        _upright(sheet, axes, "values", below + VALUES * stretch / 2)
    _time(sheet, axes, LEFT + length / 2, tall - foot + 0.28, series)
    height = tall - top - foot
    sheet.colour_bar(colours, (LEFT + length + 0.2, top, 0.15, height), strongest=1.0, ground=1.0)
    label = fitted(colours.label, height, SMALL)
    sheet.write(LEFT + length + bar_room - 0.12, top + height / 2, label, size=SMALL, align="center", rotation=90)
    sheet.paragraph(MARGIN, tall - foot + TIME, notes)
    return sheet.figure


def _left_out(series: Signals) -> list[str]:
    if not series.left_out:
        return []
    count = len(series.values)
    return [f"{count} channels, those of the strongest values; {series.left_out} others are not drawn."]


def _framed(sheet: Sheet, box: tuple[float, float, float, float], count: int) -> Axes:
    axes = sheet.axes(*box)
    axes.set_xlim(-0.5, count - 0.5)
    return axes


def _columns(count: int) -> np.ndarray:
    """Return where each column of the picture begins, in steps."""
    return np.arange(COLUMNS) * count // COLUMNS


def _strongest_of(values: np.ndarray) -> np.ndarray:
    """Return the value of largest size in each column."""
    begins = _columns(values.size)
    high, low = np.maximum.reduceat(values, begins), np.minimum.reduceat(values, begins)
    return np.where(high >= -low, high, low)


def _draw_signal(axes: Axes, signal: np.ndarray, values: np.ndarray, colours: Scale, *, windowed: bool) -> None:
    """Draw the line in grey and over it, from halfway to the neighbours, each step in the colour of its value.

    A long series is drawn as the span of its values in each column of the picture, over the colours.
    """
    low, high = float(np.nanmin(signal)), float(np.nanmax(signal))
    margin = ((high - low) or 1.0) * 0.1
    axes.set_ylim(low - margin, high + margin)
    if signal.size > MOST_STEPS:
        _draw_span(axes, signal, values, colours)
        return
    if windowed:
        _shade(axes, values, colours, PALE)
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


def _draw_span(axes: Axes, signal: np.ndarray, values: np.ndarray, colours: Scale) -> None:
    begins = _columns(signal.size)
    _shade(axes, _strongest_of(values), colours, SHADE)
    edges = np.append(begins, signal.size) - 0.5
    low, high = np.minimum.reduceat(signal, begins), np.maximum.reduceat(signal, begins)
    joined = np.minimum(low[1:], high[:-1]), np.maximum(high[1:], low[:-1])  # spans of neighbours touch
    low[1:], high[1:] = np.minimum(low[1:], joined[0]), np.maximum(high[1:], joined[1])
    axes.fill_between(
        edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=INK, linewidth=0.4, zorder=2
    )


def _shade(axes: Axes, values: np.ndarray, colours: Scale, strongest: float) -> None:
    """Fill the axes from side to side with the colours of some values."""
    axes.imshow(
        values[None],
        norm=colours.norm,
        cmap=colours.colours,
        alpha=colours.opacity(strongest, values[None]),
        interpolation="nearest",
        aspect="auto",
        extent=(*axes.get_xlim(), *axes.get_ylim()),
        zorder=0,
    )


def _draw_values(axes: Axes, values: np.ndarray, colours: Scale, borders: list[int]) -> None:
    """Draw a bar per step, in the colours of the sign, on the limits of all channels, and the borders of windows."""
    signed = colours.low < 0
    if values.size <= MOST_BARS:
        shades = np.where(values >= 0, RAISES, LOWERS).tolist() if signed else INK
        axes.bar(np.arange(values.size), values, width=1.0, color=shades, linewidth=0)
    else:
        _draw_steps(axes, values, signed=signed)
    largest = float(np.abs(colours.data).max()) or 1.0
    least = min(0.0, float(colours.data.min()))
    axes.set_ylim(min(least * 1.1, -0.1 * largest) if signed else 0, largest * 1.1)
    if 0 < len(borders) <= MOST_BORDERS:
        axes.vlines([b - 0.5 for b in borders], *axes.get_ylim(), color=RULE, linewidth=0.6, zorder=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)


def _draw_steps(axes: Axes, values: np.ndarray, *, signed: bool) -> None:
    """Draw many values as areas above and below 0."""
    is_long = values.size > MOST_STEPS
    heights = _strongest_of(values) if is_long else values
    edges = (np.append(_columns(values.size), values.size) if is_long else np.arange(values.size + 1)) - 0.5
    heights = np.append(heights, heights[-1])
    parts = ((np.maximum(heights, 0), RAISES), (np.minimum(heights, 0), LOWERS)) if signed else ((heights, INK),)
    for part, shade in parts:
        axes.fill_between(edges, part, step="post", color=shade, linewidth=0)


def _upright(sheet: Sheet, axes: Axes, label: str, middle: float, least: float = -np.inf) -> None:
    low, high = axes.get_ylim()
    places = [place for place in tick_places(low, high, count=3) if place >= least]
    sheet.ticks(axes, places, tick_labels(places), side="y")
    sheet.write(MARGIN + 0.06, middle, label, size=SMALL, colour=MUTED, align="center", rotation=90)


def _time(sheet: Sheet, axes: Axes, left: float, top: float, series: Signals) -> None:
    """Write the seconds where the rate is known, else the numbers of the steps, from 0."""
    last = axes.get_xlim()[1]
    if series.rate:
        seconds = tick_places(0, last / series.rate, count=8)
        sheet.ticks(axes, [s * series.rate for s in seconds], tick_labels(seconds))
        unit = "seconds"
    else:
        places = [p for p in tick_places(0, last, count=8) if p.is_integer()]
        sheet.ticks(axes, places, [f"{p:.0f}" for p in places])
        unit = "step"
    sheet.write(left, top, f"{unit} of '{short(series.name)}'", size=SMALL, colour=MUTED, align="center")
