"""Which tokens a target is made from behind the last attention, found by changing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import CapabilityError
from ..graph.structure import producers
from ..rows import first_row
from .head import head_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..graph.attention import Attention
    from ..model import Model
    from ..problem import Problem
    from .attention import AttentionLayers

ONE_BY_ONE = 64  # tokens that are told apart; of more that all count, all are taken
FELT = 1e-4  # relative to the change of the score when all tokens change
ROUNDING = 4e-6  # relative to the score
FURTHEST = 8  # nodes behind the attention at which its tokens are looked for

_Batch = tuple[dict[str, np.ndarray], None]


def read_tokens(problem: Problem, found: AttentionLayers, layer: Attention, queries: int) -> np.ndarray:
    """Return the tokens (n,), in ascending order, whose change behind a layer changes the target.

    Halves of the tokens are changed until one token or a group in which several count is left. All tokens are returned
    where none alone can be told, or where the target does not answer to any.
    """
    everyone = np.arange(queries)
    place = _place(problem, found, layer, queries)
    if place is None:
        return everyone
    tensor, axis = place
    tester = _Tester(problem, found.model, tensor, axis)
    whole = tester.changes([everyone])[0]
    least = max(FELT * whole, ROUNDING * abs(tester.score))
    if whole <= least:
        return everyone
    group = everyone
    while len(group) > 1:
        halves = [group[: len(group) // 2], group[len(group) // 2 :]]
        felt = [h for h, change in zip(halves, tester.changes(halves), strict=True) if change > least]
        if len(felt) != 1:
            break
        group = felt[0]
    if len(group) == 1 or len(group) > ONE_BY_ONE:
        return group
    changes = tester.changes([group[k : k + 1] for k in range(len(group))])
    kept = group[changes > least]
    return kept if len(kept) else group


class _Tester:
    """Scores of the target with some tokens of a tensor replaced by noise."""

    def __init__(self, problem: Problem, model: Model, tensor: str, axis: int) -> None:
        self.axis = axis
        feeds = problem.sample.feeds
        (self.row,) = model.rows(feeds, (tensor,))
        head = head_of(model, tensor, problem.target.tensor, feeds, free=axis)
        beside = {i.name: feeds[i.name] for i in head.inputs if i.name != tensor}
        self.tensor, self.beside = tensor, beside
        self.runner = head.runner(problem.target, beside | {tensor: self.row})
        rng = np.random.default_rng(0)
        spread = float(self.row.std()) or 1.0
        self.noise = (self.row + spread * rng.standard_normal(self.row.shape)).astype(self.row.dtype)
        self.score = float(self._scores(self.row)[0])

    def changes(self, groups: list[np.ndarray]) -> np.ndarray:
        """Return how far the score moves (groups,) when the tokens of each group change."""
        rows = np.repeat(self.row, len(groups), axis=0)
        for row, group in zip(np.moveaxis(rows, self.axis, 1), groups, strict=True):
            row[group] = np.moveaxis(self.noise, self.axis, 1)[0, group]
        return np.abs(self._scores(rows) - self.score)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        def batches() -> Iterator[_Batch]:
            for start in range(0, len(rows), self.runner.batch):
                part = rows[start : start + self.runner.batch]
                repeated = {
                    n: np.repeat(f, len(part), axis=0) if self.runner.variant.has_rows(n) else f
                    for n, f in self.beside.items()
                }
                yield repeated | {self.tensor: np.ascontiguousarray(part)}, None

        return np.concatenate([s for s, _ in self.runner.stream(batches()) if s is not None])


def _place(problem: Problem, found: AttentionLayers, layer: Attention, queries: int) -> tuple[str, int] | None:
    """Return the first tensor behind a layer that has rows and a single axis of so many tokens, and that axis."""
    nodes = found.model.proto.graph.node
    feeds = problem.sample.feeds
    name = layer.output
    maker = producers(nodes)[name]
    for _ in range(FURTHEST):
        (row,) = found.model.rows(feeds, (name,))
        (batch,) = found.model.variant((name,), first_row(feeds, found.model.inputs)).axes
        axes = [k for k in range(1, row.ndim) if row.shape[k] == queries]
        if name == layer.output and maker.op_type != "Einsum":  # values on the left are turned: (..., width, tokens)
            axes = [row.ndim - (1 if list(maker.input).index(layer.value) == 0 else 2)]
        if batch is not None and row.dtype.kind == "f" and len(axes) == 1:
            try:
                head_of(found.model, name, problem.target.tensor, feeds, free=axes[0])
            except CapabilityError:
                return None
            return name, axes[0]
        user = next((n for n in nodes if name in n.input and n.op_type != "Shape"), None)
        if user is None:
            return None
        name = user.output[0]
    return None
