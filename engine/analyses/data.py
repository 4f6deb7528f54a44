"""From files and arrays, with labels and other columns beside the model's, to a Study."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, nearest, printable
from ..explain import place_of, samples_of
from ..files import excerpt, existing_file
from ..inputs.acceptance import check_missing
from ..inputs.array import check_feeds, may_miss
from ..inputs.array_file import read_arrays
from ..inputs.frames import in_order
from ..inputs.load import expand_sources
from ..inputs.padding import padded
from ..inputs.rows import Rows, by_line, missing_rows, split_source
from ..inputs.sample import Sample
from ..inputs.strings import in_column, texts_of_strings
from ..inputs.table import LABEL_COLUMNS, load_rows, load_values
from ..inputs.table_file import TableFile, open_table
from ..inputs.text import Text
from ..inputs.text_table import holds_codes, takes_rows_of_texts
from ..rows import first_row, has_rows, leading
from .study import Study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import Model

TABLES = (".csv", ".tsv")
ARRAYS = (".npy", ".npz")
LABEL_FILES = (*TABLES, ".npy")
IN_NAME = "{label}"


def read_study(
    model: Model,
    data: Any,
    labels: Any = None,
    beside: Sequence[str] = (),
    tokenizer: str | os.PathLike[str] | None = None,
) -> Study:
    """Return the rows of ``data`` with their labels and the columns named in ``beside``.

    ``data`` is a file, a folder, an array, a dict of arrays, a Sample or a list of these; a text file is one text a
    line, as an analysis needs many rows. ``labels`` is an array, the
    name of a column (of an array in a dict or .npz file), a .csv or .npy file with one label per row, or a pattern of
    the files' names with ``{label}`` in it; without it a CSV file's own column of labels is taken, if it has one.
    ``tokenizer`` is a tokenizer.json for texts, as in ``samples_of``. InputError says what does not fit.
    """
    is_pattern = isinstance(labels, str) and IN_NAME in labels
    column = labels if isinstance(labels, str) and not is_pattern and not _is_file(labels) else ""
    names = tuple(dict.fromkeys([*([column] if column else []), *beside]))
    if tokenizer is not None:
        place_of(model, tokenizer)  # refused where the model takes no text, whatever the data are
    study = _read(model, data, names, tokenizer)
    if study.count == 0:
        raise InputError("the data hold no rows", where=study.source)
    columns = {name: entry.columns for name, entry in study.inputs.items()}
    check_missing(study.rows, model, source=study.source, columns=columns)
    found = study.beside[column] if column else _named_labels(study, labels) if is_pattern else _label_array(labels)
    if found is None:
        found = study.labels
    if found is not None and found.shape != (study.count,):
        shape = f"{len(found)} labels" if found.ndim == 1 else f"labels of shape {found.shape}"
        raise InputError(f"there are {shape} for {study.count} rows", where=study.source)
    rest = {name: array for name, array in study.beside.items() if name in beside}
    return dataclasses.replace(study, labels=found, beside=rest)


def _read(model: Model, data: Any, names: Sequence[str], tokenizer: str | os.PathLike[str] | None) -> Study:
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        path, rows = split_source(text)
        suffix = path.suffix.lower()
        if suffix in ARRAYS and not path.is_dir():
            found: Any = read_arrays(path)
            lone = next(iter(found.values())) if len(found) == 1 and suffix == ".npy" else None
            study = _of_arrays(model, found if lone is None else lone, names, printable(path))
            return _some_rows(study, rows, printable(text))
        is_table = suffix in TABLES and not path.is_dir()
        if is_table and takes_rows_of_texts(model.inputs, model.spec) and not holds_codes(path, model.inputs):
            return _of_texts(model, text, names, tokenizer)
        if is_table and _takes_rows(model):
            return _of_table(model, text, names)
        samples = [s for source in expand_sources([by_line(text)]) for s in samples_of(model, source, tokenizer)]
        return _of_samples(model, samples, names, printable(text))
    is_samples = isinstance(data, Sample) or (
        isinstance(data, list | tuple) and data and isinstance(data[0], Sample | Text | str | os.PathLike)
    )
    if is_samples:
        return _of_samples(model, list(samples_of(model, data, tokenizer)), names, "")
    return _of_arrays(model, data, names, "")


def _takes_rows(model: Model) -> bool:
    """Say whether rows of a CSV file are rows of the model, rather than the steps of a series."""
    return all(entry.modality in {"table", "array", "text"} for entry in model.spec.inputs.values())


def _of_table(model: Model, source: str, names: Sequence[str]) -> Study:
    path, rows = split_source(source)
    beside = _columns(path, rows, names)
    others = _others(_header(path), model, names)
    values = load_values(source, model.inputs, model.spec, (*names, *others))
    first = load_rows(f"{path}:{rows.first}", model.inputs, model.spec, (*names, *others))[0]
    feeds = leading(first.feeds, model.inputs)
    found = {name: values[name].reshape(len(values[name]), *feeds[name].shape[1:]) for name in feeds}
    own = [n for n in _header(path) if n.lower() in LABEL_COLUMNS and n not in first.columns and n not in names]
    labels = _columns(path, rows, own[:1])[own[0]] if own else None
    first = Sample(feeds, first.modality, first.source, columns=first.columns, raw=first.raw)
    return Study(model, found, first, labels, beside, source=printable(source), notes=_left_out(others))


def _left_out(names: Sequence[str]) -> tuple[str, ...]:
    left = ", ".join(excerpt(n, 30) for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (f"columns that are not the model's, left out: {left}",) if names else ()


def _of_texts(model: Model, source: str, names: Sequence[str], tokenizer: str | os.PathLike[str] | None) -> Study:
    """Return the texts of a CSV file, filled up to one length."""
    path, rows = split_source(source)
    beside = _columns(path, rows, names)
    samples = list(samples_of(model, source, tokenizer))
    header, used = _header(path), {*samples[0].preprocessing["columns"], *samples[0].columns}
    own = [n for n in header if n.lower() in LABEL_COLUMNS and n not in used and n not in names]
    labels = _columns(path, rows, own[:1])[own[0]] if own else None
    others = [n for n in header if n not in used and n not in names and n not in own]
    study = _of_samples(model, samples, (), printable(source))
    return dataclasses.replace(study, labels=labels, beside=beside, notes=_left_out(others))


def _others(header: Sequence[str], model: Model, names: Sequence[str]) -> list[str]:
    """Return the columns of a file that no one asks for, where it is known which are the model's."""
    wanted: set[str] = set(names)
    for info in model.inputs:
        columns = model.spec.inputs[info.name].columns or ((info.name,) if len(model.inputs) > 1 else ())
        if not columns:
            return []
        wanted.update(columns)
    return [name for name in header if name not in wanted and name.lower() not in LABEL_COLUMNS]


