"""A sheet: a matplotlib figure laid out in inches from its top left corner, without pyplot and its global state.

Whatever a user's matplotlibrc would change and a reader would see is set here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from .colour import INK, MUTED, PAPER, RULE
from .wording import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from .colour import Scale

TITLE = 12.5
BODY = 9.5
SMALL = 8.5
LINE = 1.4  # line height over font size
MARGIN = 0.32  # inches
FOOT = 0.2  # below the last line
HINTING = 1.06  # letters are set on whole pixels, up to so much wider than they are drawn
POINTS = 72  # per inch

FAMILY = "DejaVu Sans"  # comes with matplotlib
FALLBACKS = (  # for characters that DejaVu Sans lacks, where one of these is installed
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "Hiragino Sans",
    "PingFang SC",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Nirmala UI",
)


class Sheet:
    """A white figure of ``width`` by ``height`` inches; places are inches from the left and from the top."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=100, facecolor=PAPER, edgecolor=PAPER)
        self.figure.set_layout_engine("none")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return empty axes without ticks or grid."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box, facecolor="none")
        axes.set_axisbelow(True)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(color=RULE, linewidth=0.8, visible=True)
        return axes

    def write(
        self,
        left: float,
        top: float,
        text: str,
        *,
        size: float = BODY,
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
        rotation: float = 0,
    ) -> Text:
        """Write one line, its top at ``top`` (its left edge at ``left`` and its middle at ``top`` if rotated)."""
        return self.figure.text(
            left / self.width,
            1 - top / self.height,
            drawable(text),
            ha=align,
            va="center" if rotation else "top",
            rotation=rotation,
            color=colour,
            **_lettering(size, bold=bold),
        )

    def paragraph(
        self, left: float, top: float, lines: Sequence[str], *, size: float = SMALL, colour: str = MUTED
    ) -> None:
        """Write lines below each other."""
        for place, line in enumerate(lines):
            self.write(left, top + place * size * LINE / POINTS, line, size=size, colour=colour)

    def ticks(self, axes: Axes, places: Sequence[float], labels: Sequence[str], *, side: str = "x") -> None:
        """Set the ticks of the x or y axis."""
        axis = axes.xaxis if side == "x" else axes.yaxis
        axis.set_ticks(places, [drawable(label) for label in labels], color=MUTED, **_lettering(SMALL))
        axis.set_tick_params(which="major", length=3, width=0.8, color=RULE, direction="out", pad=3)

    def colour_bar(
        self,
        scale: Scale,
        box: tuple[float, float, float, float],
        *,
        strongest: float,
        ground: float,
        across: bool = False,
    ) -> Axes:
        """Draw the colours as they look on the picture, with arrows where values lie beyond; box in inches."""
        axes = self.axes(*box)
        shown = ScalarMappable(norm=scale.norm, cmap=scale.blended(strongest, ground))
        bar = self.figure.colorbar(
            shown,
            cax=axes,
            extend=scale.extend,
            extendfrac=0.05,
            drawedges=False,
            orientation="horizontal" if across else "vertical",
        )
        bar.outline.set(edgecolor=RULE, linewidth=0.8)
        bar.minorticks_off()
        places, labels = scale.ticks
        if across:
            places, labels = places[::2], labels[::2]
        self.ticks(axes, places, labels, side="x" if across else "y")
        return axes


def _lettering(size: float, *, bold: bool = False) -> dict[str, Any]:
    """Return the properties of a text that holds names from outside: '$' starts no formula, and TeX is not run."""
    return {"fontproperties": font(size, bold=bold), "parse_math": False, "usetex": False}


def font(size: float, *, bold: bool = False) -> FontProperties:
    """Return the font of all pictures, followed by installed fonts for other scripts."""
    return FontProperties(family=[*_families(), "sans-serif"], size=size, weight="bold" if bold else "normal")


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line in inches."""
    width, _, _ = text_to_path.get_text_width_height_descent(drawable(text), font(size, bold=bold), ismath=False)
    return float(width) / POINTS * HINTING


def height_of(lines: int, size: float) -> float:
    """Return the height of some lines in inches."""
    return lines * size * LINE / POINTS


def tick_places(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers between two limits."""
    found = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(v) for v in found if low <= v <= high]


def fitted(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Return the text, cut in its middle where it is wider than ``width`` inches."""
    if width_of(text, size, bold=bold) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        candidate = cut(text, kept)
        if width_of(candidate, size, bold=bold) <= width:
            return candidate
    return "…"


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Break a text at spaces into lines of at most ``width`` inches; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, width, size))
    return lines


def drawable(text: str) -> str:
    """Return the text with characters that no font has written as escapes."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() or _has_glyph(ord(c)) else c.encode("unicode_escape").decode("ascii") for c in text)


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    installed = {entry.name for entry in fontManager.ttflist}
    return (FAMILY, *(name for name in FALLBACKS if name in installed))


@lru_cache(maxsize=4096)
def _has_glyph(code: int) -> bool:
    return any(get_font(findfont(name)).get_char_index(code) for name in _families())
