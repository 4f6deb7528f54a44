"""Slopes: scores and gradients of the targets of several problems, at any values of the tensors that are explained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ....engine.errors import ModelError, printable
from ....engine.explanation import Explanation
from ....engine.problem import Problem
from ....engine.rows import has_rows
from ..convert import SOURCES
from ..nonfinite import TIP, nonfinite
from ..twin import Twin, twin
from .places import Places, part_of, places_of
from .references import References, references_of
from .rows import Rows, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import fx

    from ..plan import Rules

__all__ = ["MOST_TOGETHER", "TOGETHER_BYTES", "Shifted", "Slopes", "Step", "Values", "broad", "together"]

TOGETHER_BYTES = 32 << 20  # of the inputs of problems that are solved together
MOST_TOGETHER = 1024
_FLAT = frozenset({"Ceil", "Floor", "Round", "Sign"})  # operators whose gradient is zero wherever they have one


@dataclass(frozen=True)
class Shifted(Problem):
    """A problem whose explained tensors are moved by ``shift`` (name -> (1, ...)) before anything else is done."""

    shift: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Scores (B,) in float64, and at the tapped tensors activations and gradients (B, ...)."""

    scores: torch.Tensor
    activations: Values
    gradients: Values


@dataclass(frozen=True, eq=False)
class Slopes:
    """The targets of problems of one model as functions of the tensors that are explained (``places.names``).

    These are the inputs, or the tensor that ``wrt`` names, or where an input holds integers the first floating-point
    tensor on its way to the target. Every other input keeps its value of the sample; an inner tensor that is explained
    is set to whatever values are asked for, and what comes before it no longer counts. Gradients are taken at ``taps``:
    other tensors between these and the target, or by default the explained ones themselves.

    The batch axis is first everywhere: P problems, B rows that each belong to one of them (``owners``).
    """

    twin: Twin
    problems: tuple[Problem, ...]
    places: Places
    taps: tuple[str, ...]
    rules: Rules | None = None

    @classmethod
    def of(
        cls,
        problems: Sequence[Problem],
        taps: Sequence[str] = (),
        wrt: str | None = None,
        rules: Rules | None = None,
    ) -> Slopes:
        """Return the slopes of problems with equal shapes and the same target tensor (see ``together``).

        Without ``wrt``, that of the problems counts, except where there are ``taps``: then inputs are moved. Raises
        ``SettingError`` for tensors that are not there or that the target does not depend on, ``CapabilityError`` where
        there is no gradient.
        """
        first = problems[0]
        found = twin(first.model, first.sample.feeds)
        wanted = wrt if wrt is not None or taps else first.wrt
        places = places_of(found, first, wanted, tuple(taps))
        return cls(found, tuple(problems), places, places.taps or places.names, rules)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that are explained."""
        return self.places.names

    @cached_property
    def rows(self) -> Rows:
        """How values become arguments of the twin."""
        return Rows(self.twin, self.problems, self.places)

    @cached_property
    def batch(self) -> int:
        """Rows that fit one run."""
        tensors = (self.problems[0].target.tensor, *self.names, *self.taps)
        return self.twin.layout.batch() if all(self.rows.axis(t) is not None for t in tensors) else 1

    @cached_property
    def values(self) -> Values:
        """The explained tensors of the samples, (P, ...)."""
        known = self.rows.at_places(self.rows.feeds)
        for name in self.names:
            shifts = [p.shift.get(name) if isinstance(p, Shifted) else None for p in self.problems]
            for k, shift in enumerate(shifts):
                if shift is not None:
                    moved = known[name].clone()
                    moved[k] += torch.as_tensor(shift[0]).to(moved)
                    known[name] = moved
        return known

    @cached_property
    def scores(self) -> torch.Tensor:
        """The targets of the samples as they are, (P,)."""
        return self.scores_at(self.values, self.everyone)

    @property
    def everyone(self) -> torch.Tensor:
        """Owners of one row for each problem."""
        return torch.arange(len(self.problems), device=self.twin.layout.device)

    @cached_property
    def references(self) -> References:
        """What the baselines put in the place of the explained tensors."""
        return references_of(self)

    def run(self, points: Values, owners: torch.Tensor) -> Step:
        """Return scores, activations and gradients for at most ``batch`` rows of values of the explained tensors."""
        made, taps = self._run(points, owners, gradients=True)
        with self.twin.layout.settings():
            found = torch.autograd.grad(made.sum(), taps, materialize_grads=True)
        scores = self.finite(made.detach())
        for name, gradient in zip(self.taps, found, strict=True):
            if not bool(torch.isfinite(gradient.sum())) and not bool(torch.isfinite(gradient).all()):
                raise self._nonfinite(name, points, owners)
        count, lead = len(owners), self.rows.leading
        return Step(
            scores,
            {n: lead(n, t.detach(), count) for n, t in zip(self.taps, taps, strict=True)},
            {n: lead(n, g, count) for n, g in zip(self.taps, found, strict=True)},
        )

    def scores_at(self, points: Values, owners: torch.Tensor) -> torch.Tensor:
        """Return the scores (B,) for any number of rows, without a way back."""
        parts = []
        for start in range(0, len(owners), self.batch):
            rows = slice(start, start + self.batch)
            parts.append(self._run({n: v[rows] for n, v in points.items()}, owners[rows], gradients=False)[0])
        return self.finite(torch.cat(parts))

    def gradients_at(self, points: Values, owners: torch.Tensor) -> Step:
        """Return what ``run`` gives for any number of rows; everything is kept in memory."""
        steps = []
        for start in range(0, len(owners), self.batch):
            rows = slice(start, start + self.batch)
            steps.append(self.run({n: v[rows] for n, v in points.items()}, owners[rows]))
        if len(steps) == 1:
            return steps[0]
        return Step(
            torch.cat([s.scores for s in steps]),
            {n: torch.cat([s.activations[n] for s in steps]) for n in self.taps},
            {n: torch.cat([s.gradients[n] for s in steps]) for n in self.taps},
        )

    def at_samples(self) -> Step:
        """Return scores, activations and gradients at the samples themselves, (P, ...)."""
        return self.gradients_at(self.values, self.everyone)

    def chunks(self, total: int, description: str) -> Iterator[torch.Tensor]:
        """Yield the numbers 0 to total - 1, as many at a time as fit one run, with a progress bar."""
        self.problems[0].progress.start(description, total)
        for start in range(0, total, self.batch):
            stop = min(total, start + self.batch)
            yield torch.arange(start, stop, device=self.everyone.device)
            self.problems[0].progress.advance(stop - start)

    def sums(self) -> Values:
        """Return zeros in float64 shaped like the explained tensors (P, ...), for sums over rows."""
        return {n: torch.zeros_like(v, dtype=torch.float64) for n, v in self.values.items()}

    def explanations(
        self,
        values: Values,
        *,
        evaluations: int,
        scores: torch.Tensor | None = None,
        baseline_scores: Sequence[float] | None = None,
        complete: bool = False,
        errors: Values | None = None,
        notes: Sequence[tuple[str, ...]] | None = None,
    ) -> list[Explanation]:
        """Return an explanation for each problem, from values (P, ...) by name.

        ``evaluations`` are the rows that one problem took; ``scores`` (P,) those of the samples, if known. With
        ``complete`` the values promise to add up to score minus baseline score, and the gap is reported.
        """
        known = [float(s) for s in (self.scores if scores is None else scores)]
        made = []
        for k, problem in enumerate(self.problems):
            own = self._arrays(values, k, problem)
            base = None if baseline_scores is None else baseline_scores[k]
            total = math.fsum(float(a.sum()) for a in own.values())
            made.append(
                Explanation(
                    values=own,
                    method=problem.method,
                    settings={},
                    target=problem.target.text,
                    label=problem.target.label,
                    score=known[k],
                    baseline_score=base,
                    gap=total - (known[k] - base) if complete and base is not None else None,
                    standard_error=None if errors is None else self._arrays(errors, k, problem),
                    evaluations=evaluations,
                    notes=(*self.places.notes, *(notes[k] if notes is not None else ()), *self._nothing(own)),
                    sample=problem.sample,
                    manifest={"twin_difference": self.twin.difference, "torch": torch.__version__},
                )
            )
        return made

    def _arrays(self, values: Values, k: int, problem: Problem) -> dict[str, np.ndarray]:
        shared = self.rows.shared
        found = {n: (v[k] if n in shared else v[k : k + 1]).double().cpu().numpy() for n, v in values.items()}
        for name, array in found.items():
            if not np.isfinite(array).all():
                raise ModelError(
                    f"the values of '{printable(problem.target)}' at '{printable(name)}' are not all finite numbers",
                    tip=TIP,
                )
        zeros = {n: np.zeros(problem.sample.feeds[n].shape) for n in self.places.unrelated}
        return found | zeros

    def _nothing(self, values: Mapping[str, np.ndarray]) -> tuple[str, ...]:
        """Say where nothing is found, and which operators on the way have no slope, as in rounding."""
        if any(array.any() for array in values.values()):
            return ()
        flat = dict.fromkeys(n.op_type for n in self._part.meta[SOURCES].values() if n.op_type in _FLAT)
        reason = f": {', '.join(flat)} on the way to the target has no slope" if flat else ""
        return (f"every value is zero{reason}",)

    @property
    def _part(self) -> fx.GraphModule:
        return part_of(self.twin, self.problems[0].target.tensor, self.places, self.taps, self.rules)

    def _run(
        self, points: Values, owners: torch.Tensor, *, gradients: bool
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        arguments = self.rows.arguments(points, owners)
        with self.twin.layout.settings(), torch.set_grad_enabled(gradients):
            made, *taps = self._part(*arguments)
            return self.rows.targets(made, owners), taps[: len(self.taps)]

    def _nonfinite(self, name: str, points: Values, owners: torch.Tensor) -> ModelError:
        arguments = self.rows.arguments(points, owners)
        target = str(self.problems[0].target)
        return nonfinite(target, name, self._part, arguments, lambda made: self.rows.targets(made, owners))

    def finite(self, scores: torch.Tensor) -> torch.Tensor:
        """Return scores; ``ModelError`` where one is no finite number."""
        if not bool(torch.isfinite(scores).all()):
            raise ModelError(f"the target '{printable(self.problems[0].target)}' is not a finite number")
        return scores


def broad(numbers: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Give a number per row (B,) the axes of ``rows`` (B, ...)."""
    return numbers.reshape(-1, *[1] * (rows.dim() - 1))


