"""Counterfactual Grad-CAM: what would lower the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....engine.registry import GRADIENT, register
from .maps import MODALITIES, GradientMap, over_grid

if TYPE_CHECKING:
    import numpy as np


@register(
    "explainer",
    "counterfactual-grad-cam",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Selvaraju et al. 2017, arXiv:1610.02391",
)
@dataclass(frozen=True)
class CounterfactualGradCam(GradientMap):
    """Where a layer sees what speaks against the target: Grad-CAM with negated gradients.

    ``alpha_k = 1/Z sum_ij -dS/dA_kij``, ``L = relu(sum_k alpha_k A_k)``: regions without which the network would decide
    for the target with more confidence.

    Source: Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391, section 3.3.
    """

    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the activations do not matter
        """Return the mean of the negated gradient over positions (B, K)."""
        alpha: np.ndarray = -G.mean(axis=over_grid(G))
        return alpha
