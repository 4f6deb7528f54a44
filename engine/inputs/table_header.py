"""The header of a CSV file: its separator, its names, and in words what is wrong where they cannot be told."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import excerpt
from .cells import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
OTHER_SEPARATORS = {"|": "'|'", ":": "':'", " ": "spaces"}
_BREAK = re.compile(r"\s*[\r\n]\s*")
_TOLD = re.compile(r'"?sep=(.)"?\s*')  # a line above the header, by which Excel tells the separator


@dataclass(frozen=True)
class Header:
    """Names and separator of the columns; ``lines`` have been read up to the end of the header."""

    names: list[str]
    separator: str
    lines: int

    @classmethod
    def read(cls, lines: Iterator[str], where: str, expected: set[str], least: int, usual: str = ",") -> Header:
        """Read the header from the lines of a file, and no line more.

        The separator is the one that a line above the header names (``sep=;``), or else the one of comma, semicolon and
        tab that finds the most of ``expected``, or else the most columns, or else the one that is ``usual`` in such
        files. ``least`` is the number of columns that are needed. InputError where there is no header, or none that
        names each column by another name.
        """
        text, count = _first(lines, where)
        told = _TOLD.fullmatch(text)
        if told:
            text, more = _first(lines, where)
            count += more
        separator = told[1] if told and told[1] in SEPARATORS else _separator(text, expected, usual)
        reader = csv.reader(chain([text], lines), delimiter=separator)  # a name in quotation marks may hold line breaks
        names = [_BREAK.sub(" ", name.strip()) for name in _next(reader)]
        count += reader.line_num - 1
        if len(names) == 1 and (least > 1 or "|" in names[0]):
            raise _one_column(text, next(lines, ""), where)
        _check(names, where, expected)
        return cls(names, separator, count)


def _first(lines: Iterator[str], where: str) -> tuple[str, int]:
    """Return the next line that is not blank, and how many were read for it."""
    for count, line in enumerate(lines, start=1):
        if line.strip():
            return line, count
    raise InputError("this file is empty", where=where)


def _next(rows: Iterator[list[str]]) -> list[str]:
    """Return the cells of the next row, none where it cannot be read."""
    try:
        return next(rows, [])
    except csv.Error:
        return []


def _separator(text: str, expected: set[str], usual: str = ",") -> str:
    def fitness(separator: str) -> tuple[int, int, bool]:
        cells = [cell.strip() for cell in _next(csv.reader([text], delimiter=separator))]
        return len(expected.intersection(cells)), len(cells), separator == usual

    return max(SEPARATORS, key=fitness)


def _one_column(text: str, below: str, where: str) -> InputError:
    """Return the error for a file of which the first line has one column, and more are needed."""
    header = f"{where}, header '{excerpt(text.strip())}'"
    columns = len(_next(csv.reader([below], delimiter=_separator(below, set()))))
    if columns > 1:
        return InputError(
            f"the first line of this file is no header: it has one column, the next line has {columns}",
            where=header,
            tip="remove what stands above the names of the columns",
        )
    found = next((words for mark, words in OTHER_SEPARATORS.items() if mark in text.strip()), "")
    return InputError(
        f"the columns of this file seem to be separated by {found}" if found else "this file has only one column",
        where=header,
        tip="columns must be separated by commas, semicolons or tabs",
    )


def _check(names: list[str], where: str, expected: set[str]) -> None:
    if not names:
        raise InputError("the header of this file cannot be read", where=where)
    if "" in names:
        raise _nameless(names.index(""), len(names), where)
    numbers = sum(map(is_number, names))
    counted = len(names) > 1 and names == [str(k) for k in range(len(names))]  # as pandas names columns without names
    if 2 * numbers > len(names) and not counted and expected.isdisjoint(names):
        raise InputError(
            "the first line must hold the names of the columns, not values", where=where, tip="add a header line"
        )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(
                f"the header has the column '{excerpt(name)}' twice",
                where=where,
                tip="rename one of them, or remove it",
            )
        seen.add(name)


def _nameless(place: int, count: int, where: str) -> InputError:
    if place == 0:
        tip = "numbers of rows, as pandas writes them? Leave them out: to_csv(FILE, index=False)"
    elif place == count - 1:
        tip = "the line ends with a separator: remove it, here and in the rows"
    else:
        tip = "name it, or remove it"
    return InputError(f"column {place} has no name in the header", where=where, tip=tip)
