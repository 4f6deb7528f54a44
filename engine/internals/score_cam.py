"""Score-CAM: a channel counts by what the score gains when the input is seen through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..errors import CapabilityError, printable
from ..masking.features import ElementNames, Features
from ..registry import ACTIVATIONS, register
from .layer import layer_of
from .maps import activations_of, explanation_of, weighted
from .view import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..game import Game
    from ..problem import Problem
    from .view import View


@register(
    "explainer",
    "score-cam",
    needs=ACTIVATIONS,
    modalities=("image", "series", "array"),
    source="Wang et al. 2020, arXiv:1910.01279",
)
@dataclass(frozen=True)
class ScoreCam:
    """Where a layer sees what the score needs: channels weighed by the score of the input masked with them.

    ``M_k = (up(A_k) - min) / (max - min)``, ``w_k = f(x M_k + baseline (1 - M_k)) - f(baseline)``,
    ``L = relu(sum_k w_k A_k)``. With ``weights='softmax'``, as in the authors' code, w is the softmax of the scores
    over the channels. A channel that is the same everywhere masks nothing: its weight is 0 and it is not run. As in the
    paper the baseline is an input of zeros, after preprocessing. One evaluation per channel and reference.

    Source: Wang et al. 2020, Score-CAM, arXiv:1910.01279, eq. 7 and 8, algorithm 1.
    """

    weights: Annotated[
        Literal["increase", "softmax"], "what the score gains over the baseline (paper), or a softmax over the channels"
    ] = "increase"
    baseline: Annotated[Any, "what replaces hidden pixels: a number, array or name (see docs)"] = 0.0
    relu: Annotated[bool, "keep positive parts of the map only"] = True
    upsample: Annotated[bool, "enlarge the map to the input; else the map as it is, under the layer's name"] = True

    def explain(self, problem: Problem) -> Explanation:
        """Mask the sample with each channel."""
        layer, view = layer_of(problem), view_of(problem)
        if view is None or len(layer.grid) != len(view.size):
            raise CapabilityError(
                f"'{printable(layer.tensor)}' has no grid in common with an input: its channels cannot mask it",
                tip="name a layer of shape (rows, channels, height, width) with --wrt",
            )
        row, score = activations_of(problem, layer)
        A = layer.channels(row)
        varied = np.flatnonzero(np.ptp(A[0].reshape(A.shape[1], -1), axis=1) > 0)
        game = problem.game(_positions(view), expected=len(varied))
        w = np.zeros(A.shape[1])
        w[varied] = self._weights(game, _masks(view, A[0], varied, game.batch))
        found = weighted(A, w[None], relu=self.relu)[0]
        return explanation_of(
            problem,
            layer,
            found,
            score=score,
            upsample=self.upsample,
            evaluations=game.evaluations + 1,
            weights=w,
            baseline_score=game.empty if self.weights == "increase" else None,
        )

    def _weights(self, game: Game, masks: Iterator[np.ndarray]) -> np.ndarray:
        scores = np.concatenate([np.empty(0), *(part for _, part in game.stream(masks))])
        if self.weights == "increase":
            return scores - game.empty
        powers = np.exp(scores - scores.max(initial=-np.inf))
        return np.asarray(powers / powers.sum())


def _positions(view: View) -> Features:
    """Make every position of the input a feature, all channels of it together."""
    one = [1] * len(view.shape)
    for axis in view.positions:
        one[axis] = view.shape[axis]
    numbers = np.arange(int(np.prod(view.size))).reshape(view.size)
    turned = numbers if list(view.positions) == sorted(view.positions) else numbers.T
    return Features(ElementNames({view.name: view.size}), {view.name: turned.reshape(one)}, "pixels")


def _masks(view: View, A: np.ndarray, channels: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Yield the channels as masks (length, positions) from 0 to 1 in float32."""
    for start in range(0, len(channels), length):
        large = view.enlarged(A[channels[start : start + length]]).reshape(-1, int(np.prod(view.size)))
        low, high = large.min(axis=1, keepdims=True), large.max(axis=1, keepdims=True)
        yield ((large - low) / np.maximum(high - low, np.finfo(np.float64).tiny)).astype(np.float32)
