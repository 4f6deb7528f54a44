"""From the rows of a CSV file to what a table model takes, with the names and the spelling that a person recognises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, nearest, printable
from ..files import excerpt
from .array import describe
from .rows import MAX_SAMPLES, missing_rows, split_source
from .sample import Sample
from .table_file import TableFile, open_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..layout import InputInfo
    from ..spec import ModelSpec

LABEL_COLUMNS = ("target", "label", "class", "y")


@dataclass(frozen=True)
class _Column:
    """One value that an input takes: where it stands in a row of the file, and what it may be."""

    name: str
    position: int
    dtype: np.dtype[Any]
    categories: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """How a row of the file becomes feeds: the columns of each input, and the column of the true class."""

    inputs: tuple[tuple[InputInfo, tuple[_Column, ...]], ...]
    label: int | None
    path: Path


def load_rows(source: str, inputs: Sequence[InputInfo], spec: ModelSpec | None = None) -> list[Sample]:
    """Return a Sample per row of ``file.csv``, or of the rows in ``file.csv:3`` and ``file.csv:3-7`` (both included).

    Rows are counted from 0, below the header. Columns are found by name, in any order: those of the spec, the names of
    the inputs where each takes one value, or else all, in the file's order. A further column named target, label,
    class or y (in any case) holds the true class. The names in ``categories`` become their numbers in numeric inputs.
    InputError names the row and column of whatever is missing or no number.
    """
    path, rows = split_source(source)
    where = printable(path)
    expected = {column for info in inputs for column in _named_columns(info, inputs, spec)}
    samples: list[Sample] = []
    count = 0
    with open_table(path) as file:
        table = TableFile(file, where, expected)
        plan = _plan(table.header, inputs, spec, path)
        for number, cells in table.rows(rows.last):
            count = number + 1
            if number < rows.first:
                continue
            if len(samples) == MAX_SAMPLES:
                raise InputError(
                    f"this file has more than the {MAX_SAMPLES:,} rows taken at once",
                    where=where,
                    tip=f"choose some: {printable(path.name)}:0-{MAX_SAMPLES - 1}",
                )
            samples.append(_sample(plan, number, cells))
    if not samples or (rows.last is not None and count <= rows.last):
        raise missing_rows(rows, count, where)
    return samples


def _named_columns(info: InputInfo, inputs: Sequence[InputInfo], spec: ModelSpec | None) -> tuple[str, ...]:
    """Return the names of an input's columns as far as they are known without the file."""
    entry = spec.inputs.get(info.name) if spec else None
    if entry is not None and entry.columns:
        return entry.columns
    return (info.name,) if len(inputs) > 1 else ()


def _plan(header: list[str], inputs: Sequence[InputInfo], spec: ModelSpec | None, path: Path) -> _Plan:
    where = printable(path)
    names = {info.name: _columns(info, inputs, spec, header, where) for info in inputs}
    wanted = [name for columns in names.values() for name in columns]
    position = {name: number for number, name in enumerate(header)}
    _refuse_missing([name for name in wanted if name not in position], header, where)
    used = set(wanted)
    label = _label([name for name in header if name not in used], where)
    planned = []
    for info in inputs:
        entry = spec.inputs.get(info.name) if spec else None
        categories = entry.categories if entry else {}
        columns = [_Column(name, position[name], info.dtype, categories.get(name, ())) for name in names[info.name]]
        planned.append((info, tuple(columns)))
    return _Plan(tuple(planned), None if label is None else position[label], path)


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
    labels = [name for name in extra if name.lower() in LABEL_COLUMNS]
    unknown = [name for name in extra if name not in labels]
    if unknown:
        raise InputError(
            f"this file has columns that the model does not take: {_some(unknown)}",
            where=where,
            tip=f"remove them; the true class may stand in a column named {', '.join(LABEL_COLUMNS)}",
        )
    if len(labels) > 1:
        raise InputError(f"which column is the true class? This file has {_some(labels)}", where=where)
    return labels[0] if labels else None


def _sample(plan: _Plan, row: int, cells: list[str]) -> Sample:
    where = f"{printable(plan.path)}, row {row}"
    feeds = {info.name: _feed(info, columns, cells, where) for info, columns in plan.inputs}
    columns = [column for _, columns in plan.inputs for column in columns]
    return Sample(
        feeds,
        modality="table",
        source=f"{plan.path}:{row}",
        columns=tuple(column.name for column in columns),
        raw=tuple(cells[column.position] for column in columns),
        label=cells[plan.label].strip() if plan.label is not None else "",
    )


def _feed(info: InputInfo, columns: tuple[_Column, ...], cells: list[str], where: str) -> NDArray[Any]:
    values = [_value(column, cells[column.position], where) for column in columns]
    shape = tuple(1 if axis == info.batch_axis else len(values) for axis in range(len(info.shape)))
    if len(shape) == 2 and info.batch_axis is None:
        shape = (1, len(values))
    return np.array(values, dtype=info.dtype).reshape(shape)


def _value(column: _Column, text: str, where: str) -> Any:
    """Return the value of one cell in the column's dtype."""
    if not text.strip():
        raise InputError("missing value", where=f"{where}, column '{excerpt(column.name)}'", tip="fill it in first")
    if column.dtype.kind == "O":
        return _category(column, text, where) if column.categories else text
    try:
        return _number(column, text.strip())
    except (ValueError, OverflowError) as problem:
        raise InputError(
            f"'{excerpt(text)}' {_complaint(problem)}",
            where=f"{where}, column '{excerpt(column.name)}'",
            tip=_tip(column, text),
        ) from None


def _category(column: _Column, text: str, where: str) -> str:
    if text not in column.categories:
        raise InputError(
            f"'{excerpt(text)}' is not a category of this column",
            where=f"{where}, column '{excerpt(column.name)}'",
            tip=nearest(text[:200], column.categories),
        )
    return text


class _NotHeldError(ValueError):
    """A number that the input's dtype cannot hold; its text says why."""


def _complaint(problem: Exception) -> str:
    return str(problem) if isinstance(problem, _NotHeldError) else "is not a number"


def _tip(column: _Column, text: str) -> str:
    if column.categories:
        return nearest(text[:200], column.categories)
    return "decimals need a point, not a comma" if text.count(",") == 1 and _is_plain(text.replace(",", ".")) else ""


def _is_plain(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(column: _Column, text: str) -> Any:
    """Return a number of the column's dtype; ValueError if the text is none or does not fit."""
    if text in column.categories:
        code = column.categories.index(text)
        if _is_plain(text) and float(text) != code:
            raise _NotHeldError(f"is the name of category {code} and a number: which is meant is not clear")
        return code
    if "_" in text:
        raise ValueError(text)
    if column.dtype.kind in "iub":
        return _whole(column.dtype, text)
    with np.errstate(over="ignore"):
        value = np.array(float(text)).astype(column.dtype)
    if not np.isfinite(value):
        raise _NotHeldError(
            "is not finite" if not np.isfinite(float(text)) else f"is too large for {column.dtype.name}"
        )
    return value


def _whole(dtype: np.dtype[Any], text: str) -> int:
    if dtype.kind == "b" and text.lower() in {"true", "false"}:
        return int(text.lower() == "true")
    try:
        value = int(text)
    except ValueError:
        if float(text) != int(float(text)):
            raise _NotHeldError("is not a whole number") from None
        value = int(float(text))
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low <= value <= high:
        raise _NotHeldError(f"is outside the range of {dtype.name}")
    return value
