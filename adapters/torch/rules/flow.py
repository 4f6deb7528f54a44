"""One run there and back under a set of rules: relevance at tensors, and where it is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..gradient.places import part_of
from .ledger import Ledger
from .ruled import Passage, passing, referring
from .ruleset import NODES, UNUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import fx

    from ..gradient.slopes import Slopes, Values
    from .ruleset import RuleSet

IMAGES = 4  # axes


@dataclass(frozen=True)
class Returned:
    """What comes back for rows (B, ...): scores (B,), values and relevance (or gradients) at the taps.

    ``lost`` (B,) says for each node with a rule how much relevance it kept, by the tensor that it makes.
    """

    scores: torch.Tensor
    values: Values
    relevance: Values
    lost: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Flow:
    """Runs of the part of a model that some problems need, under a set of rules.

    ``slopes`` are those problems (``Slopes.of(problems, taps, wrt, rules)`` with the rules); rows and owners are as
    there.
    """

    slopes: Slopes

    @property
    def rules(self) -> RuleSet:
        """The rules."""
        return self.slopes.rules  # type: ignore[return-value]

    @property
    def part(self) -> fx.GraphModule:
        """The graph with the rules in it."""
        s = self.slopes
        return part_of(s.twin, s.problems[0].target.tensor, s.places, s.taps, s.rules)

    @property
    def unused(self) -> tuple[str, ...]:
        """Keys of the rules that a person gave and that no node has."""
        found: tuple[str, ...] = self.part.meta[UNUSED]
        return found

    @property
    def nodes(self) -> tuple[tuple[str, str, str, str], ...]:
        """For each node with a rule: the tensor that it makes, its kind and form, and the name of the rule."""
        found: tuple[tuple[str, str, str, str], ...] = self.part.meta[NODES]
        return found

    def run(self, points: Values, owners: torch.Tensor, references: Values | None = None) -> Returned:
        """Run at most ``slopes.batch`` rows of values of the explained tensors; with references as many rows of these.

        With references, rules see what their nodes read and made at them (``Moment.xs0``).
        """
        s, count = self.slopes, len(owners)
        ledger = Ledger(s.twin.layout, count) if self.rules.flow == "relevance" else None
        with passing(ledger) as passage:
            if references is not None:
                self._refer(passage, references, owners)
            with s.twin.layout.settings(), torch.enable_grad():
                made, *taps = self.part(*self._arguments(points, owners))
                end = made.detach().requires_grad_()
                scores = s.finite(s.rows.targets(end, owners))
                (slope,) = torch.autograd.grad(scores.sum(), end)
                taps = taps[: len(s.taps)]
                found = torch.autograd.grad(made, taps, self.rules.start(made, slope), materialize_grads=True)
        lead = s.rows.leading
        return Returned(
            scores.detach(),
            {n: lead(n, t.detach(), count) for n, t in zip(s.taps, taps, strict=True)},
            {n: lead(n, r, count).contiguous() for n, r in zip(s.taps, found, strict=True)},
            ledger.lost() if ledger is not None else {},
        )

    def batches(self, points: Values, owners: torch.Tensor, references: Values | None = None) -> Iterator[Returned]:
        """Run any number of rows, as many at a time as fit."""
        for start in range(0, len(owners), self.slopes.batch):
            rows = slice(start, start + self.slopes.batch)
            at = None if references is None else {n: v[rows] for n, v in references.items()}
            yield self.run({n: v[rows] for n, v in points.items()}, owners[rows], at)

    def at_samples(self) -> Returned:
        """Return what comes back at the samples themselves, (P, ...)."""
        return joined(list(self.batches(self.slopes.values, self.slopes.everyone)))

    def _refer(self, passage: Passage, references: Values, owners: torch.Tensor) -> None:
        s = self.slopes
        with referring(passage), s.twin.layout.settings(), torch.no_grad():
            self.part(*self._arguments(references, owners))

    def _arguments(self, points: Values, owners: torch.Tensor) -> list[torch.Tensor]:
        """Return the part's arguments; images with their channels side by side where filters of single channels read.

        On CPUs these are several times as fast then.
        """
        given = self.slopes.rows.arguments(points, owners)
        if self.slopes.twin.layout.device.type != "cpu" or not _filters_channels(self.part):
            return given
        return [a.contiguous(memory_format=torch.channels_last) if a.dim() == IMAGES else a for a in given]


def _filters_channels(part: fx.GraphModule) -> bool:
    return any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in part.modules())


def joined(runs: list[Returned]) -> Returned:
    """Put the rows of several runs one after the other."""
    first = runs[0]
    return Returned(
        torch.cat([r.scores for r in runs]),
        {n: torch.cat([r.values[n] for r in runs]) for n in first.values},
        {n: torch.cat([r.relevance[n] for r in runs]) for n in first.relevance},
        {n: torch.cat([r.lost[n] for r in runs]) for n in first.lost},
    )
