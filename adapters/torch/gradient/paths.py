"""Paths: what a target gains along the way that tensors take while the inputs move from a reference to the sample."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from ..convert import NAMES
from .slopes import Slopes, Values, broad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.problem import Problem


class Path(Protocol):
    """Ways of the explained tensors, each of ``length`` points, at least three, in order.

    ``owners`` (W,) says which problem each way belongs to; ``points(way, place)`` returns the explained tensors
    (B, ...) at the point number ``place`` (B,), from 0 on, of the ways ``way`` (B,).
    """

    @property
    def length(self) -> int:
        """Points of each way."""

    @property
    def owners(self) -> torch.Tensor:
        """The problem of each way."""

    def points(self, way: torch.Tensor, place: torch.Tensor) -> Values:
        """Return points."""


@dataclass(frozen=True)
class Straight:
    """Ways x0 + t (x - x0) from each reference to the sample it stands in for, at the given t."""

    slopes: Slopes
    places: torch.Tensor

    @property
    def length(self) -> int:
        """Points from a reference to its sample."""
        return len(self.places)

    @property
    def owners(self) -> torch.Tensor:
        """The problem of each reference."""
        return self.slopes.references.owners

    @property
    def moving(self) -> list[str]:
        """The explained tensors for which some reference differs from its sample."""
        known, references = self.slopes.values, self.slopes.references.values
        return [n for n in self.slopes.names if bool((references[n] != known[n][self.owners]).any())]

    def points(self, way: torch.Tensor, place: torch.Tensor) -> Values:
        """Return points between the references and the samples."""
        found = {}
        for name in self.slopes.names:
            start, end = self.slopes.references.values[name][way], self.slopes.values[name][self.owners[way]]
            t = broad(self.places[place], start).to(start.dtype)
            found[name] = start * (1 - t) + end * t
        return found


def tapping(problems: Sequence[Problem], taps: Sequence[str]) -> Slopes:
    """Return slopes whose inputs move and whose values and gradients are those at the taps."""
    slopes = Slopes.of(problems, taps=taps)
    return dataclasses.replace(slopes, places=dataclasses.replace(slopes.places, unrelated=()))


def gathered(slopes: Slopes, moving: Sequence[str]) -> bool:
    """Say whether all that these of the explained tensors do to the target goes through the taps."""
    names, probe = slopes.twin.module.meta[NAMES], slopes.twin.layout.probe
    ends = {names[tap] for tap in slopes.taps}
    wanted = {names[slopes.problems[0].target.tensor]} - ends
    for node in reversed(list(slopes.twin.module.graph.nodes)):
        has_gradient = node.name not in probe.dtypes or probe.is_float(node.name)  # lists of tensors have no dtype
        if node.name in wanted and has_gradient:
            wanted.update(n.name for n in node.all_input_nodes if n.name not in ends)
    return not any(names[name] in wanted for name in moving)


def spread(points: int, slopes: Slopes) -> torch.Tensor:
    """Return the middles of so many equal parts of [0, 1], and before and after them the ends."""
    middles = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return torch.cat([middles.new_zeros(1), middles, middles.new_ones(1)]).to(slopes.twin.layout.device)


def mean_gradients(before: torch.Tensor, after: torch.Tensor, place: torch.Tensor, length: int) -> torch.Tensor:
    """Return the gradient on the way to the point ``place`` (B,) from the one before it: the mean of both.

    The gradients at the two ends of a way do not count: a network of ReLUs often has its kinks at a baseline of zero,
    and a gradient of zero there.
    """
    first, last = broad(place == 1, after), broad(place == length - 1, after)
    return torch.where(first, after, torch.where(last, before, (before + after) / 2))


def line_integral(slopes: Slopes, path: Path, method: str) -> Values:
    """Return the integral of the gradient along the way of each tap y, averaged over the ways of a problem (P, ...).

    It is the sum over neighbouring points of ``mean gradient * (y_{k+1} - y_k)``; its error falls with the square of
    their number. Memory does not grow with it.
    """
    shares = 1 / torch.bincount(path.owners).double()
    sums: Values = {}
    before: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for rows in slopes.chunks(len(path.owners) * path.length, method):
        way, place = rows // path.length, rows % path.length
        owners = path.owners[way]
        step = slopes.run(path.points(way, place), owners)
        for tap in slopes.taps:
            y, g = step.activations[tap], step.gradients[tap]
            y0, g0 = before.get(tap, (y[:1], g[:1]))
            means = mean_gradients(torch.cat([g0, g[:-1]]), g, place, path.length)
            gains = (y.diff(dim=0, prepend=y0) * means).double()
            weights = shares[owners] * (place > 0)  # a first point has no way behind it
            total = sums.setdefault(tap, gains.new_zeros((len(slopes.problems), *gains.shape[1:])))
            total.index_add_(0, owners, broad(weights, gains) * gains)
            before[tap] = y[-1:], g[-1:]
    return sums
