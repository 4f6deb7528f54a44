"""The colours of signed values where no picture is drawn: red raises the score, blue lowers it, as in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Colour = tuple[int, int, int]  # red, green, blue: 0..255

# From the strongest that lowers to the strongest that raises; the middle is next to white.
SIGNED = ("#123f80", "#2166ac", "#4a98cf", "#a9d3ea", "#f7f7f7", "#fbbfa0", "#ec6f4e", "#c4202f", "#8a0a26")
DARK: Colour = (0x1F, 0x23, 0x28)
WHITE: Colour = (255, 255, 255)
FADE = 0.6  # exponent of opacity over |value|: below 1, weak values stay visible


def shade(share: float) -> Colour:
    """Return the colour of a value on white, given as a share of the largest, -1 to 1.

    >>> shade(0.0), shade(1.0), shade(-2.0)
    ((255, 255, 255), (138, 10, 38), (18, 63, 128))
    """
    share = min(max(share, -1.0), 1.0)
    place = (share + 1) / 2 * (len(SIGNED) - 1)
    below = min(int(place), len(SIGNED) - 2)
    low, high = _rgb(SIGNED[below]), _rgb(SIGNED[below + 1])
    alpha = abs(share) ** FADE
    red, green, blue = (
        round((a + (b - a) * (place - below)) * alpha + 255 * (1 - alpha)) for a, b in zip(low, high, strict=True)
    )
    return red, green, blue


def ink_on(colour: Sequence[float]) -> Colour:
    """Return the dark or the white ink, whichever stands out more on a colour (contrast ratio of WCAG 2.1)."""
    ground = luminance(colour)
    on_dark = (ground + 0.05) / (luminance(DARK) + 0.05)
    return DARK if on_dark >= (1.0 + 0.05) / (ground + 0.05) else WHITE


def luminance(colour: Sequence[float]) -> float:
    """Return the relative luminance of a colour, 0 to 1 (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(code: str) -> Colour:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)
