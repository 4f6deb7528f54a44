"""The ledger: how much relevance comes to each node and how much of it goes on, so that losses can be found."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from ....engine.errors import ModelError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import Layout
    from .ruled import Moment
    from .sites import Site

    Sums = list[torch.Tensor | None]

LARGEST = 1e30  # of what comes to a node: the quotients that more is shared by overflow, and the rest would be lost
AWAITED = 4  # parts whose sums are remembered until they come to the node before: one that alone reads a tensor


@dataclass
class Ledger:
    """What each node keeps of the relevance that comes to it, for each of ``count`` rows."""

    layout: Layout
    count: int
    _entries: list[tuple[str, Sums, Sums]] = field(default_factory=list)
    _awaited: deque[tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=lambda: deque(maxlen=AWAITED))

    def note(self, site: Site, moment: Moment, parts: Sequence[torch.Tensor | None]) -> None:
        """Note what one node was given and what it hands on; nothing where it hands on the very same.

        What goes to a tensor that depends on no input is kept: no value that is explained comes before it.
        """
        if len(moment.R) == 1 and any(r is moment.R[0] for r in parts):
            return
        came = [self._known(R, name) for R, name in zip(moment.R, site.makes, strict=True) if R.is_floating_point()]
        ways = zip(parts, site.reads, site.signals, strict=True)
        handed = [(r, self._by_row(r, name)) for r, name, signal in ways if r is not None and signal]
        self._entries.append((site.tensor, came, [total for _, total in handed]))
        self._awaited.extend(handed)

    def lost(self) -> dict[str, torch.Tensor]:
        """Return what came less what went on (B,), by the name of the tensor that a node makes.

        Below zero where more went on than came; NaN where it cannot be seen which row an element belongs to. Raises
        ``ModelError`` where what came to a node is NaN or larger than ``LARGEST``.
        """
        found: dict[str, torch.Tensor] = {}
        for name, came, went in self._entries:
            total, passed = _total(came), _total(went)
            if total is not None and not bool((total.abs() <= LARGEST).all()):
                raise ModelError(
                    f"the relevance of '{printable(name)}' has grown beyond what 32 bits can share",
                    tip="a sum of contributions is close to 0 behind it: give its layer another rule, such as epsilon",
                )
            kept = torch.full((self.count,), torch.nan).double() if total is None or passed is None else total - passed
            found[name] = found.get(name, 0.0) + kept
        return found

    def _known(self, relevance: torch.Tensor, name: str) -> torch.Tensor | None:
        """Return the sum for each row, which may have been taken when the node behind handed it on."""
        for part, total in self._awaited:
            if part is relevance:
                return total
        return self._by_row(relevance, name)

    def _by_row(self, relevance: torch.Tensor, name: str) -> torch.Tensor | None:
        """Return the sum for each row (B,); None where it cannot be seen which row an element belongs to."""
        if self.count == 1 and self.layout.rows <= 1:
            return relevance.sum()[None]
        axis = self.layout.axis(name)
        if axis is not None:
            others = [k for k in range(relevance.dim()) if k != axis]
            return (relevance.sum(others) if others else relevance)[: self.count]
        one, two = self.layout.probe.one.get(name, ()), self.layout.probe.two.get(name, ())
        merged = [k for k, (a, b) in enumerate(zip(one, two, strict=False)) if b == 2 * a]
        if len(merged) == 1 and relevance.shape[merged[0]] % self.count == 0:  # rows times heads, rows first
            return relevance.movedim(merged[0], 0).reshape(self.count, -1).sum(1)
        return None


def _total(sums: Sums) -> torch.Tensor | None:
    known = [s.double() for s in sums if s is not None]
    if len(known) < len(sums):
        return None
    return torch.stack(known).sum(0).cpu() if known else torch.zeros((), dtype=torch.float64)
