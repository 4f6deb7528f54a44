"""Maps of images: the colours of the values over the greyed picture, beside the picture itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from ..errors import SettingError, printable
from .colour import INK, MUTED, OPACITY, Scale, mode_for, scale
from .plane import Plane, outline_segments, worth_outlining
from .sheet import FOOT, LINE, MARGIN, POINTS, SMALL, Sheet, fitted, height_of, width_of, wrapped
from .text import Caption
from .title import head_height, head_width, write_head
from .wording import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..explanation import Explanation
    from ..marked_text import MarkedText

SIDE = 3.7  # inches of a panel's longer side
GAP = 0.3
BAR = 0.15  # width of the colour bar
DARKEST = 0.58  # grey of black in a greyed picture
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
NARROWEST = 5.5  # inches of a sheet that has to hold the text below the map
SMALLEST = 0.5  # inches of a panel
SLIMMEST = 3  # a longer strip is stretched to a third of its length
ENLARGED = 100  # pixels a side below which a picture is shown with square pixels


@dataclass(frozen=True)
class Look:
    """How a map is drawn: mode, opacity of the strongest colour, and whether features are outlined.

    ``outlines`` None outlines features that are coarse enough.
    """

    mode: str | None = None
    opacity: float = OPACITY
    outlines: bool | None = None

    def __post_init__(self) -> None:
        """Check the opacity."""
        if not 0 < self.opacity <= 1:
            raise SettingError(f"alpha is the opacity of the strongest colour, above 0 to 1, not {self.opacity}")


def overlay(
    explanation: Explanation,
    plane: Plane,
    look: Look,
    *,
    title: bool | str,
    size: tuple[float, float] | None,
    marked: MarkedText | None = None,
) -> Figure:
    """Return the picture and the map over it, with a colour bar; without a picture the map alone.

    ``marked`` is a text that was explained beside the picture: it is written below, where no size is given.
    """
    colours = scaled(explanation, plane, look.mode)
    segments = outlines_of(plane, look.outlines)
    panels = 1 if plane.picture is None else 2
    bar_room = _bar_room(colours)
    between = (panels - 1) * GAP + bar_room + 2 * MARGIN
    width, height = fitting(plane.data.shape, SIDE, SIDE)
    wide = size[0] if size else max(panels * width + between, NARROWEST, head_width(explanation, title))
    top = MARGIN + head_height(explanation, title) + 0.2
    notes = wrapped(" ".join(_notes(explanation, plane, colours, segments)), wide - 2 * MARGIN, SMALL)
    caption = Caption(explanation, marked, look.mode, wide) if marked is not None and size is None else None
    bottom = 0.14 + height_of(len(notes), SMALL) + FOOT + (caption.height if caption is not None else 0.0)
    tall = size[1] if size else top + height + bottom
    if size:
        width, height = fitting(plane.data.shape, (wide - between) / panels, tall - top - bottom)
    if min(width, height) < SMALLEST:
        raise SettingError(f"a figure of {wide:g} by {tall:g} inches is too small for a map and its colour bar")
    sheet = Sheet(wide, tall)
    write_head(sheet, explanation, title)
    left = MARGIN
    if plane.picture is not None:
        sheet.write(left, top - 0.2, plane.picture_title, size=SMALL, colour=MUTED)
        draw_picture(sheet.axes(left, top, width, height), plane.picture)
        left += width + GAP
    sheet.write(left, top - 0.2, _map_title(colours.mode, plane), size=SMALL, colour=MUTED)
    draw_map(sheet.axes(left, top, width, height), plane, colours, look.opacity, segments)
    left += width + 0.14
    sheet.colour_bar(colours, (left, top, BAR, height), strongest=look.opacity, ground=ground_of(plane))
    for line, text in enumerate(_bar_label(colours, height)):
        place = left + bar_room - 0.14 - 0.3 + line * SMALL * LINE / POINTS
        sheet.write(place, top + height / 2, text, size=SMALL, colour=INK, align="center", rotation=90)
    sheet.paragraph(MARGIN, sheet.height - bottom + 0.14, notes)
    if caption is not None:
        caption.write(sheet, sheet.height - FOOT - caption.height)
    return sheet.figure


def scaled(explanation: Explanation, plane: Plane, mode: str | None) -> Scale:
    """Return the plane's numbers with the limits of their colours."""
    return scale(explanation, plane.data, mode_for(explanation, mode), plane.error)


