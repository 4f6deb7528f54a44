"""Rows: how values of tensors become the arguments of a twin's part, and its result the targets of several problems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from ....engine.rows import has_rows
from ..convert import NAMES
from ..dtypes import to_tensor

if TYPE_CHECKING:
    from ....engine.model import TensorSpec
    from ....engine.problem import Problem
    from ..twin import Twin
    from .places import Places

Values = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Rows:
    """The inputs of problems of one model, and which rows go where; the batch axis is first outside of the twin."""

    twin: Twin
    problems: tuple[Problem, ...]
    places: Places

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        return self.problems[0].model.inputs

    @cached_property
    def feeds(self) -> Values:
        """The inputs of all problems, (P, ...); one without rows as it is."""
        first = self.problems[0].sample.feeds
        return {
            spec.name: self.tensor(np.concatenate([p.sample.feeds[spec.name] for p in self.problems]))
            if has_rows(spec.name, self.inputs)
            else self.tensor(first[spec.name])
            for spec in self.inputs
        }

    def at_places(self, feeds: Values) -> Values:
        """Return the explained tensors for rows of inputs; an input that all rows share gets a row for each problem."""
        inner = self.places.entered
        arrays = {n: v.cpu().numpy() for n, v in feeds.items()} if inner else {}
        made = dict(zip(inner, self.twin.values(arrays, inner), strict=True)) if inner else {}
        shared = {n: feeds[n].expand(len(self.problems), *feeds[n].shape) for n in self.shared}
        return {n: self.tensor(made[n]) if n in made else shared.get(n, feeds[n]) for n in self.places.names}

    @property
    def shared(self) -> frozenset[str]:
        """The explained inputs that all rows share."""
        listed = (spec.name for spec in self.inputs if spec.name in self.places.names)
        return frozenset(name for name in listed if not has_rows(name, self.inputs))

    def arguments(self, points: Values, owners: torch.Tensor) -> list[torch.Tensor]:
        """Return what a part takes (see ``places.part_of``) for rows of the explained tensors (B, ...)."""
        given = [self._argument(spec, points, owners) for spec in self.inputs]
        return given + [self._placed(points[n], self.axis(n)) for n in self.places.entered]

    def targets(self, made: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Return each row's own target (B,) in float64 from the target tensor as the graph gives it."""
        rows = self.leading(self.problems[0].target.tensor, made, len(owners))
        indices: dict[tuple[int | None, ...], list[int]] = {}
        for row, owner in enumerate(owners.tolist()):
            indices.setdefault(self.problems[owner].target.index, []).append(row)
        parts = []
        for index, own in indices.items():
            mine = rows if len(indices) == 1 else rows[own]
            chosen = mine[(slice(None), *(slice(None) if i is None else i for i in index))].double()
            parts.append(chosen.flatten(1).mean(1) if chosen.dim() > 1 else chosen)
        if len(parts) == 1:
            return parts[0]
        order = torch.tensor([row for own in indices.values() for row in own], device=rows.device)
        return torch.cat(parts)[torch.argsort(order)]

    def leading(self, name: str, value: torch.Tensor, count: int) -> torch.Tensor:
        """Put the batch axis of a tensor first, without the rows that only filled up the batch."""
        return self.twin.layout.leading(self.twin.module.meta[NAMES][name], value, count)

    def axis(self, name: str) -> int | None:
        """Return where the graph has the batch axis of a tensor."""
        return self.twin.layout.axis(self.twin.module.meta[NAMES][name])

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return an array as the twin takes it."""
        wide = array.astype(np.float32) if array.dtype == np.float16 else array
        return to_tensor(wide).to(self.twin.layout.device)

    def _argument(self, spec: TensorSpec, points: Values, owners: torch.Tensor) -> torch.Tensor:
        if not has_rows(spec.name, self.inputs):
            return points[spec.name][0] if spec.name in self.shared else self.feeds[spec.name]
        rows = points[spec.name] if spec.name in self.places.names else self.feeds[spec.name][owners]
        return self._placed(rows, spec.batch_axis)

    def _placed(self, rows: torch.Tensor, axis: int | None) -> torch.Tensor:
        """Fill rows up to the number that a run must have, and put their axis where the graph has it."""
        missing = self.twin.layout.rows - len(rows)
        if missing > 0:
            rows = torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])
        return rows[0] if axis is None else rows.movedim(0, axis)
