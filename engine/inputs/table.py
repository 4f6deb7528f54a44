"""From the rows of a CSV file to what a table model takes, with the names and the spelling that a person recognises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, nearest, printable
from ..files import excerpt
from ..layout import describe
from .cells import Column
from .row_file import chosen_rows
from .rows import Refused, missing_rows, split_source
from .sample import Sample
from .table_file import TableFile, open_table
from .table_header import SEPARATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..layout import InputInfo
    from ..spec import ModelSpec

LABEL_COLUMNS = ("target", "label", "class", "y")
AT_A_TIME = 10_000  # rows whose text is in memory, where only their values are wanted


@dataclass(frozen=True)
class _Plan:
    """How a row of the file becomes feeds: the columns of each input, and the column of the true class."""

    inputs: tuple[tuple[InputInfo, tuple[Column, ...]], ...]
    label: int | None
    path: Path
    separator: str


def load_rows(
    source: str,
    inputs: Sequence[InputInfo],
    spec: ModelSpec | None = None,
    beside: Collection[str] = (),
    refused: Refused | None = None,
    *,
    strict: bool = False,
) -> list[Sample]:
    """Return a Sample per row of ``file.csv``, or of the rows in ``file.csv:3`` and ``file.csv:3-7`` (both included).

    Rows are counted from 0, below the header. Columns are found by name, in any order: those of the spec, the names of
    the inputs where each takes one value, or else all, in the file's order. A further column named target, label,
    class or y (in any case) holds the true class. The names in ``categories`` become their numbers in numeric inputs.
    Columns named in ``beside`` are not the model's and are left out.
    A missing number (an empty cell, NA, NaN) becomes NaN in an input of floating-point numbers: whether the model takes
    that is found later, by running it. InputError names the row, line and column of whatever else is missing or no
    number; with ``refused`` it is told of such rows, and the others are returned. ``strict`` as in ``TableFile``.
    """

    def opened(file: IO[str], path: Path) -> tuple[TableFile, Callable[[int, list[str]], Sample]]:
        table = TableFile(file, printable(path), columns_known(inputs, spec), _least(inputs, spec), strict=strict)
        return table, partial(_sample, _plan(table, inputs, spec, path, beside), table)

    return chosen_rows(source, open_table, opened, refused)


def load_values(
    source: str, inputs: Sequence[InputInfo], spec: ModelSpec | None = None, beside: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return the values of all rows that ``source`` names, however many, by input name: (rows, columns of the input).

    Columns, categories, missing values and ``beside`` as in ``load_rows``.
    """
    path, rows = split_source(source)
    where = printable(path)
    parts: list[dict[str, NDArray[Any]]] = []
    count = 0
    with open_table(path) as file:
        table = TableFile(file, where, columns_known(inputs, spec), _least(inputs, spec))
        plan = _plan(table, inputs, spec, path, beside)
        every = ((number, table.line, cells) for number, cells in table.rows(rows.last))
        while block := list(islice(every, AT_A_TIME)):
            count += len(block)
            wanted = block[max(rows.first - block[0][0], 0) :]
            if wanted:
                parts.append(_values(plan, wanted, where))
    if count <= (rows.first if rows.last is None else rows.last):
        raise missing_rows(rows, count, where)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _values(plan: _Plan, block: list[tuple[int, int, list[str]]], where: str) -> dict[str, NDArray[Any]]:
    """Return the values of rows that are given by number, line and cells."""
    numbers, lines, rows = zip(*block, strict=True)
    texts = list(zip(*rows, strict=True))

    def place(k: int) -> str:
        return f"{where}, line {lines[k]}: row {numbers[k]}"

    return {
        info.name: np.stack([column.values(texts[column.position], place) for column in columns], axis=1)
        for info, columns in plan.inputs
    }


def _least(inputs: Sequence[InputInfo], spec: ModelSpec | None) -> int:
    """Return how many columns a file must have, as far as inputs and spec say that."""
    sizes = [size for i in inputs for axis, size in enumerate(i.shape) if axis != i.batch_axis]
    return max([size for size in sizes if isinstance(size, int)] + [len(columns_known(inputs, spec)), 1])


def columns_known(inputs: Sequence[InputInfo], spec: ModelSpec | None) -> set[str]:
    """Return the names of the inputs' columns as far as they are known without the file."""
    return {column for info in inputs for column in _named_columns(info, inputs, spec)}


def columns_beside(path: Path, inputs: Sequence[InputInfo], spec: ModelSpec | None) -> tuple[str, ...]:
    """Return the columns of a file that are none of the inputs', nor the true class, where it is known which are."""
    known = columns_known(inputs, spec)
    if not known:
        return ()
    with open_table(path) as file:
        header = TableFile(file, printable(path), known).header
    return tuple(name for name in header if name not in known and name.lower() not in LABEL_COLUMNS)


def _named_columns(info: InputInfo, inputs: Sequence[InputInfo], spec: ModelSpec | None) -> tuple[str, ...]:
    """Return the names of an input's columns as far as they are known without the file."""
    entry = spec.inputs.get(info.name) if spec else None
    if entry is not None and entry.columns:
        return entry.columns
    return (info.name,) if len(inputs) > 1 else ()


