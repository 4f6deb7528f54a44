"""Which part of a file is meant: rows, ``file.csv:3`` and ``file.txt:3-7``, counted from 0, or seconds of sound."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, OnnxplainError
from ..files import excerpt, is_file

Refused = Callable[[str, OnnxplainError], None]  # is told the source, rows.csv:17, and what is wrong with it
MAX_SAMPLES = 10_000  # instances taken from one file
LINE_SUFFIXES = (".txt",)  # of which a row is a line
ROW_SUFFIXES = (".csv", ".tsv", ".npy", ".npz", *LINE_SUFFIXES)

_SECONDS = re.compile(
    r"(?P<path>.+\.wave?):(?P<first>\d{1,9}(?:\.\d{1,9})?)-(?P<last>\d{1,9}(?:\.\d{1,9})?)", re.DOTALL | re.IGNORECASE
)
_ROWS = re.compile(r"(?P<path>.+):(?P<first>\d{1,12})(?P<to>-(?P<last>\d{1,12})?)?", re.DOTALL)


@dataclass(frozen=True)
class Rows:
    """Rows ``first`` to ``last``, both included and counted from 0; ``last`` is None for all that follow."""

    first: int = 0
    last: int | None = None


def split_source(source: str) -> tuple[Path, Rows]:
    """Return the file and the rows that a source names.

    Only files that have rows take such an ending, so the colon after a Windows drive is none. ``rows.csv:3-`` goes to
    the end. The seconds that ``speech.wav:1.5-2`` names are left out of the path; ``split_seconds`` returns them.

    >>> split_source("C:/data.csv:3-7")[1]
    Rows(first=3, last=7)
    """
    sound, _ = split_seconds(source)
    if sound is not None:
        return sound, Rows()
    match = _rows_named(source)
    if match is None:
        _refuse_other_rows(source)
        return Path(source), Rows()
    first = int(match["first"])
    if match["to"] == "-":
        return Path(match["path"]), Rows(first)
    last = first if match["last"] is None else int(match["last"])
    if last < first:
        raise InputError(f"rows {first}-{last} run backwards", where=excerpt(source, 200))
    if last - first >= MAX_SAMPLES:
        raise InputError(
            f"{last - first + 1:,} rows are more than the {MAX_SAMPLES:,} taken at once", where=excerpt(source, 200)
        )
    return Path(match["path"]), Rows(first, last)


def names_rows(source: str) -> bool:
    """Say whether a source names rows of a file rather than the whole of it.

    >>> names_rows("reviews.txt:0-"), names_rows("reviews.txt")
    (True, False)
    """
    return _rows_named(source) is not None


def by_line(source: str) -> str:
    """Return a text file as the source of all its lines; any other source as it is."""
    return f"{source}:0-" if Path(source).suffix.lower() in LINE_SUFFIXES and is_file(source) else source


def _rows_named(source: str) -> re.Match[str] | None:
    match = _ROWS.fullmatch(source)
    suffix = "" if match is None else Path(match["path"]).suffix.lower()
    return None if match is None or suffix not in ROW_SUFFIXES or is_file(source) else match


def _refuse_other_rows(source: str) -> None:
    """Raise InputError where a file is followed by something that names no rows: ``rows.csv:-1``, ``rows.csv:3,5``."""
    path, colon, rows = source.rpartition(":")
    suffix, name = Path(path).suffix.lower(), excerpt(Path(path).name)
    counted = "lines, counted" if suffix in LINE_SUFFIXES else "counted"
    if colon and suffix in ROW_SUFFIXES and is_file(path) and not is_file(source):
        raise InputError(
            f"'{excerpt(rows, 40)}' names no rows of this file",
            where=excerpt(path, 200),
            tip=f"rows are {counted} from 0: {name}:3, {name}:3-7 or {name}:3-",
        )


def split_seconds(source: str) -> tuple[Path | None, tuple[float, float]]:
    """Return the file and the seconds, begin and end, that ``speech.wav:1.5-2`` names; None where it names none."""
    match = _SECONDS.fullmatch(source)
    if match is None or Path(source).is_file():
        return None, (0.0, 0.0)
    first, last = float(match["first"]), float(match["last"])
    if last <= first:
        raise InputError(f"seconds {first:g}-{last:g} run backwards", where=excerpt(source, 200))
    return Path(match["path"]), (first, last)


def missing_rows(rows: Rows, count: int, where: str) -> InputError:
    """Return the error for a row that a file of ``count`` rows does not have."""
    if count == 0:
        return InputError("this file has no rows", where=where)
    wanted = rows.first if rows.first >= count else rows.last
    return InputError(
        f"there is no row {wanted}: this file has {count:,}", where=where, tip=f"rows are counted from 0 to {count - 1}"
    )
