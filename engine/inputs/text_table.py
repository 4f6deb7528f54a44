"""From the rows of a CSV file of texts to Samples: a text in each row, two that go together, or one beside numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING

from ..errors import InputError, OnnxplainError, printable
from ..files import excerpt
from ..layout import describe
from .array import check_feeds
from .cells import is_number
from .filling import completed, required
from .row_file import at_row, chosen_rows
from .table import LABEL_COLUMNS, columns_known, load_rows, true_class
from .table_file import TableFile, open_table
from .table_header import SEPARATORS
from .text import Text, filled_up, joined, load_text
from .text_columns import USUAL, expected_names, text_columns
from .text_inputs import is_column, text_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..layout import InputInfo
    from ..spec import ModelSpec
    from .rows import Refused
    from .sample import Sample
    from .text import Place
    from .text_inputs import TextInputs

LOOKED_AT = 100  # rows, where the names of the columns do not tell which holds the text
IN_ROWS = {"table", "array"}  # modalities that a row of a file can fill beside its text


@dataclass(frozen=True)
class _Plan:
    """Which columns of the file are the texts of which input, and the column of the true class.

    ``others`` are the samples of what the texts leave, and ``bad`` the rows that do not fit that, by source.
    """

    columns: dict[str, tuple[str, ...]]
    label: str | None
    others: dict[str, Sample]
    bad: dict[str, OnnxplainError]


def takes_rows_of_texts(inputs: Sequence[InputInfo], spec: ModelSpec) -> bool:
    """Say whether a row of a CSV file holds texts for the model, by themselves or beside numbers."""
    return any(not is_column(one, spec) for one in text_inputs(inputs, spec))


def holds_codes(path: Path, inputs: Sequence[InputInfo]) -> bool:
    """Say whether a file for a model of one input of codes has these in its rows, one in each column, and no text."""
    if len(inputs) != 1 or inputs[0].dtype.kind not in "iu":
        return False
    with open_table(path) as file:
        header = TableFile(file, printable(path), set(), strict=True).header
    names = [name for name in header if name.lower() not in LABEL_COLUMNS]
    return not any(name.lower() in USUAL for name in names) and not _wordy(path, names)


def load_texts(
    source: str,
    inputs: Sequence[InputInfo],
    spec: ModelSpec,
    place: Place | None = None,
    refused: Refused | None = None,
) -> list[Sample]:
    """Return a Sample per row of ``file.csv``, or of the rows in ``file.csv:3`` and ``file.csv:3-7``, with its texts.

    ``text_columns`` says which columns hold them. Columns of what the texts leave are found as in tables; where they
    leave nothing, further columns are left out. One named target, label, class or y holds the true class. InputError
    says which row, line and column cannot be used; with ``refused`` it is told of those, and the others are returned.
    """
    found = text_inputs(inputs, spec)

    def opened(file: IO[str], path: Path) -> tuple[TableFile, Callable[[int, list[str]], Sample]]:
        table = TableFile(file, printable(path), expected_names(found, spec), strict=True)
        plan = _plan(source, path, table, found, inputs, spec)
        return table, partial(_sample, plan, table, path, inputs, spec, place)

    return chosen_rows(source, open_table, opened, refused)


def _plan(
    source: str,
    path: Path,
    table: TableFile,
    found: Sequence[TextInputs],
    inputs: Sequence[InputInfo],
    spec: ModelSpec,
) -> _Plan:
    filled = {name for one in found for name in one.names}
    others = required([info for info in inputs if info.name not in filled], spec)
    for info in others:
        if spec.inputs[info.name].modality not in IN_ROWS:
            raise InputError(
                f"the texts of a CSV file do not fill input {describe(info)}",
                where=table.where,
                tip="give a text with --text, beside a file for this input",
            )
    own = dataclasses.replace(spec, inputs={info.name: spec.inputs[info.name] for info in others})
    taken = columns_known(others, own) if others else set()
    named = {column for one in found for column in spec.inputs[one.main.name].columns}
    free = [n for n in table.header if n in named or (n not in taken and n.lower() not in LABEL_COLUMNS)]
    chosen = text_columns(free, found, spec, lambda: _wordy(path, free), table.where)
    columns = {one.main.name: names for one, names in zip(found, chosen, strict=True)}
    used = {name for names in columns.values() for name in names}
    if not others:
        return _Plan(columns, true_class([name for name in table.header if name not in used], table.where), {}, {})
    bad: dict[str, OnnxplainError] = {}
    used |= {name for name in free if taken}  # of columns that the model does not take, those that are left out
    rows = load_rows(source, others, own, used, bad.__setitem__, strict=True)
    return _Plan(columns, None, {row.source: row for row in rows}, bad)


def _wordy(path: Path, names: Sequence[str]) -> list[str]:
    """Return the columns of which the first rows hold more than numbers."""
    with open_table(path) as file:
        table = TableFile(file, printable(path), set(names), strict=True)
        rows = [cells for _, cells in table.rows(LOOKED_AT - 1, lambda _, __: None)]
        places = [table.header.index(name) for name in names if name in table.header]
    return [table.header[k] for k in places if any(row[k].strip() and not is_number(row[k]) for row in rows)]


def _sample(
    plan: _Plan,
    table: TableFile,
    path: Path,
    inputs: Sequence[InputInfo],
    spec: ModelSpec,
    place: Place | None,
    row: int,
    cells: list[str],
) -> Sample:
    source, where = f"{path}:{row}", table.place(row)
    if source in plan.bad:
        raise plan.bad[source]
    written = dict(zip(table.header, cells, strict=True))
    for column in (name for names in plan.columns.values() for name in names):
        if not written[column].strip():
            raise InputError("the text is empty", where=f"{where}, column '{excerpt(column)}'")
    given = {name: _text([written[column] for column in names], source) for name, names in plan.columns.items()}
    with at_row(source, where):
        read = load_text(given if len(given) > 1 else next(iter(given.values())), inputs, spec, place)
    whole = _with_others(read, plan.others[source], inputs, spec) if plan.others else filled_up(read, inputs, spec)
    return dataclasses.replace(
        whole,
        source=source,
        line=table.line,
        label=whole.label if plan.label is None else written[plan.label].strip(),
        preprocessing=_done(whole, plan, table),
    )


def _text(texts: Sequence[str], source: str) -> Text:
    return Text(texts[0], source=source, pair=texts[1] if len(texts) > 1 else None)


def _with_others(read: Sample, other: Sample, inputs: Sequence[InputInfo], spec: ModelSpec) -> Sample:
    rest = [info for info in inputs if info.name not in read.feeds]
    feeds = check_feeds(completed(other.feeds, rest, spec), rest, other.feeds)
    return joined(read, dataclasses.replace(other, feeds=feeds), inputs)


def _done(sample: Sample, plan: _Plan, table: TableFile) -> dict[str, object]:
    done = {**sample.preprocessing, "columns": [name for names in plan.columns.values() for name in names]}
    return done if table.separator == "," else {**done, "separator": SEPARATORS[table.separator]}
