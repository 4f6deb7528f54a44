"""References from outside: arrays and files of background rows, checked and converted to what an input takes."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, printable
from ..files import excerpt, existing_file
from ..inputs.array import check_feeds
from ..inputs.array_file import read_arrays
from ..inputs.rows import Rows, missing_rows, split_source
from ..inputs.table import columns_beside, load_values
from ..inputs.text_inputs import text_inputs
from .layout import chosen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Model
    from .layout import MaskedInput

# Independent streams of random numbers, out of the way of those that methods draw from.
DRAWING, NOISE = 1001, 1002
COLUMNS = {"table", "array"}  # modalities that a file of rows holds; texts and pictures beside them it does not
KEPT_BYTES = 64 << 20  # of background rows that are kept for the next sample


@dataclass(frozen=True)
class Background:
    """What stand-ins are computed from beside the input itself: the rows of the spec's background file, and a seed."""

    model: Model
    inputs: Mapping[str, MaskedInput]
    seed: int

    @property
    def is_known(self) -> bool:
        """True if the spec names a file of background rows."""
        return bool(self.model.spec.background)

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """All rows by input name, as (rows, *feed.shape[1:]); SettingError if the spec names no file."""
        spec = self.model.spec
        if not spec.background:
            raise SettingError(
                "this model has no background data",
                where=printable(spec.source),
                tip='name a file of typical rows in the spec (background = "rows.csv"), or as the baseline',
            )
        return read_rows(str(Path(spec.source).parent / spec.background), self.inputs, self.model)

    def draw(self, rows: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        """Return at most ``count`` rows, drawn without replacement and kept in order; the same of every input."""
        total = len(next(iter(rows.values())))
        if total <= count:
            return dict(rows)
        taken = np.sort(self.rng(DRAWING).choice(total, count, replace=False))
        return {name: array[taken] for name, array in rows.items()}

    def rng(self, stream: int) -> np.random.Generator:
        """Return the random numbers of a stream."""
        return np.random.default_rng([self.seed, stream])


@dataclass(frozen=True)
class _Any:
    """An input as the engine sees it, with the batch axis first and any number of rows."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    batch_axis: int = 0


def drawn_note(total: int, used: int) -> str:
    """Say in words that rows were drawn; empty where all are used."""
    return f"baseline: {used:,} of {total:,} background rows, drawn by the seed" if used < total else ""


def converted(array: np.ndarray, entry: MaskedInput, *, placed: bool = False) -> np.ndarray:
    """Return references (R, *feed.shape[1:]) in the feed's dtype from an array that broadcasts to them.

    With ``placed`` the batch axis is first already. SettingError with the shapes that would do; InputError if values
    are not finite or the dtype cannot hold them; NaN is a missing value in a table.
    """
    given = array if placed else entry.place(array)
    if given is None:
        raise SettingError(
            f"a baseline of shape {array.shape} does not fit input '{excerpt(entry.name)}'",
            tip=f"it takes {entry.wanted}, with ones where values are the same along an axis, and any number of rows",
        )
    shape = (len(given), *entry.inner)
    rows = np.ascontiguousarray(given if given.shape == shape else np.broadcast_to(given, shape))
    info = _Any(entry.name, entry.feed.dtype, (None, *entry.inner))
    return check_feeds({entry.name: rows}, [info], (entry.name,) if entry.is_table else ())[entry.name]


_latest: list[tuple[Any, dict[str, np.ndarray]]] = []  # what was read last, for the next sample


def read_rows(source: str | os.PathLike[str], inputs: Mapping[str, MaskedInput], model: Model) -> dict[str, np.ndarray]:
    """Return the rows of a .csv, .npy or .npz file, or those that ``rows.csv:0-9`` names, by input name.

    They are arrays (rows, *feed.shape[1:]). Columns of a CSV file are found by name, as in tables to be explained.
    SettingError if the file is not there, InputError if it is damaged or does not fit the inputs. A file that has not
    changed is read once for all samples.
    """
    path, rows = split_source(os.fspath(source))
    existing_file(path, SettingError)
    status = path.stat()
    key = (
        (str(path.absolute()), rows, status.st_mtime_ns, status.st_size, model.inputs, model.spec),
        {name: (entry.inner, entry.feed.dtype) for name, entry in inputs.items()},
    )
    for known, found in _latest:
        if known == key:
            return found
    found = _read(path, rows, inputs, model)
    small = sum(array.nbytes for array in found.values()) <= KEPT_BYTES
    _latest[:] = [(key, found)] if small else []
    return found


def _read(path: Path, rows: Rows, inputs: Mapping[str, MaskedInput], model: Model) -> dict[str, np.ndarray]:
    if path.suffix.lower() in {".csv", ".tsv"}:
        coded = [entry for entry in inputs.values() if entry.text is not None and not entry.holds_text]
        if coded:
            raise SettingError(
                f"the rows of a CSV file cannot stand in for the tokens of input '{excerpt(coded[0].name)}'",
                where=printable(path),
                tip="use 'removed', 'mask' or 'pad'; for other inputs, a dict by input name",
            )
        named = f"{path}:{rows.first}-{'' if rows.last is None else rows.last}"
        known = model.spec.inputs
        columns = [i for i in model.inputs if i.name in inputs or known[i.name].modality in COLUMNS]
        own = dataclasses.replace(model.spec, inputs={info.name: known[info.name] for info in columns})
        are_beside = bool(text_inputs(model.inputs, model.spec))  # texts in the same file
        values = load_values(named, columns, own, columns_beside(path, columns, own) if are_beside else ())
        return {
            name: converted(values[name].reshape(-1, *entry.inner), entry, placed=True)
            for name, entry in inputs.items()
        }
    arrays = read_arrays(path)
    if len(arrays) == 1 and len(inputs) == 1:
        arrays = dict(zip(inputs, arrays.values(), strict=True))
    found = {name: _from_file(array, chosen(inputs, name, model.inputs), path) for name, array in arrays.items()}
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"'{excerpt(name)}' {count}" for name, count in counts.items())
        raise InputError("the inputs have different numbers of rows", where=f"{printable(path)}: {shown}")
    most = max(counts.values(), default=0)
    if rows != Rows() and (rows.first if rows.last is None else rows.last) >= most:
        raise missing_rows(rows, most, printable(path))
    return {name: array[rows.first : None if rows.last is None else rows.last + 1] for name, array in found.items()}


def _from_file(array: np.ndarray, entry: MaskedInput, path: Path) -> np.ndarray:
    try:
        return converted(array, entry)
    except (InputError, SettingError) as problem:
        where = f"{printable(path)}: {problem.where}" if problem.where else printable(path)
        raise type(problem)(problem.message, where=where, tip=problem.tip) from None
