"""Words that settings are written in, with an argument after a colon: ``slic:50``, ``grid:8x10``, ``blur``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import SettingError, nearest
from ..files import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable

# Words that take an argument, and an example of it.
ARGUMENTS = {
    "grid": "grid:8 or grid:8x10",
    "slic": "slic:50",
    "quickshift": "quickshift:4",
    "felzenszwalb": "felzenszwalb:100",
    "blur": "blur:10",
    "windows": "windows:10",
    "windows-by-channel": "windows-by-channel:10",
    "noise": "noise:0.1",
    "background": "background:100",
    "kmeans": "kmeans:10",
}


@dataclass(frozen=True)
class Word:
    """A known word and the text after its colon, empty if there is none."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        """Return the word as it is written."""
        return f"{self.name}:{excerpt(self.argument)}" if self.argument else self.name


def read_word(text: str, known: Iterable[str], what: str) -> Word:
    """Return the word that ``text`` is; SettingError with the nearest known ones if it is none of them.

    ``what`` is what the word chooses, for messages.
    """
    name, colon, argument = text.strip().partition(":")
    words = tuple(known)
    if name not in words:
        raise SettingError(f"{what} cannot be '{excerpt(text)}'", tip=nearest(name[:200], words))
    if colon and name not in ARGUMENTS:
        raise SettingError(f"{what} '{name}' takes no value, not '{excerpt(argument)}'", tip=f"write just '{name}'")
    if colon and not argument.strip():
        raise SettingError(f"{what} '{name}:' lacks the value after the colon", tip=f"such as {ARGUMENTS[name]}")
    return Word(name, argument.strip())


def _wrong(word: Word, wanted: str) -> SettingError:
    return SettingError(
        f"'{word.name}' takes {wanted}, not '{excerpt(word.argument)}'", tip=f"such as {ARGUMENTS[word.name]}"
    )


def count_of(word: Word, default: int, most: int) -> int:
    """Return the whole number after the colon, from 1 to ``most``; the default, if smaller, where there is none."""
    if not word.argument:
        return min(default, most)
    if not re.fullmatch(r"[0-9]{1,12}", word.argument) or not 1 <= int(word.argument) <= most:
        raise _wrong(word, f"a whole number from 1 to {most}")
    return int(word.argument)


def number_of(word: Word, default: float, most: float) -> float:
    """Return the number after the colon, above 0 and at most ``most``; the default where there is none."""
    if not word.argument:
        return default
    try:
        value = float(word.argument)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise _wrong(word, f"a number above 0 and at most {most:g}")
    return value


def pair_of(word: Word) -> tuple[int, int]:
    """Return the two whole numbers in ``8x10``, at least 1 each; ``8`` stands for ``8x8``."""
    match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", word.argument)
    pair = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if 0 in pair:
        raise _wrong(word, "one or two whole numbers above 0")
    return pair
