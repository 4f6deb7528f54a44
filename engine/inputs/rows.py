"""Which part of a file is meant: rows, ``file.csv:3`` and ``file.csv:3-7``, counted from 0, or seconds of sound."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, OnnxplainError
from ..files import excerpt

Refused = Callable[[str, OnnxplainError], None]  # is told the source, rows.csv:17, and what is wrong with it
MAX_SAMPLES = 10_000  # instances taken from one file
ROW_SUFFIXES = (".csv", ".tsv", ".npy", ".npz")

_SECONDS = re.compile(
    r"(?P<path>.+\.wave?):(?P<first>\d{1,9}(?:\.\d{1,9})?)-(?P<last>\d{1,9}(?:\.\d{1,9})?)", re.DOTALL | re.IGNORECASE
)
_ROWS = re.compile(r"(?P<path>.+):(?P<first>\d{1,12})(?:-(?P<last>\d{1,12}))?", re.DOTALL)


@dataclass(frozen=True)
class Rows:
    """Rows ``first`` to ``last``, both included and counted from 0; ``last`` is None for all that follow."""

    first: int = 0
    last: int | None = None


def split_source(source: str) -> tuple[Path, Rows]:
    """Return the file and the rows that a source names.

    Only files that have rows take such an ending, so the colon after a Windows drive is none. The seconds that
    ``speech.wav:1.5-2`` names are left out of the path; ``split_seconds`` returns them.

    >>> split_source("C:/data.csv:3-7")[1]
    Rows(first=3, last=7)
    """
    sound, _ = split_seconds(source)
    if sound is not None:
        return sound, Rows()
    match = _ROWS.fullmatch(source)
    if match is None or Path(match["path"]).suffix.lower() not in ROW_SUFFIXES or _is_file(source):
        _refuse_other_rows(source)
        return Path(source), Rows()
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    if last < first:
        raise InputError(f"rows {first}-{last} run backwards", where=excerpt(source, 200))
    if last - first >= MAX_SAMPLES:
        raise InputError(
            f"{last - first + 1:,} rows are more than the {MAX_SAMPLES:,} taken at once", where=excerpt(source, 200)
        )
    return Path(match["path"]), Rows(first, last)


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _refuse_other_rows(source: str) -> None:
    """Raise InputError where a file is followed by something that names no rows: ``rows.csv:-1``, ``rows.csv:3,5``."""
    path, colon, rows = source.rpartition(":")
    if colon and Path(path).suffix.lower() in ROW_SUFFIXES and _is_file(path) and not _is_file(source):
        raise InputError(
            f"'{excerpt(rows, 40)}' names no rows of this file",
            where=excerpt(path, 200),
            tip=f"rows are counted from 0: {excerpt(Path(path).name)}:3, or {excerpt(Path(path).name)}:3-7",
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