def _plan(
    table: TableFile, inputs: Sequence[InputInfo], spec: ModelSpec | None, path: Path, beside: Collection[str]
) -> _Plan:
    header, where = [name for name in table.header if name not in beside], printable(path)
    names = {info.name: _columns(info, inputs, spec, header, where) for info in inputs}
    wanted = [name for columns in names.values() for name in columns]
    position = {name: number for number, name in enumerate(table.header)}
    _refuse_missing([name for name in wanted if name not in position], header, where)
    used = set(wanted)
    label = _label([name for name in header if name not in used], where)
    planned = []
    for info in inputs:
        entry = spec.inputs.get(info.name) if spec else None
        categories = entry.categories if entry else {}
        columns = [Column(name, position[name], info.dtype, categories.get(name, ())) for name in names[info.name]]
        planned.append((info, tuple(columns)))
    return _Plan(tuple(planned), None if label is None else position[label], path, table.separator)


def _columns(
    info: InputInfo, inputs: Sequence[InputInfo], spec: ModelSpec | None, header: list[str], where: str
) -> tuple[str, ...]:
    """Return the names of the columns that fill an input."""
    width = _width(info)
    named = _named_columns(info, inputs, spec)
    if not named:
        return _all_columns(header, width, where)
    if width is not None and width != len(named):
        if len(named) == 1 and len(inputs) > 1:
            raise InputError(f"input {describe(info)} takes {width} columns", tip="list its columns in the spec")
        raise SettingError(
            f"the spec lists {len(named)} columns for input {describe(info)}, which takes {width}",
            where=printable(spec.source) if spec else "",
        )
    return named


def _width(info: InputInfo) -> int | None:
    """Return how many values of a row an input takes, None if the model leaves it open."""
    inner = [size for axis, size in enumerate(info.shape) if axis != info.batch_axis]
    if len(inner) == 2 and info.batch_axis is None and inner[0] == 1:
        inner = inner[1:]
    if len(inner) > 1:
        raise InputError(
            f"the model takes {describe(info)}, which a row of a table cannot fill", tip="give a .npy or .npz file"
        )
    size = inner[0] if inner else 1
    return size if isinstance(size, int) else None


def _all_columns(header: list[str], width: int | None, where: str) -> tuple[str, ...]:
    """Return the columns of a file that must fill an input whose columns have no names."""
    if width == len(header):
        return tuple(header)
    features = tuple(name for name in header if name.lower() not in LABEL_COLUMNS)
    if features and width in (None, len(features)):
        return features
    raise InputError(
        f"the model takes {width} columns, this file has {len(header)}: {_some(header)}",
        where=where,
        tip="list the model's columns in the spec, or leave only those in the file",
    )


def _some(names: Iterable[str]) -> str:
    shown = [excerpt(name, 30) for name in names]
    return ", ".join(shown[:6]) + (f", and {len(shown) - 6} more" if len(shown) > 6 else "")


def _refuse_missing(missing: list[str], header: list[str], where: str) -> None:
    if missing:
        tip = nearest(missing[0][:200], header[:1000])
        raise InputError(f"this file lacks the columns {_some(missing)}", where=where, tip=tip)


def _label(extra: list[str], where: str) -> str | None:
    unknown = [name for name in extra if name.lower() not in LABEL_COLUMNS]
    if unknown:
        raise InputError(
            f"this file has columns that the model does not take: {_some(unknown)}",
            where=where,
            tip=f"remove them; the true class may stand in a column named {', '.join(LABEL_COLUMNS)}",
        )
    return true_class(extra, where)


def true_class(names: Iterable[str], where: str) -> str | None:
    """Return the one of these columns that holds the true class, None if none is called so; InputError if several."""
    labels = [name for name in names if name.lower() in LABEL_COLUMNS]
    if len(labels) > 1:
        raise InputError(f"which column is the true class? This file has {_some(labels)}", where=where)
    return labels[0] if labels else None


def _sample(plan: _Plan, table: TableFile, row: int, cells: list[str]) -> Sample:
    where = table.place(row)
    columns = [column for _, columns in plan.inputs for column in columns]
    feeds = {
        info.name: _feed(info, [column.value(cells[column.position], where) for column in columns])
        for info, columns in plan.inputs
    }
    return Sample(
        feeds,
        modality="table",
        source=f"{plan.path}:{row}",
        line=table.line,
        columns=tuple(column.name for column in columns),
        raw=tuple(cells[column.position] for column in columns),
        label=cells[plan.label].strip() if plan.label is not None else "",
        preprocessing={} if plan.separator == "," else {"separator": SEPARATORS[plan.separator]},
    )


def _feed(info: InputInfo, values: list[Any]) -> NDArray[Any]:
    shape = tuple(1 if axis == info.batch_axis else len(values) for axis in range(len(info.shape)))
    if len(shape) == 2 and info.batch_axis is None:
        shape = (1, len(values))
    return np.array(values, dtype=info.dtype).reshape(shape)
