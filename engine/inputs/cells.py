"""From the text of a table's cells to the values that a model's input takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, nearest
from ..files import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How files spell a value that is not known, in any case; only an empty cell is one in a column of text.
MISSING = frozenset({"", "na", "n/a", "nan", "null"})


@dataclass(frozen=True)
class Column:
    """One value that an input takes: where it stands in a row of the file, and what it may be."""

    name: str
    position: int
    dtype: np.dtype[Any]
    categories: tuple[str, ...]

    def value(self, text: str, where: str) -> Any:
        """Return the value of one cell in the column's dtype: a missing number as NaN, an empty text as it is.

        InputError names row and column of what is no number, not in range or none of the categories.
        """
        try:
            return self._text(text) if self.dtype.kind == "O" else self._number(text.strip())
        except (ValueError, OverflowError) as problem:
            raise InputError(
                str(problem) if isinstance(problem, _NotHeldError) else f"'{excerpt(text)}' is not a number",
                where=f"{where}, column '{excerpt(self.name)}'",
                tip=self._tip(text),
            ) from None

    def values(self, texts: Sequence[str], place: Callable[[int], str]) -> np.ndarray:
        """Return the values of many cells; ``place`` says for messages where the k-th is."""
        if self.dtype.kind == "f" and not self.categories:
            try:
                found = [math.nan if text.strip().lower() in MISSING else float(text) for text in texts]
            except ValueError:
                found = []
            with np.errstate(over="ignore"):
                array = np.array(found).astype(self.dtype)
            if found and not np.isinf(array).any() and not any("_" in text for text in texts):
                return array
        cells = [self.value(text, place(k)) for k, text in enumerate(texts)]
        return np.array(cells, dtype=self.dtype)

    def _text(self, text: str) -> str:
        if not self.categories or text in self.categories:
            return text if text.strip() else ""
        if not text.strip():
            raise _NotHeldError("missing value")
        raise _NotHeldError(f"'{excerpt(text)}' is not a category of this column")

    def _number(self, text: str) -> Any:
        if text in self.categories:
            code = self.categories.index(text)
            if is_number(text) and float(text) != code:
                raise _NotHeldError(
                    f"'{excerpt(text)}' is the name of category {code} and a number: which is meant is not clear"
                )
            return code
        if text.lower() in MISSING:
            if self.dtype.kind == "f":
                return math.nan
            raise _NotHeldError(f"missing value, and {self.dtype.name} has none")
        if "_" in text:
            raise ValueError(text)
        if self.dtype.kind in "iub":
            return self._whole(text)
        value = float(text)
        if abs(value) <= _largest(self.dtype):
            return value
        with np.errstate(over="ignore"):
            rounded = np.array(value).astype(self.dtype)
        if not np.isfinite(rounded):
            wrong = f"is too large for {self.dtype.name}" if math.isfinite(value) else "is not finite"
            raise _NotHeldError(f"'{excerpt(text)}' {wrong}")
        return rounded

    def _whole(self, text: str) -> int:
        if self.dtype.kind == "b" and text.lower() in {"true", "false"}:
            return int(text.lower() == "true")
        try:
            value = int(text)
        except ValueError:
            if float(text) != int(float(text)):
                raise _NotHeldError(f"'{excerpt(text)}' is not a whole number") from None
            value = int(float(text))
        low, high = (0, 1) if self.dtype.kind == "b" else (np.iinfo(self.dtype).min, np.iinfo(self.dtype).max)
        if not low <= value <= high:
            raise _NotHeldError(f"'{excerpt(text)}' is outside the range of {self.dtype.name}")
        return value

    def _tip(self, text: str) -> str:
        if not text.strip():
            return "fill it in first"
        if self.categories:
            return nearest(text[:200], self.categories)
        decimal = text.count(",") == 1 and is_number(text.replace(",", "."))
        return "decimals need a point, not a comma" if decimal else ""


class _NotHeldError(ValueError):
    """A cell that the column cannot hold; its text says why."""


@cache
def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max)


def is_number(text: str) -> bool:
    """Say whether Python reads a text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
