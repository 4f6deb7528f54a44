"""XGrad-CAM: the gradient's mean, weighted by the activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....engine.registry import GRADIENT, register
from .maps import MODALITIES, GradientMap, over_grid


@register(
    "explainer",
    "xgrad-cam",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Fu et al. 2020, arXiv:2008.02312",
)
@dataclass(frozen=True)
class XGradCam(GradientMap):
    """Grad-CAM with weights that keep sensitivity and completeness as far as weights per channel can.

    ``alpha_k = sum_ij A_kij / (sum_ab A_kab) dS/dA_kij``; zero for a channel whose activations sum to zero.

    Source: Fu et al. 2020, Axiom-based Grad-CAM, arXiv:2008.02312, eq. 8 and 9.
    """

    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Return the weights (B, K)."""
        total, product = A.sum(axis=over_grid(A)), (A * G).sum(axis=over_grid(A))
        return np.asarray(np.divide(product, total, out=np.zeros_like(total), where=total != 0))
