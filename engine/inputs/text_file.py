"""From text files to Samples: a text in each file, or in each line of it."""

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import islice
from typing import IO, TYPE_CHECKING

from ..errors import InputError, printable
from ..files import read_text
from .row_file import at_row, check_count, chosen_rows, lines_of, opened_text, place_of_row
from .rows import names_rows, split_source
from .text import LARGEST_TEXT, Text, check_alone, filled_up, load_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ..layout import InputInfo
    from ..spec import ModelSpec
    from .rows import Refused
    from .sample import Sample
    from .text import Place


def load_text_file(
    source: str,
    inputs: Sequence[InputInfo],
    spec: ModelSpec,
    place: Place | None = None,
    refused: Refused | None = None,
) -> list[Sample]:
    """Return the Sample of the text in a UTF-8 file of at most 1 MiB, or one for each line that ``source`` names.

    Lines are named as in ``file.txt:3``, ``file.txt:3-7`` and ``file.txt:3-``, and counted from 0. A text fills all
    inputs. InputError says which line cannot be used; with ``refused`` it is told of those, and the others are
    returned.
    """
    if names_rows(source):
        check_alone(inputs, spec, place, source)
        return chosen_rows(source, _open, partial(_opened, inputs, spec, place), refused)
    path, _ = split_source(source)
    text = read_text(path, LARGEST_TEXT, InputError)
    return [filled_up(load_text(Text(text, source=str(path)), inputs, spec, place), inputs, spec)]


class LineFile:
    """An open text file: its lines one by one, without the characters that end them."""

    def __init__(self, file: IO[str], where: str) -> None:
        self.where = where
        self._lines = lines_of(file, where)
        self.line = 0  # of the file, from 1: the one that was looked at last

    def rows(self, last: int | None, _: Callable[[int, InputError], None] | None = None) -> Iterator[tuple[int, str]]:
        """Yield the number, from 0, and the text of lines 0 to ``last``; blank ones count."""
        for number, line in enumerate(islice(self._lines, None if last is None else last + 1)):
            check_count(number, self.where)
            self.line = number + 1
            yield number, line.removesuffix("\n")

    def place(self, number: int) -> str:
        """Return where the line that was looked at last is, for messages."""
        return place_of_row(self.where, self.line, number)


def _open(path: Path) -> IO[str]:
    return opened_text(path, "text", newline=None)


def _opened(
    inputs: Sequence[InputInfo], spec: ModelSpec, place: Place | None, file: IO[str], path: Path
) -> tuple[LineFile, Callable[[int, str], Sample]]:
    lines = LineFile(file, printable(path))
    return lines, partial(_sample, lines, path, inputs, spec, place)


def _sample(
    lines: LineFile,
    path: Path,
    inputs: Sequence[InputInfo],
    spec: ModelSpec,
    place: Place | None,
    row: int,
    text: str,
) -> Sample:
    source, where = f"{path}:{row}", lines.place(row)
    if not text.strip():
        raise InputError("the text is empty", where=where, tip="remove the line")
    with at_row(source, where):
        read = load_text(Text(text, source=source), inputs, spec, place)
    return dataclasses.replace(filled_up(read, inputs, spec), line=lines.line)
