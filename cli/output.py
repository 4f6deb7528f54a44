"""What commands print: aligned tables and JSON, with names from outside escaped."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..engine.errors import printable

SCHEMA_VERSION = 1
GAP = "  "


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document with its ``schema_version``; numbers that are not finite become null."""
    whole = finite({"schema_version": SCHEMA_VERSION, **document})
    click.echo(json.dumps(whole, indent=2, allow_nan=False))


def finite(value: Any) -> Any:
    """Return a JSON document with null in the place of numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, indent: int = 0, right: str = "") -> str:
    """Return rows under a heading, in aligned columns; names come out escaped.

    ``right`` holds an ``r`` for each column that is aligned to the right, any other character for the rest. On a
    terminal the last column is wrapped to its width.
    """
    lines = [[printable(cell) for cell in row] for row in ([head] if any(head) else []) + list(rows)]
    columns = max(map(len, lines), default=0)
    widths = [max(_cells(line[k]) for line in lines if k < len(line)) for k in range(columns)]
    start = indent + sum(widths[:-1]) + len(GAP) * (columns - 1)
    written = []
    for line in lines:
        cells = [_pad(cell, widths[k], right=right[k : k + 1] == "r") for k, cell in enumerate(line[:-1])]
        last = _pad(line[-1], widths[-1], right=True) if right[len(line) - 1 : len(line)] == "r" else line[-1]
        parts = _wrapped(last, start)
        written.append(" " * indent + GAP.join([*cells, parts[0]]).rstrip())
        written += [" " * start + part for part in parts[1:]]
    return "\n".join(written)


def heading(text: str) -> str:
    """Return ``text`` in bold, where stdout shows it."""
    return click.style(printable(text), bold=True)


def amount(value: float) -> str:
    """Return a number with its sign and four significant digits."""
    return f"{value:+.4g}"


def size(count: int) -> str:
    """Return a number of bytes as a person reads it.

    >>> size(999), size(17_364_911)
    ('999 bytes', '17.4 MB')
    """
    if count < 1000:
        return f"{count} bytes"
    power = min(3, (len(str(count)) - 1) // 3)
    return f"{count / 1000**power:.1f} {'kMG'[power - 1]}B"


def _cells(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    blank = " " * (width - _cells(text))
    return blank + text if right else text + blank


def _wrapped(text: str, start: int) -> list[str]:
    if sys.stdout is None or not sys.stdout.isatty():
        return [text]
    room = shutil.get_terminal_size().columns - start
    return textwrap.wrap(text, room) or [""] if room >= 20 else [text]
