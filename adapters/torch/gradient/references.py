"""References: what the baselines of problems put in the place of the tensors that are explained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from ....engine.errors import SettingError, printable
from ....engine.rows import has_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.masking.baselines import Baseline
    from .rows import Rows, Values
    from .slopes import Slopes


@dataclass(frozen=True)
class References:
    """Stand-ins of all problems, one after the other: ``values`` (R1 + R2 + ..., ...) and their ``scores``.

    ``owners`` says which problem each belongs to.
    """

    values: Values
    scores: torch.Tensor
    owners: torch.Tensor

    @cached_property
    def counts(self) -> torch.Tensor:
        """References per problem."""
        return torch.bincount(self.owners)

    def mean_scores(self) -> list[float]:
        """Return the baseline score of each problem."""
        sums = torch.zeros_like(self.counts, dtype=torch.float64).index_add_(0, self.owners, self.scores)
        return [float(s) for s in sums / self.counts]


def references_of(slopes: Slopes) -> References:
    """Return the references of the problems; inputs without a stand-in stay as they are.

    For an inner tensor these are its values when the inputs are at the baseline. Of a baseline that asks for the
    largest effect, the reference whose score differs most from the sample's is kept.
    """
    rows = slopes.rows
    baselines = [p.baseline for p in slopes.problems]
    if any(b.weights is not None for b in baselines):
        raise SettingError(
            "gradient methods count all references alike; this baseline weighs them", tip="use 'background:10'"
        )
    for name in rows.shared:
        raise SettingError(
            f"no baseline stands in for input '{printable(name)}', which all rows share",
            tip="use saliency or input-x-gradient, which need no baseline",
        )
    owners = torch.tensor([k for k, b in enumerate(baselines) for _ in range(b.count)], device=slopes.everyone.device)
    names = [spec.name for spec in rows.inputs]
    feeds = {n: _stand_ins(n, rows, baselines) if has_rows(n, rows.inputs) else rows.feeds[n] for n in names}
    values = rows.at_places(feeds)
    scores = slopes.scores_at(values, owners)
    if not any(b.reduce == "largest-effect" for b in baselines):
        return References(values, scores, owners)
    kept = _largest(baselines, owners, (scores - slopes.scores[owners]).abs())
    return References({n: v[kept] for n, v in values.items()}, scores[kept], owners[kept])


def _stand_ins(name: str, rows: Rows, baselines: Sequence[Baseline]) -> torch.Tensor:
    parts = [
        b.references[name] if name in b.references else np.repeat(p.sample.feeds[name], b.count, axis=0)
        for p, b in zip(rows.problems, baselines, strict=True)
    ]
    return rows.tensor(np.concatenate(parts))


def _largest(baselines: Sequence[Baseline], owners: torch.Tensor, effects: torch.Tensor) -> torch.Tensor:
    """Return which references count: of each problem the one of largest effect, where its baseline asks for that."""
    kept = []
    for k, baseline in enumerate(baselines):
        own = torch.nonzero(owners == k).flatten()
        kept.append(own[effects[own].argmax()][None] if baseline.reduce == "largest-effect" else own)
    return torch.cat(kept)
