"""What is left of a model when channels of its layers are taken away, in one order or another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .. import graph
from ..errors import CapabilityError, printable
from ..metrics.altered import altered
from ..rows import first_row, has_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..analyses.study import Study
    from ..graph import Channels
    from ..model import Model
    from .scores import Judge

SAME = 1e-3  # relative to the largest output: how far the model with gates may be from the original one


@dataclass(frozen=True, eq=False)
class Curve:
    """Along one way of ordering channels, with R orders: the score and the mean output (R, G) with g channels gone."""

    scores: np.ndarray
    means: np.ndarray


@dataclass(frozen=True, eq=False)
class Removal:
    """A study's model, and the same with a gate for each channel of some layers.

    Taking a channel away means that what it makes is zero behind its normalisation and activation: as if the layers
    that read it had no weights for it.
    """

    study: Study
    judge: Judge
    layers: tuple[Channels, ...]

    @property
    def total(self) -> int:
        """How many channels there are, M."""
        return sum(layer.count for layer in self.layers)

    @cached_property
    def _gated(self) -> tuple[Model, str, int]:
        model = self.study.model
        batches = [i.shape[i.batch_axis] for i in model.inputs if i.batch_axis is not None]
        sizes = [n for n in batches if isinstance(n, int)]
        proto, name, length = graph.gated(model.proto, self.layers, model.folder, sizes)
        return altered(model, proto), name, length

    def feeds(self, rows: Mapping[str, np.ndarray], gone: np.ndarray) -> dict[str, np.ndarray]:
        """Return rows with the gates of the channels ``gone`` (their numbers) shut."""
        model, name, length = self._gated
        gates = np.ones(length, np.float32)
        gates[gone] = 0
        if has_rows(name, model.inputs):  # a model without a batch axis: every input has rows
            gates = np.repeat(gates[None], max(len(feed) for feed in rows.values()), axis=0)
        return {**rows, name: gates}

    def check(self) -> None:
        """Raise ``CapabilityError`` where the model with all gates open is another one than the original."""
        one, tensor = first_row(self.study.rows, self.study.model.inputs), self.judge.outputs.tensor
        (before,) = self.study.model.rows(one, (tensor,))
        (after,) = self._gated[0].rows(self.feeds(one, np.empty(0, int)), (tensor,))
        apart = np.abs(before.astype(np.float64) - after).max(initial=0.0)
        if not apart <= SAME * max(1e-6, float(np.abs(before).max(initial=0.0))):
            raise CapabilityError(
                f"channels cannot be taken away: with all of them there, '{printable(tensor)}' differs by {apart:.3g}",
                tip="please report it with the model's file, or name other layers",
            )

    def curves(self, orders: Mapping[str, Sequence[np.ndarray]], counts: Sequence[int]) -> tuple[dict[str, Curve], int]:
        """Return a curve for each way of ordering, and how many rows were run.

        ``orders`` hold by name orders (M,) of the channels' numbers; the first of each are taken away first, as many as
        ``counts`` (G,) say. What no channel is taken from is run once.
        """
        self.check()
        points = [
            (name, k, g)
            for name, several in orders.items()
            for k in range(len(several))
            for g, count in enumerate(counts)
            if count
        ]
        whole = self._scored([np.empty(0, int), *(orders[name][k][: counts[g]] for name, k, g in points)])
        (base, mean), rest = whole[0], whole[1:]
        curves = {
            name: Curve(*(np.full((len(several), len(counts)), value) for value in (base, mean)))
            for name, several in orders.items()
        }
        for (name, k, g), (score, value) in zip(points, rest, strict=True):
            curves[name].scores[k, g], curves[name].means[k, g] = score, value
        return curves, self.study.count * len(whole)

    def _scored(self, gone: Sequence[np.ndarray]) -> list[tuple[float, float]]:
        """Return score and mean output of the data without these channels, for each item of ``gone``."""
        study, judge, model = self.study, self.judge, self._gated[0]
        count = study.count
        feeds = self.feeds(study.rows, gone[0])
        scorer = study.scorer(judge.outputs, model=model, feeds=feeds, expected=count * len(gone))
        found: list[tuple[float, float]] = []
        waiting: list[np.ndarray] = []

        def batches() -> Iterator[tuple[dict[str, np.ndarray], bool]]:
            for channels in gone:
                for start in range(0, count, scorer.batch):
                    rows = study.part(slice(start, start + scorer.batch))
                    yield self.feeds(rows, channels), start + scorer.batch >= count

        for scores, is_last in scorer.stream(batches()):
            waiting.append(scores)
            if is_last:
                predictions = np.concatenate(waiting)
                found.append((judge(predictions), float(judge.own(predictions).mean())))
                waiting = []
        return found
