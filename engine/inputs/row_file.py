"""Files of rows that come from outside, CSV files and texts line by line: opened, bounded, and the chosen rows read."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from ..errors import InputError, printable
from ..files import existing_file, looks_like
from .rows import MAX_SAMPLES, Refused, missing_rows, split_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Cells = TypeVar("Cells")  # what a file holds in a row: the cells of a table, or a line
Held_co = TypeVar("Held_co", covariant=True)
Row = TypeVar("Row")

BINARY = frozenset(range(9))  # bytes that no text holds
MAX_LINE = 64 << 20  # characters
MAX_ROWS = 1_000_000  # rows that are looked through


class RowFile(Protocol[Held_co]):
    """An open file that gives its rows one by one."""

    def rows(
        self, last: int | None, bad: Callable[[int, InputError], None] | None = None, /
    ) -> Iterator[tuple[int, Held_co]]:
        """Yield the numbers of rows 0 to ``last`` and what they hold; those that cannot be read go to ``bad``."""


def chosen_rows(
    source: str,
    open_file: Callable[[Path], IO[str]],
    opened: Callable[[IO[str], Path], tuple[RowFile[Cells], Callable[[int, Cells], Row]]],
    refused: Refused | None,
) -> list[Row]:
    """Return what is made of each row that ``source`` names, at most ``MAX_SAMPLES``.

    ``opened`` takes the file and its path, and returns what reads its rows, and what makes something of a row's number
    and what it holds. InputError says what is wrong with a row; with ``refused`` it is told of those, and the others
    are returned.
    """
    path, rows = split_source(source)
    where = printable(path)
    found: list[Row] = []
    count = 0

    def leave_out(number: int, error: InputError) -> None:
        nonlocal count
        count = number + 1
        if refused is None:
            raise error from None
        if number >= rows.first:
            refused(f"{path}:{number}", error)

    with open_file(path) as file:
        held, made = opened(file, path)
        for number, cells in held.rows(rows.last, leave_out):
            count = number + 1
            if number < rows.first:
                continue
            if len(found) == MAX_SAMPLES:
                raise InputError(
                    f"this file has more than the {MAX_SAMPLES:,} rows taken at once",
                    where=where,
                    tip=f"choose some: {printable(path.name)}:{rows.first}-{rows.first + MAX_SAMPLES - 1}",
                )
            try:
                found.append(made(number, cells))
            except InputError as error:
                leave_out(number, error)
    if count <= (rows.first if rows.last is None else rows.last):
        raise missing_rows(rows, count, where)
    return found


@contextlib.contextmanager
def at_row(source: str, where: str) -> Iterator[None]:
    """Say of what is wrong within this in which row it is, unless that is known to be elsewhere than in ``source``."""
    try:
        yield
    except InputError as problem:
        is_known = problem.where not in {"", printable(source)}
        raise InputError(problem.message, where=problem.where if is_known else where, tip=problem.tip) from None


def opened_text(path: Path, what: str, *, newline: str | None, begins: str = "") -> IO[str]:
    """Open a file as UTF-8 text; InputError where it is something else, not ``what`` it is to be.

    ``newline`` is as ``open`` takes it; ``begins`` is how text may not begin.
    """
    existing_file(path, InputError)
    with path.open("rb") as file:
        head = file.read(64)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError("this file is UTF-16", where=printable(path), tip="save it as UTF-8")
    is_odd = BINARY.intersection(head) or (begins and head.startswith(begins.encode()))
    found = looks_like(path) if is_odd else ""
    if found:
        raise InputError(f"this file is no {what}: it looks like {found}", where=printable(path))
    return path.open(encoding="utf-8-sig", newline=newline)


def lines_of(file: IO[str], where: str) -> Iterator[str]:
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


def place_of_row(where: str, line: int, number: int) -> str:
    """Return where a row is, for messages; lines are counted from 1, rows from 0."""
    return f"{where}, line {line}: row {number}"


def check_count(number: int, where: str) -> None:
    """Raise InputError before a row, counted from 0, beyond those that are looked through."""
    if number == MAX_ROWS:
        raise InputError(f"this file has more than {MAX_ROWS:,} rows", where=where, tip="split it")
