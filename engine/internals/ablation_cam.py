"""Ablation-CAM: a channel counts by what the score loses without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ..errors import SettingError
from ..registry import ACTIVATIONS, register
from .head import head_of
from .layer import layer_of
from .maps import activations_of, explanation_of, weighted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..problem import Problem
    from .layer import Layer

_Batch = tuple[dict[str, np.ndarray], None]


@register(
    "explainer",
    "ablation-cam",
    needs=ACTIVATIONS,
    modalities=("image", "series", "array"),
    source="Desai & Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
)
@dataclass(frozen=True)
class AblationCam:
    """Where a layer sees what the score needs: channels weighed by the drop of the score when they are set to zero.

    ``alpha_k = (S - S_k) / S`` where S_k is the score with A_k = 0, ``L = relu(sum_k alpha_k A_k)``. Only the part of
    the model behind the layer is run, once for each channel that is not zero already; of tokens, those before the grid
    keep their values.

    Source: Desai and Ramaswamy 2020, Ablation-CAM, WACV, eq. 3.
    """

    relative: Annotated[bool, "divide the drops by the score (paper); else they are in units of the score"] = True
    relu: Annotated[bool, "keep positive parts of the map only"] = True
    upsample: Annotated[bool, "enlarge the map to the input; else the map as it is, under the layer's name"] = True

    def explain(self, problem: Problem) -> Explanation:
        """Run the model behind the layer without each channel."""
        layer = layer_of(problem)
        row, score = activations_of(problem, layer)
        if self.relative and score == 0:
            raise SettingError(
                "the score is 0: a drop cannot be told relative to it", tip="set ablation-cam.relative to false"
            )
        A = layer.channels(row)
        used = np.flatnonzero(A[0].reshape(A.shape[1], -1).any(axis=1))
        alpha = np.zeros(A.shape[1])
        alpha[used] = self._drops(problem, layer, row, used, score)
        turned = self.relative and score < 0
        return explanation_of(
            problem,
            layer,
            weighted(A, alpha[None], relu=self.relu)[0],
            score=score,
            upsample=self.upsample,
            evaluations=1 + len(used),
            weights=alpha,
            notes=("the score is negative: relative drops have the other sign",) if turned else (),
        )

    def _drops(self, problem: Problem, layer: Layer, row: np.ndarray, used: np.ndarray, score: float) -> np.ndarray:
        head = head_of(problem.model, layer.tensor, problem.target.tensor, problem.sample.feeds)
        beside = {i.name: problem.sample.feeds[i.name] for i in head.inputs if i.name != layer.tensor}
        runner = head.runner(problem.target, beside | {layer.tensor: row}, expected=len(used))
        problem.progress.start(problem.method, len(used))

        def batches() -> Iterator[_Batch]:
            for start in range(0, len(used), runner.batch):
                rows = layer.without(row, used[start : start + runner.batch])
                problem.progress.advance(len(rows))
                repeated = {
                    n: np.repeat(f, len(rows), axis=0) if runner.variant.has_rows(n) else f for n, f in beside.items()
                }
                yield repeated | {layer.tensor: rows}, None

        S_k = np.concatenate([np.empty(0), *(s for s, _ in runner.stream(batches()) if s is not None)])
        return (score - S_k) / (score if self.relative else 1.0)
