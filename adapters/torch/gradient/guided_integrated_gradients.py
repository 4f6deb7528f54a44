"""Guided integrated gradients: integrated gradients on a path that moves the elements of small gradient first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ....engine.registry import GRADIENT, register
from ....engine.settings import Range
from .integrated_gradients import MOST_POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes, Values


@register(
    "explainer", "guided-integrated-gradients", needs=GRADIENT, source="Kapishnikov et al. 2021, arXiv:2106.09788"
)
@dataclass(frozen=True)
class GuidedIntegratedGradients:
    """Integrated gradients on a path that the model chooses: elements of small gradient move first.

    The path goes from a reference x0 to the sample in ``points`` steps of equal length in the L1 norm. In each step,
    of the elements that are not there yet, the ``fraction`` with the smallest ``|dF/dx_i|`` go first, all the way or as
    far as the step reaches, then the next ones. ``S_i`` is the sum over steps of the mean gradient times the step of
    x_i: noise that elements of large gradient gather on the straight path is left out. With a ``distance`` below 1, no
    element may be further ahead of the straight path, or behind it, than this part of the whole way.

    Several references are averaged. The values add up to score minus baseline score but for the reported gap. At an
    inner tensor the path is one of its values, as in integrated-gradients.

    Source: Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi 2021, Guided Integrated Gradients: an Adaptive
    Path Method for Removing Noise, arXiv:2106.09788, algorithm 1; there the paths of bounded distance go through
    points of the straight path.
    """

    points: Annotated[int, "steps from a reference to the sample, one after the other", Range(1, MOST_POINTS)] = 200
    fraction: Annotated[float, "share of the elements that move at a time", Range(0, 1)] = 0.1
    distance: Annotated[
        float, "how far an element may be from the straight path, as a part of its way; 1: any distance", Range(0, 1)
    ] = 1.0
    baseline: Annotated[Any, "the reference x0: a number, array or name (see docs); several are averaged"] = "auto"

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        return together(problems, self._explained)

    def _explained(self, slopes: Slopes) -> list[Explanation]:
        import torch

        references = slopes.references
        values = slopes.sums()
        count = len(references.owners)
        slopes.problems[0].progress.start("guided-integrated-gradients", count * (self.points + 1))
        for start in range(0, count, slopes.batch):
            self._walk(slopes, torch.arange(start, min(count, start + slopes.batch)), values)
        return slopes.explanations(
            values,
            evaluations=1 + int(references.counts.max()) * (self.points + 2),
            baseline_scores=references.mean_scores(),
            complete=True,
        )

    def _walk(self, slopes: Slopes, rows: torch.Tensor, values: Values) -> None:
        """Follow the paths from some references (B,), and add what they give to ``values``."""
        import torch

        from .paths import mean_gradients
        from .slopes import broad

        owners = slopes.references.owners[rows]
        shares = 1 / slopes.references.counts[owners].double()
        starts = {n: v[rows] for n, v in slopes.references.values.items()}
        ways = {n: slopes.values[n][owners].double() - start for n, start in starts.items()}
        lengths = _flat(ways).abs().cpu().numpy()
        progress = np.zeros_like(lengths)
        points, before = starts, slopes.run(starts, owners).gradients
        for step in range(1, self.points + 1):
            steepness = _flat(before).abs().cpu().numpy()
            goal = step / self.points
            progress = np.stack([self._moved(*row, goal) for row in zip(progress, lengths, steepness, strict=True)])
            reached = _unflat(torch.from_numpy(progress).to(owners.device), ways)
            here = {n: (starts[n] + reached[n] * ways[n]).to(starts[n].dtype) for n in starts}
            after = slopes.run(here, owners).gradients
            place = torch.full_like(owners, step)
            for name, sums in values.items():
                means = mean_gradients(before[name], after[name], place, self.points + 1)
                gains = (here[name].double() - points[name]) * means
                sums.index_add_(0, owners, broad(shares, gains) * gains)
            points, before = here, after
            slopes.problems[0].progress.advance(len(owners))

    def _moved(self, progress: np.ndarray, lengths: np.ndarray, steepness: np.ndarray, goal: float) -> np.ndarray:
        """Return how far each element (N,) of a row is when the path has done the part ``goal`` of its L1 length."""
        if goal == 1:
            return np.ones_like(progress)
        ahead = min(goal + self.distance, 1.0)
        moved: np.ndarray = np.maximum(progress, goal - self.distance)
        left = goal * lengths.sum() - lengths @ moved
        room = lengths * (ahead - moved)
        free = np.flatnonzero(room > 0)
        order = free[np.argsort(steepness[free], kind="stable")]
        size = math.floor(self.fraction * (len(progress) - 1)) + 1
        ranks = np.searchsorted(steepness[order], steepness[order])  # equal gradients have equal ranks
        rooms = np.bincount(ranks // size, weights=room[order])
        spare = left - (np.cumsum(rooms) - rooms)
        filled = np.clip(np.divide(spare, rooms, out=np.zeros(len(rooms)), where=rooms > 0), 0, 1)  # ties leave gaps
        moved[order] += filled[ranks // size] * (ahead - moved[order])
        return moved


def _flat(rows: Values) -> torch.Tensor:
    """Return the elements of all tensors, (B, N)."""
    import torch

    return torch.cat([v.flatten(1).double() for v in rows.values()], dim=1)


def _unflat(rows: torch.Tensor, like: Values) -> Values:
    import torch

    ends = np.cumsum([v[0].numel() for v in like.values()])[:-1].tolist()
    parts = torch.tensor_split(rows, ends, dim=1)
    return {n: part.reshape(v.shape) for (n, v), part in zip(like.items(), parts, strict=True)}
