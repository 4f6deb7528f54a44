"""Reading CSV files that come from outside, a row at a time: separators, encodings and sizes are checked on the way."""

from __future__ import annotations

import csv
from typing import IO, TYPE_CHECKING

from ..errors import InputError, printable
from ..files import excerpt, existing_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
OTHER_SEPARATORS = {"|": "'|'", ":": "':'", " ": "spaces"}
MAX_LINE = 64 << 20  # characters
MAX_ROWS = 1_000_000  # rows that are looked through


class TableFile:
    """An open CSV file: its header, and its rows one by one.

    The separator is the one of comma, semicolon and tab that finds the most of ``expected`` in the header, or else
    the most columns. ``least`` is the number of columns that are needed, as far as it is known.
    """

    def __init__(self, file: IO[str], where: str, expected: set[str], least: int = 1) -> None:
        self.where = where
        lines = _lines(file, where)
        first = next((line for line in lines if line.strip()), "")
        if not first:
            raise InputError("this file is empty", where=where)
        self.separator = _separator(first, expected)
        header = [name.strip() for name in _cells(first, self.separator)]
        if len(header) == 1 and max(len(expected), least) > 1:
            raise self._wrong_separator(first)
        self.header = _checked_header(header, where)
        self._lines = lines

    def rows(self, last: int | None) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of rows 0 to ``last``; blank lines are no rows."""
        reader = csv.reader(self._lines, delimiter=self.separator)
        number = 0
        while last is None or number <= last:
            if number == MAX_ROWS:
                raise InputError(f"this file has more than {MAX_ROWS:,} rows", where=self.where, tip="split it")
            try:
                cells = next(reader, None)
            except csv.Error as problem:
                raise InputError(
                    f"row {number} cannot be read: {excerpt(problem, 100)}",
                    where=self.where,
                    tip="a quotation mark may be missing",
                ) from None
            if cells is None:
                return
            if cells:
                self._check_width(number, cells)
                yield number, cells
                number += 1

    def _check_width(self, number: int, cells: list[str]) -> None:
        if len(cells) != len(self.header):
            raise InputError(
                f"row {number} has {len(cells)} cells, the header has {len(self.header)}",
                where=self.where,
                tip=f"the separator is taken to be a {SEPARATORS[self.separator]}",
            )

    def _wrong_separator(self, line: str) -> InputError:
        found = next((words for mark, words in OTHER_SEPARATORS.items() if mark in line.strip()), "")
        return InputError(
            f"the columns of this file seem to be separated by {found}" if found else "this file has only one column",
            where=f"{self.where}, header '{excerpt(line.strip())}'",
            tip="columns must be separated by commas, semicolons or tabs",
        )


def open_table(path: Path) -> IO[str]:
    """Open a CSV file as UTF-8 text."""
    existing_file(path, InputError)
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError("this file is UTF-16", where=printable(path), tip="save it as UTF-8")
    return path.open(encoding="utf-8-sig", newline="")


def _lines(file: IO[str], where: str) -> Iterator[str]:
    """Yield lines of bounded length."""
    while True:
        try:
            line = file.readline(MAX_LINE)
        except UnicodeDecodeError as problem:
            raise InputError(
                f"this file is not UTF-8 text ({problem.reason})", where=where, tip="save it as UTF-8"
            ) from None
        if len(line) >= MAX_LINE:
            raise InputError(f"this file has a line of more than {MAX_LINE:,} characters", where=where)
        if not line:
            return
        yield line


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _separator(line: str, expected: set[str]) -> str:
    def fitness(separator: str) -> tuple[int, int]:
        cells = [cell.strip() for cell in _cells(line, separator)]
        return len(expected.intersection(cells)), len(cells)

    return max(SEPARATORS, key=fitness)


def _checked_header(header: list[str], where: str) -> list[str]:
    if not header:
        raise InputError("the header of this file cannot be read", where=where)
    empty = next((number for number, name in enumerate(header) if not name), None)
    if empty is not None:
        raise InputError(f"column {empty} has no name in the header", where=where)
    if all(_is_number(name) for name in header):
        raise InputError(
            "the first line must hold the names of the columns, not values", where=where, tip="add a header line"
        )
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise InputError(f"the header has the column '{excerpt(name)}' twice", where=where)
        seen.add(name)
    return header


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
