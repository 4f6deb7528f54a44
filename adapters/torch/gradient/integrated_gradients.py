"""Integrated gradients: the gradient averaged on the straight way from a reference to the sample."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ....engine.errors import SettingError
from ....engine.registry import GRADIENT, register
from ....engine.settings import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes, Values

Rule = Literal["gauss-legendre", "riemann-left", "riemann-right", "riemann-middle", "trapezoid"]
PANEL = 256  # points of one Gauss-Legendre formula; more are put into panels of equal length
MOST_POINTS = 1_000_000
MOST_REFINED = 1 << 14  # points at which a tolerance that is not met is given up


@register("explainer", "integrated-gradients", needs=GRADIENT, source="Sundararajan et al. 2017, arXiv:1703.01365")
@dataclass(frozen=True)
class IntegratedGradients:
    """The gradient on the straight way from a reference to the sample, times the way.

    ``S_i = (x_i - x0_i) integral_0^1 df(x0 + t (x - x0)) / dx_i dt``, with as many ``points`` t_k and weights as the
    rule says; several references x0 (``baseline``) are averaged. The values add up to score minus baseline score but
    for the error of the sum over points, which is reported as ``gap``. With a ``tolerance``, the points are doubled
    until ``|gap| <= tolerance * max(1, |score - baseline score|)``, at most to 16384; a tolerance that is not met is
    told in a note. Memory does not grow with the points.

    At an inner tensor the way is straight in that tensor: from its value at the reference to that at the sample, with
    all inputs at the sample. So the values add up for every tensor; the baseline score is that of the sample with the
    tensor's value of the reference. (The integral along the values that the tensor takes while the inputs go their
    straight way is conductance.) Where an input holds integers, the same is done at its first floating-point tensor.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365, eq. 1 and 3.
    """

    points: Annotated[int, "points t at which the gradient is taken, per reference", Range(1, MOST_POINTS)] = 32
    rule: Annotated[Rule, "where the points are and what they weigh"] = "gauss-legendre"
    baseline: Annotated[Any, "the reference x0: a number, array or name (see docs); several are averaged"] = "auto"
    tolerance: Annotated[
        float | None,
        "double the points until the gap is below this; a share of the difference of scores where that exceeds 1",
        Range(0, open_low=True),
    ] = None

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        found = self._with_points(problems, self.points)
        return found if self.tolerance is None else self._refined(problems, found, self.tolerance)

    def _with_points(self, problems: Sequence[Problem], points: int) -> list[Explanation]:
        from .slopes import together

        t, weights = nodes(self.rule, points)
        return together(problems, lambda slopes: _explained(slopes, t, weights), references=True)

    def _refined(self, problems: Sequence[Problem], found: list[Explanation], tolerance: float) -> list[Explanation]:
        """Double the points of those whose gap is too large, until none is left or the points are too many."""
        found, points = list(found), self.points
        while missed := [k for k, one in enumerate(found) if not _met(one, tolerance)]:
            if points * 2 > max(MOST_REFINED, self.points):
                note = f"the tolerance {tolerance:g} is not met with {points} points"
                for k in missed:
                    found[k] = dataclasses.replace(found[k], notes=(*found[k].notes, note))
                break
            points *= 2
            for k, finer in zip(missed, self._with_points([problems[k] for k in missed], points), strict=True):
                found[k] = dataclasses.replace(finer, evaluations=found[k].evaluations + finer.evaluations)
        return found


def _explained(slopes: Slopes, t: np.ndarray, weights: np.ndarray) -> list[Explanation]:
    references = slopes.references
    return slopes.explanations(
        _integral(slopes, t, weights),
        evaluations=1 + int(references.counts.max()) * (1 + len(t)),
        baseline_scores=references.mean_scores(),
        complete=True,
    )


def _met(found: Explanation, tolerance: float) -> bool:
    gap, base = found.gap or 0.0, found.baseline_score or 0.0
    return bool(abs(gap) <= tolerance * max(1.0, abs(found.score - base)))


def _integral(slopes: Slopes, t: np.ndarray, weights: np.ndarray) -> Values:
    """Return the sum over points of the gradients times the way, averaged over each problem's references."""
    import torch

    from .slopes import broad

    references, count = slopes.references, len(t)
    device = references.owners.device
    places, shares = torch.tensor(t, device=device), torch.tensor(weights, device=device)
    values = slopes.sums()
    for rows in slopes.chunks(len(references.owners) * count, "integrated-gradients"):
        reference, point = rows // count, rows % count
        owners = references.owners[reference]
        share = shares[point] / references.counts[owners]
        starts = {n: references.values[n][reference] for n in slopes.names}
        ways = {n: slopes.values[n][owners] - starts[n] for n in slopes.names}
        on_way = {n: starts[n] + broad(places[point], way).to(way.dtype) * way for n, way in ways.items()}
        gradients = slopes.run(on_way, owners).gradients
        for name, sums in values.items():
            sums.index_add_(0, owners, broad(share, sums) * gradients[name] * ways[name])
    return values


@lru_cache(maxsize=64)
def nodes(rule: Rule, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points in [0, 1] and weights that add up to 1.

    Gauss-Legendre is exact for polynomials of degree 2 count - 1; above 256 points the range is cut into panels of
    equal length with at most as many each.
    """
    if rule == "gauss-legendre":
        return _panels(count)
    if rule == "trapezoid":
        if count < 2:
            raise SettingError("the trapezoid rule takes at least 2 points, not 1")
        weights = np.full(count, 1 / (count - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, count), weights
    shift = {"riemann-left": 0.0, "riemann-middle": 0.5, "riemann-right": 1.0}[rule]
    return (np.arange(count) + shift) / count, np.full(count, 1 / count)


def _panels(count: int) -> tuple[np.ndarray, np.ndarray]:
    panels = math.ceil(count / PANEL)
    sizes = [len(part) for part in np.array_split(np.arange(count), panels)]
    formulas = [_gauss_legendre(size) for size in sizes]
    places = np.concatenate([(k + t) / panels for k, (t, _) in enumerate(formulas)])
    return places, np.concatenate([w / panels for _, w in formulas])


@lru_cache(maxsize=64)
def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the formula on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(count)
    return (x + 1) / 2, w / 2
