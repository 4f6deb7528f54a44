"""ICE: the score of each single row when a column is set to each value of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..analyses.analysis import Analysis
from ..errors import SettingError
from ..registry import DATA, PREDICT, register
from ..settings import Range
from .curves import Curves, Grids, axes_of, centred, value_words
from .partial_dependence import data_on

if TYPE_CHECKING:
    from ..analyses.study import Study


@register(
    "analysis",
    "ice",
    needs=PREDICT | DATA,
    modalities=("table", "series", "array"),
    source="Goldstein et al. 2015, arXiv:1309.6392",
)
@dataclass(frozen=True)
class Ice:
    """The score of each single row when a column is set to each value of a grid: individual conditional expectation.

    ``ICE_i(g) = f(x_i with column j set to g)``; partial dependence is the mean over i. With ``centre`` each curve is
    counted from its value at that point of the grid (c-ICE). Columns are ranked by how much their rows differ: the
    standard deviation over the rows (divisor N) of the curves counted from their own means, averaged over the grid.
    Parallel curves have 0: there the column acts alone, and its mean curve tells all. ``slope/p`` in ``arrays`` are the
    rises between neighbouring grid values over their distance (d-ICE), for columns of numbers.

    Source: Goldstein, Kapelner, Bleich and Pitkin 2015, Peeking inside the black box, arXiv:1309.6392.
    """

    columns: Annotated[Any, "names or numbers of columns, with commas between them; none: all that vary"] = None
    points: Annotated[int, "values in a grid", Range(2, 1000)] = 20
    grid: Annotated[Literal["quantiles", "even"], "quantiles of the column, or evenly spaced values"] = "quantiles"
    percentiles: Annotated[tuple[float, float], "where a grid begins and ends, in percent", Range(0, 100)] = (2.5, 97.5)
    values: Annotated[np.ndarray | None, "the grid itself, instead of one made from the data"] = None
    centre: Annotated[Literal["off", "first", "middle", "last"], "where curves are set to 0"] = "off"
    rows: Annotated[int, "most rows that are used; of more, so many are drawn", Range(1)] = 100

    def analyse(self, study: Study) -> Analysis:
        """Score the rows over the grids."""
        used = study.at_most(self.rows)
        axes, told = axes_of(used, self.columns, Grids(self.points, self.grid == "even", self.percentiles, self.values))
        curves = Curves(used, sum(len(axis.grid) for axis in axes))
        outputs = curves.outputs
        if outputs.count > 1:
            raise SettingError(f"ice is of one class, and this model has {outputs.count}", tip=outputs.example)
        found = [centred(single, self.centre)[:, :, 0] for single in curves.over([[axis] for axis in axes])]
        differ = [float((one - one.mean(axis=1, keepdims=True)).std(axis=0).mean()) for one in found]
        order = np.argsort(-np.array(differ), kind="stable").tolist()
        arrays = {"series": np.array(outputs.names), "panels": np.array([axes[k].column.name for k in order])}
        rows = []
        for place, k in enumerate(order):
            axis, one = axes[k], found[k]
            arrays |= {
                f"grid/{place}": axis.labels,
                f"single/{place}": one,
                f"mean/{place}": one.mean(axis=0)[None],
                f"spread/{place}": one.std(axis=0)[None],
            }
            arrays |= data_on(axis, place)
            if axis.labels.dtype.kind == "f":
                arrays[f"slope/{place}"] = np.diff(one, axis=1) / np.diff(axis.labels)
            ranges = np.ptp(one, axis=1)
            rows.append((axis.column.name, differ[k], float(np.ptp(one.mean(axis=0))), float(ranges.max())))
        value = value_words(outputs, study.model.spec.task, is_centred=self.centre != "off")
        notes = [f"{used.count:,} of {study.count:,} rows were drawn"] if used.count < study.count else []
        notes += told
        return Analysis(
            "",
            ("column", "difference of rows", "range of the mean", "largest range of a row"),
            tuple(rows),
            arrays,
            picture="curves",
            words={
                "title": f"ICE: {value}",
                "below": f"{used.count:,} single row{'' if used.count == 1 else 's'}",
                "value": value,
                "notes": "Thin: single rows. Thick: their mean.",
            },
            notes=tuple(notes),
            evaluations=curves.evaluations,
        )
