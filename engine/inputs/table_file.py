"""Reading CSV files that come from outside, a row at a time: separators, encodings and sizes are checked on the way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import InputError
from ..files import excerpt
from .row_file import check_count, lines_of, opened_text, place_of_row
from .table_header import SEPARATORS, Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNCLOSED = "a quotation mark may be missing"
UNDOUBLED = f"{UNCLOSED}, or one within a text in quotation marks is not written twice"
TOO_LARGE = "field larger"  # csv's words for a cell that it does not read; of the quotation marks nothing is wrong


class TableFile:
    """An open CSV file: its header, and its rows one by one.

    ``expected`` and ``least`` are names and number of the columns that are needed, as far as they are known. In a
    ``strict`` file a quotation mark within a cell is doubled: one that is not would hide the rows behind it in a text.
    """

    def __init__(self, file: IO[str], where: str, expected: set[str], least: int = 1, *, strict: bool = False) -> None:
        self.where = where
        self._strict = strict
        self._lines = lines_of(file, where)
        usual = "\t" if Path(file.name).suffix.lower() == ".tsv" else ","
        found = Header.read(self._lines, where, expected, least, usual)
        self.header, self.separator = found.names, found.separator
        self.line = found.lines  # of the file, from 1: where the row that was looked at last begins

    def rows(
        self, last: int | None, bad: Callable[[int, InputError], None] | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of rows 0 to ``last``; blank lines are no rows.

        A row that cannot be read, or has more or fewer cells than the header, is handed to ``bad`` with the reason,
        and the next one follows; without it InputError is raised.
        """
        reader, before = csv.reader(self._lines, delimiter=self.separator, strict=self._strict), self.line
        number = 0
        while last is None or number <= last:
            check_count(number, self.where)
            self.line = before + reader.line_num + 1
            try:
                cells = next(reader, None)
                error = self._misfit(number, cells, before + reader.line_num) if cells else None
            except csv.Error as problem:
                cells, error = [""], self._unreadable(number, problem)
                if self._strict and TOO_LARGE not in str(problem):
                    raise error from None  # where the rows behind it begin cannot be told
            if cells is None:
                return
            if error is not None and bad is None:
                raise error
            if error is not None and bad is not None:
                bad(number, error)
            elif cells:
                yield number, cells
            number += bool(cells)

    def place(self, number: int) -> str:
        """Return where the row that was looked at last is, for messages."""
        return place_of_row(self.where, self.line, number)

    def _unreadable(self, number: int, problem: csv.Error) -> InputError:
        is_large = TOO_LARGE in str(problem)
        tip = f"a cell has at most {csv.field_size_limit():,} characters, and {UNCLOSED}" if is_large else UNDOUBLED
        return InputError(f"this row cannot be read: {excerpt(problem, 100)}", where=self.place(number), tip=tip)

    def _misfit(self, number: int, cells: list[str], end: int) -> InputError | None:
        """Return the error for a row up to line ``end`` that is empty, or has not as many cells as the header."""
        where = f"{self.where}, line {self.line}" + (f" to {end}" if end > self.line else "")
        if len(cells) == len(self.header):
            is_empty = len(cells) > 1 and not any(cell.strip() for cell in cells)
            return InputError(f"row {number} is empty", where=where, tip="remove the line") if is_empty else None
        tip = f"the separator is taken to be a {SEPARATORS[self.separator]}"
        if end > self.line:
            tip = UNCLOSED
        elif len(cells) == len(self.header) + 1 and not cells[-1].strip():
            tip = "the line ends with a separator, which the header does not: remove it"
        elif len(cells) > len(self.header) and self.separator == ",":
            tip = "the separator is a comma: decimals need a point, and text that holds commas quotation marks"
        return InputError(
            f"row {number} has {len(cells)} cells, the header has {len(self.header)}", where=where, tip=tip
        )


def open_table(path: Path) -> IO[str]:
    """Open a CSV file as UTF-8 text."""
    return opened_text(path, "table", newline="", begins="<")
