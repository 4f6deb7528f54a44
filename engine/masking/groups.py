"""Groups of columns: those that the spec or the user names, and blocks of one-hot columns, found by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingError, nearest
from ..files import excerpt
from .features import KEPT, Features
from .layout import MaskedInput

SEPARATORS = ("=", "_")  # between the name of a one-hot block and that of a category: colour=red, colour_red

Inputs = Mapping[str, MaskedInput]


@dataclass(frozen=True)
class Column:
    """A column of a table: the input that holds it, its place there, and its name."""

    input: str
    place: int
    name: str


def is_grouping(setting: Mapping[Any, Any]) -> bool:
    """Say whether a dict holds lists of column names, and so groups."""
    return bool(setting) and all(
        isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names)
        for names in setting.values()
    )


def table_columns(inputs: Inputs) -> list[Column]:
    """Return the columns of all tables; SettingError if there is none."""
    found = []
    for entry in inputs.values():
        if entry.is_table or entry.feed.ndim <= 2:
            count = entry.feed.size
            names = entry.columns if len(entry.columns) == count else [f"column {k}" for k in range(count)]
            found += [Column(entry.name, place, name) for place, name in enumerate(names)]
    if not found:
        raise SettingError(
            "groups of columns need a table",
            where="; ".join(map(str, list(inputs.values())[:4])),
            tip="say so in the spec (modality, columns), or use 'elements', 'inputs' or a label map",
        )
    return found


def grouped(groups: Mapping[str, Sequence[str]], inputs: Inputs, *, kind: str = "groups") -> Features:
    """Make each group of columns a feature, and each other column by itself, in the order of their first columns.

    Groups may span inputs. SettingError for a column that is not there, is there twice, or is in two groups.
    """
    columns = table_columns(inputs)
    group_of: dict[str, str] = {}
    for group, members in groups.items():
        for member in members:
            _check_member(member, str(group), columns, group_of)
            group_of[member] = str(group)
    numbers: dict[tuple[bool, str, str], int] = {}
    flat = {name: np.full(entry.feed.size, KEPT, dtype=np.int64) for name, entry in inputs.items()}
    for column in columns:
        in_group = column.name in group_of
        key = (True, group_of[column.name], "") if in_group else (False, column.name, column.input)
        flat[column.input][column.place] = numbers.setdefault(key, len(numbers))
    labels = {n: a.reshape(inputs[n].feed.shape) for n, a in flat.items() if (a != KEPT).any()}
    return Features(tuple(name for _, name, _ in numbers), labels, kind)


def _check_member(member: str, group: str, columns: list[Column], group_of: Mapping[str, str]) -> None:
    names = [column.name for column in columns]
    if names.count(member) != 1:
        problem = "does not exist" if member not in names else "is in several inputs"
        raise SettingError(
            f"group '{excerpt(group)}' names a column '{excerpt(member)}', which {problem}",
            tip=nearest(member[:200], names) if member not in names else "give label maps by input name instead",
        )
    if member in group_of:
        raise SettingError(
            f"column '{excerpt(member)}' is named twice: in group '{excerpt(group_of[member])}' "
            f"and in group '{excerpt(group)}'"
        )


def spec_groups(inputs: Inputs) -> dict[str, tuple[str, ...]]:
    """Return the groups that the spec names, of all inputs."""
    return {group: members for entry in inputs.values() for group, members in entry.spec.groups.items()}


def one_hot_blocks(inputs: Inputs, rows: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """Return blocks of two or more columns that share the beginning of their names and of which one is always 1.

    ``rows`` are background rows by input name; the input itself counts as one more. In ``home_type_flat`` and
    ``home_type_house`` the shortest shared beginning is tried first: ``home``, then ``home_type``.
    """
    columns = [c for c in table_columns(inputs) if c.input in rows and rows[c.input].dtype.kind in "fiub"]
    values = {c.name: _values(c, inputs, rows) for c in columns}
    binary = [name for name, column in values.items() if np.isin(column, (0, 1)).all()]
    blocks: dict[str, tuple[str, ...]] = {}
    for beginning, members in sorted(_beginnings(binary).items(), key=lambda item: len(item[0])):
        taken = {member for block in blocks.values() for member in block}
        one_each = len(members) > 1 and np.all(sum(values[member] for member in members) == 1)
        if one_each and not taken.intersection(members):
            name = beginning.rstrip("_= ")
            blocks[name if name not in blocks else beginning] = tuple(members)
    return blocks


def _values(column: Column, inputs: Inputs, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    own = inputs[column.input].feed.reshape(1, -1)[:, column.place]
    given = rows[column.input].reshape(len(rows[column.input]), -1)[:, column.place]
    return np.concatenate([own, given]).astype(np.float64)


def _beginnings(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names by each of their beginnings up to a separator."""
    found: dict[str, list[str]] = {}
    for name in names:
        for end in range(1, len(name) - 1):
            if name[end] in SEPARATORS:
                found.setdefault(name[: end + 1], []).append(name)
    return found