def _header(path: Path) -> list[str]:
    with open_table(path) as file:
        return TableFile(file, printable(path), set(), 1).header


def _columns(path: Path, rows: Rows, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of a CSV file as they are spelled, or as numbers where all are."""
    if not names:
        return {}
    with open_table(path) as file:
        table = TableFile(file, printable(path), set(names), 1)
        for name in names:
            if name not in table.header:
                raise InputError(
                    f"there is no column '{excerpt(name)}' in this file",
                    where=printable(path),
                    tip=nearest(name[:200], table.header),
                )
        places = [table.header.index(name) for name in names]
        cells = [[row[k].strip() for k in places] for number, row in table.rows(rows.last) if number >= rows.first]
    return {name: _numbers_or_text(np.array([row[k] for row in cells])) for k, name in enumerate(names)}


def _numbers_or_text(cells: np.ndarray) -> np.ndarray:
    empty = np.flatnonzero(cells == "")
    if empty.size:
        raise InputError(f"row {int(empty[0])} has no label or weight: its cell is empty")
    try:
        return cells.astype(np.float64)
    except ValueError:
        return cells


def _of_arrays(model: Model, data: Any, names: Sequence[str], where: str) -> Study:
    given = dict(data) if isinstance(data, Mapping) else data
    beside: dict[str, np.ndarray] = {}
    for name in names:
        if not isinstance(given, dict) or name not in given:
            raise InputError(
                f"there is no array '{excerpt(name)}' in the data",
                where=where,
                tip=nearest(name, given) if isinstance(given, dict) else "give labels as an array",
            )
        beside[name] = np.asarray(given.pop(name))
    lone = isinstance(given, dict) and len(given) == 1 and len(model.inputs) == 1
    ordered = in_order(next(iter(given.values())) if lone else given, model.inputs, model.spec)
    checked = check_feeds(in_column(ordered, model.inputs, model.spec), model.inputs, may_miss(model.spec))
    feeds = leading(checked, model.inputs)
    one = first_row(feeds, model.inputs)
    (first,) = samples_of(model, Sample(one))
    columns = tuple(c for name in feeds for c in model.spec.inputs[name].columns)
    modality = next((e.modality for e in model.spec.inputs.values() if e.modality != "array"), "array")
    texts = texts_of_strings(first.feeds, model.inputs, model.spec)
    first = Sample(first.feeds, modality, where, columns=columns, texts=texts)
    return Study(model, feeds, first, None, beside, source=where)


def _some_rows(study: Study, rows: Rows, where: str) -> Study:
    last = study.count - 1 if rows.last is None else rows.last
    if last >= study.count or rows.first >= study.count:
        raise missing_rows(rows, study.count, where)
    wanted = slice(rows.first, last + 1)
    beside = {name: array[wanted] for name, array in study.beside.items()}
    return Study(study.model, study.part(wanted), study.first, None, beside, source=where)


def _of_samples(model: Model, samples: list[Sample], names: Sequence[str], where: str) -> Study:
    if names:
        raise InputError(
            f"these data have no column '{excerpt(names[0])}'", where=where, tip="give an array or a .npy or .csv file"
        )
    samples = padded(samples)
    shapes = {tuple((n, f.shape) for n, f in sorted(s.feeds.items())) for s in samples}
    if len(shapes) > 1:
        raise InputError("the inputs have different shapes; an analysis takes rows of one shape", where=where)
    rows = {
        name: np.concatenate([s.feeds[name] for s in samples]) if has_rows(name, model.inputs) else feed
        for name, feed in samples[0].feeds.items()
    }
    labels = np.array([s.label for s in samples]) if all(s.label for s in samples) else None
    return Study(model, rows, samples[0], labels, source=where, given=tuple(samples))


def _is_file(labels: str) -> bool:
    return Path(labels).suffix.lower() in LABEL_FILES


def _named_labels(study: Study, pattern: str) -> np.ndarray:
    """Return a label per file from its name: ``*-{label}.jpg``, or with its folder ``{label}/*``."""
    if not study.given or not all(sample.source for sample in study.given):
        raise InputError(
            f"labels of the form '{excerpt(pattern)}' are read from names of files, a row from each",
            where=study.source,
            tip="name a column of the data, or a file of labels",
        )
    written = "".join({"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)) for c in pattern.replace(IN_NAME, "\0", 1))
    wanted = re.compile(written.replace(re.escape("\0"), "([^/]+)"))
    found = []
    for sample in study.given:
        name = "/".join(Path(sample.source).parts[-1 - pattern.count("/") :])
        match = wanted.fullmatch(name)
        if match is None:
            raise InputError(
                f"the name '{excerpt(name)}' does not fit the labels' form '{excerpt(pattern)}'",
                tip="* stands for anything but /, {label} for the label: '*-{label}.jpg', '{label}/*'",
            )
        found.append(match.group(1))
    return np.array(found)


def _label_array(labels: Any) -> np.ndarray | None:
    """Return labels from an array or a file; None if there are none."""
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        path = existing_file(Path(labels), InputError)
        if path.suffix.lower() == ".npy":
            return next(iter(read_arrays(path).values())).reshape(-1)
        header = _header(path)
        named = [name for name in header if name.lower() in LABEL_COLUMNS] or header
        if len(named) > 1:
            raise InputError(
                f"which column holds the labels? This file has {', '.join(excerpt(n, 30) for n in named[:6])}",
                where=printable(path),
                tip=f"leave one, or call it {LABEL_COLUMNS[0]}",
            )
        return _columns(path, Rows(), named)[named[0]]
    array = np.asarray(labels)
    if array.dtype.kind not in "fiubUSO":
        raise InputError(f"labels cannot be {array.dtype}")
    squeezed = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    return squeezed.astype(np.str_) if squeezed.dtype.kind in "SO" else squeezed
