"""The ledger: how much relevance comes to each node and how much of it goes on, so that losses can be found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import Layout
    from .ruled import Moment
    from .sites import Site


@dataclass
class Ledger:
    """What each node keeps of the relevance that comes to it, for each of ``count`` rows.

    ``lost`` (B,) by the name of the tensor that the node makes: what came in less what went on. Below zero where more
    went on than came.
    """

    layout: Layout
    count: int
    lost: dict[str, torch.Tensor] = field(default_factory=dict)

    def note(self, site: Site, moment: Moment, parts: Sequence[torch.Tensor | None]) -> None:
        """Note what one node was given and what it hands on; nothing where it hands on the very same."""
        if len(moment.R) == 1 and any(r is moment.R[0] for r in parts):
            return
        came = [self._by_row(R, name) for R, name in zip(moment.R, site.makes, strict=True) if R.is_floating_point()]
        went = [self._by_row(r, name) for r, name in zip(parts, site.reads, strict=True) if r is not None]
        lost = torch.stack(came).sum(0) - (torch.stack(went).sum(0) if went else 0.0)
        self.lost[site.tensor] = self.lost.get(site.tensor, 0.0) + lost

    def _by_row(self, relevance: torch.Tensor, name: str) -> torch.Tensor:
        """Return the sum for each row (B,); NaN where it cannot be seen which row an element belongs to."""
        if self.count == 1 and self.layout.rows <= 1:
            return relevance.sum()[None].double()
        axis = self.layout.axis(name)
        if axis is not None:
            first = relevance.movedim(axis, 0)
            return (first.flatten(1).sum(1) if first.dim() > 1 else first)[: self.count].double()
        one, two = self.layout.probe.one.get(name, ()), self.layout.probe.two.get(name, ())
        merged = [k for k, (a, b) in enumerate(zip(one, two, strict=False)) if b == 2 * a]
        if len(merged) == 1 and relevance.shape[merged[0]] % self.count == 0:  # rows times heads, rows first
            return relevance.movedim(merged[0], 0).reshape(self.count, -1).sum(1).double()
        return relevance.new_full((self.count,), torch.nan, dtype=torch.float64)
