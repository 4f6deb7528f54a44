"""Rows of a table drawn around one row from background data, and what of them is as it was: tabular LIME's samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import SettingError
from ..files import excerpt
from ..masking.background import Background
from ..masking.layout import masked_inputs
from ..masking.stand_ins import in_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..problem import Problem

QUARTILES = (0.25, 0.5, 0.75)
FEW_VALUES = 4  # a column of numbers with no more values than these is taken for categories
LEAST_ROWS = 4  # of background data

Way = Literal["quartiles", "normal"]


@dataclass(frozen=True)
class Column:
    """One number or text of a row: the input and the place in it, its name, and its values in the background (R,).

    ``here`` is the value of the row itself. ``codes`` names the numbers of a category column, where they have names.
    """

    input: str
    place: int
    name: str
    here: object
    values: np.ndarray
    codes: tuple[str, ...] = ()

    @property
    def is_category(self) -> bool:
        """True for text, coded categories, and numbers of few values."""
        if self.values.dtype.kind not in "fiu" or self.codes:
            return True
        return len(np.unique(self.values[~_missing(self.values)])) <= FEW_VALUES

    def same(self) -> tuple[np.ndarray, str]:
        """Say which background values (R,) lie where the row's does, and how that place is called.

        Places are the four ranges between the quartiles (the upper end included), each category, and missing values.
        """
        missing = _missing(self.values)
        if _missing(np.array([self.here], dtype=self.values.dtype))[0]:
            return missing, f"{self.name} is missing"
        if self.is_category:
            return ~missing & (self.values == self.here), f"{self.name} = {self._spelled()}"
        edges = np.unique(np.quantile(self.values[~missing].astype(np.float64), QUARTILES))
        bins = np.where(missing, -1, np.searchsorted(edges, self.values))
        here = int(np.searchsorted(edges, float(self.here)))  # type: ignore[arg-type]  # a number: not a category
        return bins == here, self._range(edges, here)

    def spread(self) -> float:
        """Return the standard deviation of the background's numbers."""
        known = self.values[~_missing(self.values)].astype(np.float64)
        return float(known.std()) if len(known) else 0.0

    def _range(self, edges: np.ndarray, here: int) -> str:
        if here == 0:
            return f"{self.name} <= {edges[0]:.4g}"
        if here == len(edges):
            return f"{self.name} > {edges[-1]:.4g}"
        return f"{edges[here - 1]:.4g} < {self.name} <= {edges[here]:.4g}"

    def _spelled(self) -> str:
        if isinstance(self.here, str):
            return excerpt(self.here, 30)
        number = float(self.here)  # type: ignore[arg-type]  # not a text: a number
        coded = number.is_integer() and 0 <= number < len(self.codes)
        return excerpt(self.codes[int(number)], 30) if coded else f"{number:.6g}"


