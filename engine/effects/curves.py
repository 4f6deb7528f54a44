"""Curves of the model's scores over a column's values, one per row: what partial dependence and ICE are made from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError
from ..files import excerpt
from .columns import chosen, columns_of, single_columns
from .outputs import THE_OUTPUT, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..analyses.study import Study
    from .columns import Column
    from .outputs import Outputs

MOST_CLASSES = 10
MOST_COLUMNS = 200  # where none are named
CENTRES = {"first": 0.0, "middle": 0.5, "last": 1.0}


@dataclass(frozen=True, eq=False)
class Axis:
    """A column and the values that it is set to (G,)."""

    column: Column
    grid: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The grid as it is drawn: float64, or names of categories."""
        if self.grid.dtype.kind in "fiu" and not self.column.codes:
            return self.grid.astype(np.float64)
        return np.array([self.column.spelled(value) for value in self.grid.tolist()])


@dataclass(frozen=True)
class Grids:
    """How grids are made; see the settings of ``PartialDependence``."""

    points: int
    even: bool
    percentiles: tuple[float, float]
    values: np.ndarray | None

    def of(self, column: Column) -> Axis:
        """Return the axis of a column; SettingError if the values that were asked for do not fit it."""
        if self.values is None:
            return Axis(column, column.grid(self.points, self.percentiles, even=self.even))
        given = np.asarray(self.values)
        is_text = column.values.dtype.kind not in "fiub" or bool(column.block)
        if given.ndim != 1 or len(given) < 2 or is_text or given.dtype.kind not in "fiub":
            raise SettingError(
                f"values must be two numbers or more, for a column of numbers; '{excerpt(column.name)}' "
                + ("holds categories" if is_text else f"was given the shape {given.shape}")
            )
        grid = given.astype(column.values.dtype)
        if not np.allclose(grid.astype(np.float64), given.astype(np.float64), rtol=1e-6):
            raise SettingError(
                f"column '{excerpt(column.name)}' holds {column.values.dtype} and cannot hold all values"
            )
        return Axis(column, grid)


def axes_of(study: Study, setting: Any, grids: Grids) -> tuple[list[Axis], list[str]]:
    """Return an axis per column that is asked for, or per column that varies; and notes on what is left out.

    A column that was asked for and has one value only is a SettingError.
    """
    columns = columns_of(study)
    if grids.percentiles[0] >= grids.percentiles[1]:
        raise SettingError(f"percentiles must rise, not be {grids.percentiles[0]:g} and {grids.percentiles[1]:g}")
    if setting is None or setting in ("", ()):
        if len(columns) > MOST_COLUMNS:
            raise SettingError(
                f"a row has {len(columns):,} numbers, more than the {MOST_COLUMNS} whose curves are drawn unasked",
                tip=f"name some: --set columns='{columns[0].name}'",
            )
        axes = [grids.of(column) for column in columns]
        still = [axis.column.name for axis in axes if len(axis.grid) < 2]
        axes = [axis for axis in axes if len(axis.grid) > 1]
        if not axes:
            raise SettingError("no column varies over these rows: there is nothing to draw a curve of")
        shown = ", ".join(still[:5]) + (f" and {len(still) - 5} more" if len(still) > 5 else "")
        return axes, [*([f"the same in all rows, so left out: {shown}"] if still else []), *_rare(axes)]
    axes = [grids.of(column) for column in chosen(setting, columns, single_columns(study))]
    for axis in axes:
        if len(axis.grid) < 2:
            value = f", {axis.column.spelled(axis.grid[0])}" if len(axis.grid) else ""
            raise SettingError(
                f"column '{excerpt(axis.column.name)}' has one value only{value}: a grid of one point is no curve",
                tip="choose another column, more rows, or values=LOW,HIGH",
            )
    return axes, _rare(axes)


def _rare(axes: Sequence[Axis]) -> list[str]:
    """Return notes on categories that are left out of grids."""
    categories = [(a, len(np.unique(a.column.known))) for a in axes if a.column.is_category]
    return [
        f"{count - len(axis.grid):,} rarer categories of {axis.column.name} are left out"
        for axis, count in categories
        if count > len(axis.grid)
    ]


class Curves:
    """Scores (N, G..., K) of all rows with one column, or two, set to every value of its grid."""

    def __init__(self, study: Study, expected: int) -> None:
        """Prepare for about ``expected`` values of grids in all."""
        self.outputs: Outputs = outputs_of(study, MOST_CLASSES)
        self._study = study
        study.progress.start(study.name, study.count * expected)
        self._scorer = study.scorer(self.outputs, study.count * expected)

    @property
    def evaluations(self) -> int:
        """Model rows so far."""
        return self._scorer.evaluations

    def over(self, groups: Sequence[Sequence[Axis]]) -> Iterator[np.ndarray]:
        """Yield the scores (N, G..., K) of each group of axes."""
        study, length = self._study, self._scorer.batch
        sizes = [int(np.prod([len(axis.grid) for axis in axes])) * study.count for axes in groups]

        def batches() -> Iterator[tuple[dict[str, np.ndarray], None]]:
            for axes in groups:
                values = list(itertools.product(*(axis.grid for axis in axes)))
                for start in range(0, len(values) * study.count, length):
                    numbers = np.arange(start, min(start + length, len(values) * study.count))
                    yield self._set(axes, values, numbers), None

        waiting: list[np.ndarray] = []
        left = iter(zip(groups, sizes, strict=True))
        axes, wanted = next(left)
        for scores, _ in self._scorer.stream(batches()):
            waiting.append(scores)
            if sum(map(len, waiting)) == wanted:
                shape = tuple(len(axis.grid) for axis in axes)
                whole = np.concatenate(waiting).reshape(*shape, study.count, -1)
                yield np.moveaxis(whole, len(shape), 0)
                waiting = []
                axes, wanted = next(left, (axes, 0))

    def _set(self, axes: Sequence[Axis], values: list[tuple[Any, ...]], numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Return rows: number v * N + r is row r with the columns set to the v-th values."""
        study = self._study
        rows = numbers % study.count
        feeds = study.part(rows)
        flat = {axis.column.input: feeds[axis.column.input].reshape(len(rows), -1) for axis in axes}
        for k, axis in enumerate(axes):
            column = np.empty(len(values), dtype=axis.grid.dtype)
            column[:] = [value[k] for value in values]
            axis.column.write(flat[axis.column.input], column[numbers // study.count])
        return feeds | {n: f.reshape(feeds[n].shape) for n, f in flat.items()}


def centred(curves: np.ndarray, centre: str) -> np.ndarray:
    """Return curves (N, G, K) less their values at the first, middle or last point of the grid; or as they are."""
    if centre == "off":
        return curves
    place = round(CENTRES[centre] * (curves.shape[1] - 1))
    counted: np.ndarray = curves - curves[:, place : place + 1]
    return counted


def value_words(outputs: Outputs, task: str, *, is_centred: bool) -> str:
    """Return what the numbers are: 'probability of malignant', 'score of class 3', 'change of the output'."""
    units = {"logit": "logit", "probability": "probability", "log-probability": "log-probability"}
    unit = units.get(outputs.space, "score")
    name = "" if outputs.count > 1 else outputs.names[0]
    if name == THE_OUTPUT:
        text = unit if outputs.space in units else "output"
    else:
        is_value = task == "regression" and outputs.space == "value" and name
        text = name if is_value else f"{unit} of {name}" if name else unit
    if not is_centred:
        return text
    return f"change of {text}" if text == name else f"change of the {text}"
