"""Eigen-CAM: the first principal component of a layer's activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ..registry import ACTIVATIONS, register
from .layer import layer_of
from .maps import activations_of, explanation_of, weighted

if TYPE_CHECKING:
    from ..explanation import Explanation
    from ..problem import Problem


@register(
    "explainer",
    "eigen-cam",
    needs=ACTIVATIONS,
    modalities=("image", "series", "array"),
    source="Muhammad & Yeasin 2020, arXiv:2008.00299",
)
@dataclass(frozen=True)
class EigenCam:
    """What a layer responds to most: its activations along their first principal component; no class, no gradient.

    ``L = O v1``, where O (positions, channels) holds the activations and v1 is its first right singular vector. The
    sign of v1 is arbitrary: its component of largest absolute value is made positive. The target only says which layer
    comes before it. ``centred`` takes the mean of each channel away first, as in a principal component analysis.

    Source: Muhammad and Yeasin 2020, Eigen-CAM, arXiv:2008.00299, section III.
    """

    centred: Annotated[bool, "take away each channel's mean first (the paper does not)"] = False
    relu: Annotated[bool, "keep positive parts of the map only"] = False
    upsample: Annotated[bool, "enlarge the map to the input; else the map as it is, under the layer's name"] = True

    def explain(self, problem: Problem) -> Explanation:
        """Decompose the activations of the sample."""
        layer = layer_of(problem)
        row, score = activations_of(problem, layer)
        A = layer.channels(row)
        if self.centred:
            A = A - A.mean(axis=tuple(range(2, A.ndim)), keepdims=True)
        v1 = first_direction(A[0].reshape(A.shape[1], -1).T)
        found = weighted(A, v1[None], relu=self.relu)[0]
        return explanation_of(problem, layer, found, score=score, upsample=self.upsample, weights=v1)


def first_direction(O: np.ndarray) -> np.ndarray:  # noqa: E741 - the paper's letter
    """Return the first right singular vector of a matrix (positions, channels), its largest component positive."""
    if not np.isfinite(O).all():
        return np.full(O.shape[1], np.nan)
    v1: np.ndarray = np.linalg.svd(O, full_matrices=False)[2][0]
    return v1 * (1 if v1[np.argmax(np.abs(v1))] > 0 else -1)
