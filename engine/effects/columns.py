"""Columns of data by name, and the grids of values over which their effect is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, nearest
from ..files import excerpt
from ..masking.groups import one_hot_blocks, spec_groups

if TYPE_CHECKING:
    from ..analyses.study import Study

FEW_VALUES = 4  # a column of numbers with no more values than these is taken for categories


@dataclass(frozen=True, eq=False)
class Column:
    """One number or text of a row: the input, its place in the flattened row, its name, and its values (N,).

    ``codes`` names the numbers of a category column, where they have names. A block of one-hot columns is one column
    too: ``block`` holds their places, and the values are the number of the one that is 1, or -1.
    """

    input: str
    place: int
    name: str
    values: np.ndarray
    codes: tuple[str, ...] = ()
    block: tuple[int, ...] = ()

    @property
    def known(self) -> np.ndarray:
        """The values that are not missing."""
        return self.values[~np.isnan(self.values)] if self.values.dtype.kind == "f" else self.values

    @property
    def is_category(self) -> bool:
        """True for text, coded categories, and numbers of few values."""
        return self.values.dtype.kind not in "fiu" or bool(self.codes) or len(np.unique(self.known)) <= FEW_VALUES

    def spelled(self, value: Any) -> str:
        """Return a value as a person reads it."""
        if isinstance(value, str):
            return excerpt(value, 30)
        number = float(value)
        if self.block and number < 0:
            return "none"
        coded = number.is_integer() and 0 <= number < len(self.codes)
        return excerpt(self.codes[int(number)], 30) if coded else f"{number:.6g}"

    def write(self, flat: np.ndarray, values: np.ndarray) -> None:
        """Set the column to values (B,) in flattened rows (B, ...) of its input."""
        if self.block:
            flat[:, list(self.block)] = values[:, None] == np.arange(len(self.block))
        else:
            flat[:, self.place] = values

    def grid(self, points: int, percentiles: tuple[float, float], *, even: bool) -> np.ndarray:
        """Return at most ``points`` values from low to high, of the column's own dtype.

        They are all values or categories if they are so few, otherwise the most frequent categories; of numbers
        quantiles between the percentiles, or evenly spaced values.
        """
        whole, counts = np.unique(self.known, return_counts=True)
        if len(whole) <= points:
            return whole
        if self.is_category:
            frequent = np.sort(np.argsort(-counts, kind="stable")[:points])
            return np.asarray(whole[frequent])
        wide = self.known.astype(np.float64)
        low, high = percentiles
        if even:
            first, last = np.percentile(wide, [low, high]).tolist()
            found = np.linspace(first, last, points)
        else:
            found = np.percentile(wide, np.linspace(low, high, points))
        if self.values.dtype.kind in "iu":
            found = np.rint(found)
        return np.unique(found.astype(self.values.dtype))


def columns_of(study: Study) -> list[Column]:
    """Return all numbers and texts of a row as columns, blocks of one-hot columns as one each.

    Such blocks are groups in the spec, or columns that share the beginning of their names, of which at most one is 1
    in each row.
    """
    single = single_columns(study)
    blocks = _blocks(study, single)
    first = {(block.input, block.place): block for block in blocks}
    members = {(block.input, place) for block in blocks for place in block.block}
    places = [(column.input, column.place) for column in single]
    return [
        first.get(at, column) for column, at in zip(single, places, strict=True) if at in first or at not in members
    ]


def single_columns(study: Study) -> list[Column]:
    """Return all numbers and texts of a row, each by itself: by the table's names, or as ``input[place]``.

    Texts that are read as such have none: their codes are no quantities, and no two rows share their words.
    """
    texts = {name for text in study.first.texts for name in (text.input, *text.companions)}
    if texts >= study.inputs.keys():
        raise SettingError(
            "there is no column whose effect could be drawn: the rows are texts",
            where=study.source,
            tip="permutation-importance shuffles the places of tokens; onnxplain explain tells of each text",
        )
    found = []
    for name, entry in study.inputs.items():
        if name in texts:
            continue
        flat = study.rows[name].reshape(study.count, -1)
        names = entry.columns if len(entry.columns) == flat.shape[1] else [f"{name}[{k}]" for k in range(flat.shape[1])]
        found += [
            Column(name, place, column, flat[:, place], entry.spec.categories.get(column, ()))
            for place, column in enumerate(names)
        ]
    return found


def groups_of(study: Study) -> dict[str, tuple[str, ...]]:
    """Return the groups of a table's columns by name: the spec's, and blocks of one-hot columns found in the rows."""
    tables = {name: entry for name, entry in study.inputs.items() if entry.is_table}
    if not tables:
        return {}
    groups = spec_groups(tables)
    taken = {member for members in groups.values() for member in members}
    found = one_hot_blocks(tables, {name: study.rows[name] for name in tables})
    return groups | {n: m for n, m in found.items() if n not in groups and not taken.intersection(m)}


def _blocks(study: Study, single: Sequence[Column]) -> list[Column]:
    """Return the one-hot blocks of tables."""
    groups = groups_of(study)
    by_name = {column.name: column for column in single}
    named = ((name, [by_name[m] for m in members if m in by_name]) for name, members in groups.items())
    blocks = (_block(name, columns) for name, columns in named if len(columns) > 1)
    return [block for block in blocks if block is not None]


def _block(name: str, columns: Sequence[Column]) -> Column | None:
    """Return columns of 0 and 1, of which at most one is 1, as one; None if they are not such."""
    if len({c.input for c in columns}) > 1 or any(c.values.dtype.kind not in "fiub" for c in columns):
        return None
    values = np.stack([c.values for c in columns], axis=1)
    if not np.isin(values, (0, 1)).all() or (values.sum(axis=1) > 1).any():
        return None
    codes = np.where(values.any(axis=1), values.argmax(axis=1), -1)
    names = tuple(c.name.removeprefix(name).lstrip("_= ") or c.name for c in columns)
    places = tuple(c.place for c in columns)
    return Column(columns[0].input, min(places), name, codes, names, places)


def chosen(setting: Any, columns: Sequence[Column], single: Sequence[Column]) -> list[Column]:
    """Return the columns that a setting names: a name or number, a list of these, or text with commas between them.

    Names are those of blocks and of ``single`` columns; numbers are the places of single ones.
    """
    by_name = {column.name: column for column in (*single, *columns)}
    if isinstance(setting, str) and setting not in by_name:
        setting = [part.strip() for part in setting.split(",")]
    wanted = list(setting) if isinstance(setting, Sequence) and not isinstance(setting, str) else [setting]
    found = [_one(item, by_name, single) for item in wanted]
    doubled = next((c.name for k, c in enumerate(found) if c in found[:k]), None)
    if doubled is not None:
        raise SettingError(f"the column '{excerpt(doubled)}' is named twice")
    return found


def _one(item: Any, by_name: dict[str, Column], columns: Sequence[Column]) -> Column:
    if isinstance(item, str) and item in by_name:
        return by_name[item]
    if isinstance(item, int | np.integer) and not isinstance(item, bool):
        if 0 <= item < len(columns):
            return columns[int(item)]
        raise SettingError(f"there is no column {item}: they are numbered from 0 to {len(columns) - 1}")
    raise SettingError(f"there is no column '{excerpt(item)}'", tip=nearest(str(item)[:200], by_name))