def outlines_of(plane: Plane, asked: bool | None) -> np.ndarray | None:  # noqa: FBT001 - a setting that is handed on
    """Return the lines around features, or None for none."""
    if asked is False or (asked is None and (plane.labels is None or not worth_outlining(plane.labels))):
        return None
    if plane.labels is None:
        raise SettingError(
            f"there are no outlines for '{printable(plane.name)}'",
            tip="only a method that works on named features (features='grid' or 'superpixels') has outlines",
        )
    return outline_segments(plane.labels)


def draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """Show the picture as it is."""
    axes.imshow(picture, interpolation=_interpolation(picture), aspect="auto", resample=True)


def draw_map(axes: Axes, plane: Plane, colours: Scale, strongest: float, segments: np.ndarray | None) -> None:
    """Draw the greyed picture, the colours over it and the outlines."""
    rows, columns = plane.data.shape
    if plane.picture is not None:
        grey = greyed(plane.picture)
        axes.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation=_interpolation(grey), aspect="auto", resample=True)
    axes.imshow(
        colours.data,
        norm=colours.norm,
        cmap=colours.colours,
        alpha=colours.opacity(strongest) if plane.picture is not None else None,
        interpolation="nearest",
        aspect="auto",
    )
    if segments is not None:
        whole = Path(segments.reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(segments)))
        for colour, breadth in (("#ffffff", 1.4), (INK, 0.5)):
            axes.add_patch(PathPatch(whole, facecolor="none", edgecolor=colour, linewidth=breadth, alpha=0.6))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def greyed(picture: np.ndarray) -> np.ndarray:
    """Return the picture's luminance (H, W) in pale greys, so that colours on it can be told apart."""
    light = picture[..., :3].astype(np.float64) @ np.array(LUMINANCE) / 255
    pale: np.ndarray = DARKEST + (1 - DARKEST) * light
    return pale


def ground_of(plane: Plane) -> float:
    """Return the grey that lies behind the colour bar: the mean of the greyed picture."""
    return 1.0 if plane.picture is None else float(greyed(plane.picture).mean())


def fitting(shape: tuple[int, ...], across: float, down: float) -> tuple[float, float]:
    """Return width and height of a panel with a map's proportions, in a space of ``across`` by ``down`` inches."""
    rows, columns = shape
    factor = min(across / columns, down / rows)
    return max(columns * factor, across / SLIMMEST), max(rows * factor, down / SLIMMEST)


def _bar_room(colours: Scale) -> float:
    """Return the width of the colour bar with its labels."""
    return 0.14 + BAR + 0.1 + max(width_of(label, SMALL) for label in colours.ticks[1]) + 0.42


def _bar_label(colours: Scale, height: float) -> list[str]:
    """Return the label beside the colour bar, on one line or two."""
    lines = wrapped(colours.label, height, SMALL)
    parts = colours.label.rsplit(", ", 1)
    if len(lines) == 2 and len(parts) == 2 and all(width_of(part, SMALL) <= height for part in parts):
        return [parts[0] + ",", parts[1]]
    return lines if len(lines) <= 2 else [lines[0], fitted(" ".join(lines[1:]), height, SMALL)]


def _notes(explanation: Explanation, plane: Plane, colours: Scale, segments: np.ndarray | None) -> list[str]:
    notes = [*colours.notes, plane.note]
    if len(explanation.values) > 1:
        notes.append(f"Input '{short(plane.name)}' of {len(explanation.values)}.")
    if segments is not None and plane.labels is not None:
        count = np.unique(plane.labels[plane.labels >= 0]).size
        notes.append(f"Lines outline {count} features.")
    return [note for note in notes if note]


def _map_title(mode: str, plane: Plane) -> str:
    over = " over the picture" if plane.picture is not None else ""
    return {"error": "standard error", "magnitude": "magnitudes"}.get(mode, f"{mode} values") + over


def _interpolation(picture: np.ndarray) -> str:
    return "nearest" if max(picture.shape[:2]) < ENLARGED else "bilinear"
