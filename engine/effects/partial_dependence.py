"""Partial dependence: the mean score over the data when a column, or two, is set to each value of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..analyses.analysis import Analysis
from ..errors import InputError, SettingError
from ..registry import DATA, PREDICT, register
from ..settings import Range
from .curves import Curves, Grids, axes_of, centred, value_words

if TYPE_CHECKING:
    from ..analyses.study import Study
    from .curves import Axis

BEHIND = 50  # curves of single rows that are kept for the picture


@register(
    "analysis",
    "partial-dependence",
    needs=PREDICT | DATA,
    modalities=("table", "series", "array"),
    source="Friedman 2001, Greedy function approximation",
)
@dataclass(frozen=True)
class PartialDependence:
    """The mean score over the data when a column, or two together, is set to each value of a grid.

    ``PD_j(g) = sum_i w_i f(x_i with column j set to g) / sum_i w_i``. Columns are ranked by the standard deviation of
    their curve over its grid (Greenwell et al. 2018: a flat curve is of no importance; of several classes the largest).
    The spread is the weighted standard deviation of the rows' own curves, with the divisor N, at each grid value: where
    it is large beside the curve's range, rows differ in how they answer (see ``ice``). With ``centre`` each row's curve
    is counted from its value there. Grids are quantiles of the column (evenly spaced values, as in scikit-learn, with
    ``grid=even``), all of its values where they are few, or its categories. Combinations that never occur are scored
    too: where columns are correlated, the ends of a curve rest on rows that do not exist.

    Source: Friedman 2001, Annals of Statistics 29; ranking: Greenwell, Boehmke and McCarthy 2018, arXiv:1805.04755.
    """

    columns: Annotated[Any, "names or numbers of columns, with commas between them; none: all that vary"] = None
    pair: Annotated[bool, "one surface of two columns instead of a curve for each"] = False
    points: Annotated[int, "values in a grid; of a surface in each of both", Range(2, 1000)] = 20
    grid: Annotated[Literal["quantiles", "even"], "quantiles of the column, or evenly spaced values"] = "quantiles"
    percentiles: Annotated[tuple[float, float], "where a grid begins and ends, in percent", Range(0, 100)] = (2.5, 97.5)
    values: Annotated[np.ndarray | None, "the grid itself, instead of one made from the data"] = None
    centre: Annotated[Literal["off", "first", "middle", "last"], "where curves are set to 0"] = "off"
    weights: Annotated[Any, "a weight per row: an array, or the name of a column of the data"] = None
    rows: Annotated[int, "most rows that are used; of more, so many are drawn", Range(1)] = 500

    def analyse(self, study: Study) -> Analysis:
        """Score the rows over the grids and average."""
        used = study.at_most(self.rows)
        weights = self._weights(used)
        axes, told = axes_of(used, self.columns, Grids(self.points, self.grid == "even", self.percentiles, self.values))
        notes = [f"{used.count:,} of {study.count:,} rows were drawn"] if used.count < study.count else []
        notes += told
        if self.pair:
            if len(axes) != 2 or self.columns is None:
                raise SettingError(
                    f"a surface is of two columns, and {'none was' if self.columns is None else len(axes)} named",
                    tip="--set columns='FIRST,SECOND' --set pair=true",
                )
            return self._surface(used, axes, weights, notes)
        return self._curves(used, axes, weights, notes)

    def _weights(self, study: Study) -> np.ndarray:
        if self.weights is None:
            return np.full(study.count, 1 / study.count)
        weights = study.numbers(self.weights, "weights")
        if (weights < 0).any() or weights.sum() <= 0:
            raise InputError("weights must be 0 or more, and not all 0", where=study.source)
        shares: np.ndarray = weights / weights.sum()
        return shares

    def _curves(self, study: Study, axes: list[Axis], weights: np.ndarray, notes: list[str]) -> Analysis:
        curves = Curves(study, sum(len(axis.grid) for axis in axes))
        outputs = curves.outputs
        behind = np.unique(np.linspace(0, study.count - 1, BEHIND).round().astype(np.intp))  # data may be sorted
        found: list[tuple[Axis, np.ndarray, np.ndarray, np.ndarray]] = []
        for axis, single in zip(axes, curves.over([[axis] for axis in axes]), strict=True):
            one = centred(single, self.centre)
            mean = np.einsum("n,ngk->kg", weights, one)
            spread = np.sqrt(np.einsum("n,ngk->kg", weights, (one - mean.T) ** 2))
            found.append((axis, mean, spread, one[behind, :, 0]))
        strength = np.array([mean.std(axis=1).max() for _, mean, _, _ in found])
        order = np.argsort(-strength, kind="stable").tolist()
        arrays: dict[str, np.ndarray] = {"series": np.array(outputs.names)}
        arrays["panels"] = np.array([found[k][0].column.name for k in order])
        rows = []
        for place, k in enumerate(order):
            axis, mean, spread, single = found[k]
            arrays |= {f"grid/{place}": axis.labels, f"mean/{place}": mean, f"spread/{place}": spread}
            arrays |= data_on(axis, place)
            if outputs.count == 1:
                arrays[f"single/{place}"] = single
            strongest = int(mean.std(axis=1).argmax())
            low, high = int(mean[strongest].argmin()), int(mean[strongest].argmax())
            rows.append(
                (
                    axis.column.name,
                    float(strength[k]),
                    float(np.ptp(mean[strongest])),
                    axis.column.spelled(axis.grid[low]),
                    axis.column.spelled(axis.grid[high]),
                    *([outputs.names[strongest]] if outputs.count > 1 else []),
                )
            )
        value = value_words(outputs, study.model.spec.task, is_centred=self.centre != "off")
        head = ("column", "strength", "range", "lowest at", "highest at")
        rest = f" Thin: {len(behind)} single rows." if outputs.count == 1 else ""
        return Analysis(
            "",
            (*head, "class") if outputs.count > 1 else head,
            tuple(rows),
            arrays,
            picture="curves",
            words={
                "title": f"partial dependence: {value}",
                "below": f"mean over {study.count:,} row{'' if study.count == 1 else 's'}",
                "value": f"mean {value}",
                "notes": f"Thick: the mean.{rest}",
            },
            notes=tuple(notes),
            evaluations=curves.evaluations,
        )

    def _surface(self, study: Study, axes: list[Axis], weights: np.ndarray, notes: list[str]) -> Analysis:
        if self.values is not None:
            raise SettingError("values are the grid of one column; a surface has two", tip="leave out values or pair")
        if self.centre != "off":
            raise SettingError("a surface is not centred", tip="leave out centre or pair")
        first, second = axes
        curves = Curves(study, len(first.grid) * len(second.grid))
        outputs = curves.outputs
        if outputs.count > 1:
            raise SettingError(f"a surface is of one class, and the model has {outputs.count}", tip=outputs.example)
        (single,) = curves.over([axes])
        mean = np.einsum("n,nghk->gh", weights, single)
        both = mean - mean.mean(axis=0) - mean.mean(axis=1)[:, None] + mean.mean()
        low, high = (np.unravel_index(int(k), mean.shape) for k in (mean.argmin(), mean.argmax()))

        def at(place: tuple[Any, ...]) -> tuple[str, str]:
            return first.column.spelled(first.grid[place[0]]), second.column.spelled(second.grid[place[1]])

        name_a, name_b = first.column.name, second.column.name
        interaction = float(np.sqrt((both**2).mean()))
        value = value_words(outputs, study.model.spec.task, is_centred=False)
        rows = (
            ("lowest", float(mean.min()), *at(low)),
            ("highest", float(mean.max()), *at(high)),
        )
        notes = [
            *notes,
            f"interaction of the two: {interaction:.3g}, root mean square of what no sum of two curves gives",
        ]
        return Analysis(
            "",
            ("", f"mean {value}", name_a, name_b),
            rows,
            {
                "panels": np.array([name_a, name_b]),
                "grid/0": first.labels,
                "grid/1": second.labels,
                "mean": mean,
                "interaction": both,
            },
            picture="surface",
            words={
                "title": f"partial dependence on two columns: {value}",
                "below": f"mean over {study.count:,} row{'' if study.count == 1 else 's'}",
                "value": f"mean {value}",
                "notes": "",
            },
            notes=tuple(notes),
            evaluations=curves.evaluations,
        )


def data_on(axis: Axis, place: int) -> dict[str, np.ndarray]:
    """Return the deciles of a column's own values, for the marks below its curve; nothing for categories."""
    if axis.labels.dtype.kind != "f" or axis.column.is_category:
        return {}
    return {f"data/{place}": np.percentile(axis.column.known.astype(np.float64), np.arange(10, 100, 10))}