class TableRows:
    """Draws rows around one row; ``names`` says for each feature what its regressor stands for.

    A feature's columns are drawn together from one row of the background data (the row itself belongs to it too),
    features independently of each other; its regressor is 1 where they all lie in the range, or category, of the row's
    own values. The way ``normal`` draws a column of numbers from a normal distribution around the row's value instead,
    with the background's standard deviation, which is the unit of its regressor.
    """

    def __init__(self, problem: Problem, way: Way, columns: list[list[Column]]) -> None:
        self.features: Features = problem.features
        self.feeds = problem.sample.feeds
        self._entries = masked_inputs(problem.model, problem.sample)
        self._columns = columns
        self._spread = np.zeros(len(columns))
        self._is_normal = np.zeros(len(columns), dtype=bool)
        self._same: list[np.ndarray] = []
        names: list[str] = []
        for k, mine in enumerate(columns):
            found = [column.same() for column in mine]
            self._same.append(np.append(np.all([same for same, _ in found], axis=0), True))
            name = found[0][1] if len(mine) == 1 else _name_of_group(self.features.names[k], mine)
            if way == "normal" and len(mine) == 1 and not mine[0].is_category and mine[0].here == mine[0].here:
                self._is_normal[k], self._spread[k] = True, mine[0].spread()
                name = f"{mine[0].name} per {self._spread[k]:.3g}"
            names.append(name)
        self.names = tuple(names)
        self._pools = [[np.append(c.values, [c.here]).astype(c.values.dtype) for c in mine] for mine in columns]

    @classmethod
    def around(cls, problem: Problem, way: Way) -> TableRows | None:
        """Return what draws rows around the problem's; None if it is no row of a table with background data."""
        entries = masked_inputs(problem.model, problem.sample)
        labels = problem.features.labels
        if any(not entries[name].is_table or entries[name].feed.ndim > 2 for name in labels):
            return None
        rows = background_rows(problem, {name: entries[name] for name in labels})
        if rows is None or len(next(iter(rows.values()))) < LEAST_ROWS:
            return None
        columns: list[list[Column]] = [[] for _ in problem.features.names]
        for name, of_input in labels.items():
            entry, values = entries[name], rows[name].reshape(len(rows[name]), -1)
            spread = np.broadcast_to(of_input, entry.feed.shape).reshape(-1)
            for place, feature in enumerate(spread.tolist()):
                if feature >= 0:
                    columns[feature].append(_column(entry, place, values[:, place]))
        return cls(problem, way, columns)

    def first(self) -> np.ndarray:
        """Return the regressors (1, M) of the row itself."""
        return np.where(self._is_normal, 0.0, 1.0)[None]

    def changed(self, regressors: np.ndarray) -> np.ndarray:
        """Return how far each feature (B, M) has moved: standard deviations, or 1 where it left its range."""
        return np.where(self._is_normal, regressors, 1.0 - regressors)

    def draw(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return regressors (length, M) and the rows that they belong to; the draws follow each other row by row."""
        flat = {n: np.repeat(f.reshape(1, -1), length, axis=0) for n, f in self.feeds.items() if n in self._entries}
        x = np.empty((length, len(self._columns)))
        uniform = rng.random((length, len(self._columns), 2))
        for k, mine in enumerate(self._columns):
            if self._is_normal[k]:
                x[:, k] = self._write_normal(flat[mine[0].input], mine[0], k, uniform[:, k])
                continue
            taken = (uniform[:, k, 0] * len(self._same[k])).astype(np.intp)
            x[:, k] = self._same[k][taken]
            for column, pool in zip(mine, self._pools[k], strict=True):
                flat[column.input][:, column.place] = pool[taken]
        rows = {n: f.reshape(length, *self.feeds[n].shape[1:]) for n, f in flat.items()}
        return x, {**self.feeds, **rows}

    def _write_normal(self, flat: np.ndarray, column: Column, k: int, uniform: np.ndarray) -> np.ndarray:
        """Write values around the row's own, and return how far they are off in standard deviations."""
        here = float(column.here)  # type: ignore[arg-type]  # a number: not a category
        # Box and Muller's transform: two uniform numbers give a normal one, however many rows are drawn at a time
        noise = np.sqrt(-2 * np.log1p(-uniform[:, 0])) * np.cos(2 * np.pi * uniform[:, 1])
        values = in_dtype(here + self._spread[k] * noise, self._entries[column.input])
        flat[:, column.place] = values
        offset: np.ndarray = (values.astype(np.float64) - here) / (self._spread[k] or 1.0)
        return offset


def background_rows(problem: Problem, entries: Mapping[str, MaskedInput]) -> dict[str, np.ndarray] | None:
    """Return background rows by input: all those of the spec's file, or the references of the baseline if several."""
    if is_auto(problem.baseline_setting):
        background = Background(problem.model, entries, problem.seed)
        if not background.is_known:
            return None
        rows = background.rows
    else:
        rows = problem.baseline.references
    missing = [name for name in entries if name not in rows]
    if missing:
        raise SettingError(f"the background data has no rows for input '{excerpt(missing[0])}'")
    return {name: rows[name] for name in entries}


def is_auto(setting: object) -> bool:
    """Say whether a baseline was left to the method."""
    return isinstance(setting, str) and setting == "auto"


def _column(entry: MaskedInput, place: int, values: np.ndarray) -> Column:
    name = entry.columns[place] if place < len(entry.columns) else f"{entry.name}[{place}]"
    return Column(
        entry.name,
        place,
        name,
        entry.feed.reshape(-1)[place].item() if not entry.holds_text else entry.feed.reshape(-1)[place],
        values,
        entry.spec.categories.get(name, ()),
    )


def _name_of_group(name: str, columns: list[Column]) -> str:
    """Return 'colour = red' for a block of one-hot columns, 'size as it is' for other groups."""
    ones = [column.name for column in columns if column.here == 1]
    if len(ones) == 1 and all(column.here in {0, 1} for column in columns):
        return f"{name} = {ones[0].removeprefix(name).lstrip('_= ') or ones[0]}"
    return f"{name} as it is"


def _missing(values: np.ndarray) -> np.ndarray:
    """Say which values are NaN, or an empty text."""
    if values.dtype.kind == "f":
        found: np.ndarray = np.isnan(values)
        return found
    return np.array([v == "" for v in values], dtype=bool) if values.dtype == object else np.zeros(len(values), bool)
