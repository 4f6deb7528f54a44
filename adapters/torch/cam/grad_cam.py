"""Grad-CAM: a channel counts by the mean of its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....engine.registry import GRADIENT, register
from .maps import MODALITIES, GradientMap, over_grid

if TYPE_CHECKING:
    import numpy as np


@register(
    "explainer",
    "grad-cam",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Selvaraju et al. 2017, arXiv:1610.02391",
)
@dataclass(frozen=True)
class GradCam(GradientMap):
    """Where a layer sees what speaks for the target: its channels weighed by their mean gradient.

    ``alpha_k = 1/Z sum_ij dS/dA_kij``, ``L = relu(sum_k alpha_k A_k)`` with Z positions, A the activations of the layer
    and S the score. The layer is the last one with spatial extent, or that of ``--wrt``; nothing is rescaled.

    Source: Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391, eq. 1 and 2.
    """

    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the activations do not matter
        """Return the mean of the gradient over positions (B, K)."""
        alpha: np.ndarray = G.mean(axis=over_grid(G))
        return alpha
