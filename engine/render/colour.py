"""Which colour stands for which number: palette, colour maps, limits, and what is said of them.

Red raises the score and blue lowers it, in every picture. The pair comes from ColorBrewer's RdBu, which readers with
red-green or blue-yellow colour blindness can tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize

from ..errors import InputError, SettingError, nearest, printable
from ..palette import FADE, SIGNED
from .wording import ATTENTION, aligned, number, quantity

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from ..explanation import Explanation

INK = "#1f2328"
MUTED = "#59636e"
RULE = "#c8ced6"
PAPER = "#ffffff"
RAISES = "#b2182b"
LOWERS = "#2166ac"
RAISES_PALE = "#dfa3a0"
LOWERS_PALE = "#9dbfdc"

MODES = ("signed", "centred", "magnitude", "positive", "error")
PERCENTILE = 99.5
OPACITY = 0.85  # of the strongest colour over the picture

_COLOURS = {
    "signed": list(SIGNED),
    "magnitude": ["#f6f4f9", "#c0add8", "#8a5db5", "#5e2c94", "#3b0a6b"],
    "positive": ["#f7f7f7", "#fbbfa0", "#ec6f4e", "#c4202f", "#8a0a26"],
    "error": ["#f4f7f2", "#b0d9a4", "#5cae6b", "#217a42", "#064a22"],
}
_COLOURS["centred"] = _COLOURS["signed"]
_PLAIN = {"signed", "positive"}
_LOOKED = "Attention tells what is read, not whether it raises the score."


@dataclass(frozen=True, eq=False)
class Scale:
    """Numbers to be coloured, with the limits of the colours.

    ``data`` is what is drawn, unclipped. Values beyond ``low`` or ``high`` get the colour of that end, and ``extend``
    says at which ends that happens. ``label`` goes beside the colour bar, ``notes`` below the picture.
    """

    data: np.ndarray
    mode: str
    low: float
    high: float
    label: str
    notes: tuple[str, ...]
    extend: str
    middle: float = 0.0  # what 0 on the scale stands for: the mean that was taken off

    @property
    def norm(self) -> Normalize:
        """The linear map from ``low..high`` to the colour map's 0..1."""
        return Normalize(self.low, self.high)

    @property
    def colours(self) -> Colormap:
        """The colour map of the mode."""
        return LinearSegmentedColormap.from_list(f"onnxplain {self.mode}", _COLOURS[self.mode])

    def opacity(self, strongest: float, data: np.ndarray | None = None) -> np.ndarray:
        """Return ``strongest * (|data| / high) ** FADE``, at most ``strongest``; for part of the data, if given."""
        share = np.clip(np.abs(self.data if data is None else data) / self.high, 0, 1)
        alpha: np.ndarray = strongest * np.power(share, FADE)
        return alpha

    def blended(self, strongest: float, ground: float) -> Colormap:
        """Return the colours as they look over a grey ``ground`` (0 black to 1 white), for the colour bar."""
        place = np.linspace(0, 1, 256)
        value = np.abs(self.low + place * (self.high - self.low)) / self.high
        alpha = (strongest * np.power(value, FADE))[:, None]
        return ListedColormap(self.colours(place)[:, :3] * alpha + ground * (1 - alpha))

    @property
    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and labels for a colour bar: the limits, and what lies between."""
        places = [float(v) for v in np.linspace(self.low, self.high, 5)]
        return places, aligned(places, sign=self.low < 0)


def mode_for(explanation: Explanation, mode: str | None) -> str:
    """Return the mode asked for; for None 'centred' for RISE, whose values are all positive, and else 'signed'."""
    if mode is None:
        return "centred" if explanation.method == "rise" else "signed"
    if mode not in MODES:
        raise SettingError(f"there is no mode '{printable(mode)}'", tip=nearest(mode, MODES))
    return mode


def scale(explanation: Explanation, data: np.ndarray, mode: str, error: np.ndarray | None = None) -> Scale:
    """Return the scale for a map; ``error`` is its standard error, which mode 'error' draws instead.

    The limits are the 99.5th percentile of the absolute values (the next value above it that occurs), and symmetric
    where values have a sign. InputError if a value is not finite, SettingError if there is no standard error.
    """
    if mode == "error" and error is None:
        raise SettingError(
            f"'{printable(explanation.method)}' gives no standard error here",
            tip="choose another mode: signed, centred, magnitude or positive",
        )
    whole = np.asarray(error if mode == "error" else data, dtype=np.float64)
    if not np.isfinite(whole).all():
        place = tuple(int(k) for k in np.argwhere(~np.isfinite(whole))[0])
        raise InputError(f"the explanation holds {whole[place]} at {list(place)}; there is nothing to draw")
    middle = float(whole.mean()) if mode == "centred" else 0.0
    drawn = {"centred": whole - middle, "magnitude": np.abs(whole), "positive": np.maximum(whole, 0)}.get(mode, whole)
    high, source = limit(drawn)
    low = -high if mode in {"signed", "centred"} else 0.0
    ends = (bool(drawn.min() < low), bool(drawn.max() > high))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[ends]
    meaning = _LOOKED if explanation.method in ATTENTION and mode in _PLAIN else _meaning(mode, middle)
    notes = (meaning, _limits(low, high, source))
    return Scale(drawn, mode, low, high, _label(explanation, mode, middle), notes, extend, middle)


def limit(data: np.ndarray) -> tuple[float, str]:
    """Return where the colours end, and why there."""
    sizes = np.abs(data)
    largest = float(sizes.max())
    chosen = float(np.percentile(sizes, PERCENTILE, method="higher"))
    if largest == 0:
        return 1.0, "every value is 0"
    if chosen in {0.0, largest}:
        return largest, "the largest absolute value"
    return chosen, f"the {PERCENTILE:g}th percentile of the absolute values (the largest: {number(largest)})"


def colour_of(value: float, *, pale: bool = False) -> str:
    """Return the colour of a bar."""
    if pale:
        return RAISES_PALE if value >= 0 else LOWERS_PALE
    return RAISES if value >= 0 else LOWERS


def _label(explanation: Explanation, mode: str, middle: float) -> str:
    shown = quantity(explanation)
    return {
        "signed": shown,
        "centred": f"{shown}, relative to the mean {number(middle)}",
        "magnitude": f"|{shown}|",
        "positive": f"{shown}, positive part",
        "error": f"standard error: {shown}",
    }[mode]


def _meaning(mode: str, middle: float) -> str:
    return {
        "signed": "Red raises the score, blue lowers it.",
        "centred": f"Red is above the mean of the map, {number(middle)}; blue is below it.",
        "magnitude": "Magnitude only: raising and lowering the score look the same.",
        "positive": "Only what raises the score; negative values are left blank.",
        "error": "Standard error of the estimate, not the estimate itself.",
    }[mode]


def _limits(low: float, high: float, source: str) -> str:
    if source == "every value is 0":
        return "Every value is 0."
    ends = f"±{number(high)}" if low < 0 else number(high)
    return f"Colours end at {ends}, {source}."