def together(
    problems: Sequence[Problem], method: Callable[[Slopes], list[Explanation]], *, references: bool = False
) -> list[Explanation]:
    """Return the explanations of problems in their order; those that fit together go to ``method`` at once.

    That is, of one target tensor and of equal shapes, as many as fit into memory; with ``references``, along with
    their baselines.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, problem in enumerate(problems):
        groups.setdefault(_kind(problem), []).append(place)
    found: dict[int, Explanation] = {}
    for places in groups.values():
        first = problems[places[0]]
        size = max(1, sum(f.nbytes for f in first.sample.feeds.values())) * (first.baseline.count if references else 1)
        step = max(1, min(MOST_TOGETHER, TOGETHER_BYTES // size))
        for start in range(0, len(places), step):
            part = places[start : start + step]
            found |= dict(zip(part, method(Slopes.of([problems[k] for k in part])), strict=True))
    return [found[place] for place in range(len(problems))]


def _kind(problem: Problem) -> tuple[Any, ...]:
    """Return what problems must share to be solved together."""
    inputs = problem.model.inputs
    feeds = problem.sample.feeds
    shapes = tuple((n, f.shape, f.dtype.str) for n, f in sorted(feeds.items()))
    fixed = tuple(f.tobytes() for n, f in sorted(feeds.items()) if not has_rows(n, inputs))
    return id(problem.model), problem.target.tensor, problem.wrt, shapes, fixed
