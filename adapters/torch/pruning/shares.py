"""What of a score goes back to each channel of a network's layers, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ....engine.errors import ModelError, SettingError, nearest, printable
from ....engine.rows import has_rows
from ..convert import NAMES
from ..gradient.slopes import MOST_TOGETHER, TOGETHER_BYTES, Slopes
from ..rules import Flow
from ..twin import twin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ....engine.graph import Channels
    from ....engine.problem import Problem
    from ..rules import RuleSet

Shares = tuple[np.ndarray, np.ndarray]


def shares(problems: Sequence[Problem], layers: Sequence[Channels], rules: RuleSet) -> Iterator[Shares]:
    """Yield for some problems after the others relevance and activations (P, M) of all channels of the layers.

    The relevance of a channel is the sum over its positions, its activation the mean. All problems have targets in one
    tensor; layers whose channels end in a tensor that the twin does not have raise ``SettingError``.
    """
    first = problems[0]
    known = twin(first.model, first.sample.feeds).module.meta[NAMES]
    for layer in layers:
        if layer.tensor not in known:
            raise SettingError(
                f"relevance cannot be taken at '{printable(layer.tensor)}', where the channels of layer "
                f"'{printable(layer.layer)}' end",
                tip=nearest(layer.tensor, known) or "name other layers",
            )
    taps = tuple(dict.fromkeys(layer.tensor for layer in layers))
    weight = sum(f.nbytes for n, f in first.sample.feeds.items() if has_rows(n, first.model.inputs))
    step = max(1, min(MOST_TOGETHER, TOGETHER_BYTES // max(1, weight)))
    for start in range(0, len(problems), step):
        slopes = Slopes.of(problems[start : start + step], taps=taps, rules=rules)
        for found in Flow(slopes).batches(slopes.values, slopes.everyone):
            relevance = [_by_channel(found.relevance[layer.tensor], layer).sum(2) for layer in layers]
            activations = [_by_channel(found.values[layer.tensor], layer).mean(2) for layer in layers]
            pair = torch.cat(relevance, 1).cpu().numpy(), torch.cat(activations, 1).cpu().numpy()
            if not all(np.isfinite(part).all() for part in pair):
                raise ModelError(
                    f"the relevance of '{printable(first.target)}' at the layers holds NaN or infinity",
                    tip="try other rules: --set preset=uniform, or rules='epsilon:0.01'",
                )
            yield pair


def _by_channel(rows: torch.Tensor, layer: Channels) -> torch.Tensor:
    """Return rows (B, ...) of a layer's tensor as (B, channels, positions) in float64."""
    return rows.double().movedim(layer.axis, 1).reshape(len(rows), layer.count, -1)
