"""Grad-CAM++: positive gradients count, more so where few positions carry the channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....engine.registry import GRADIENT, register
from .maps import MODALITIES, GradientMap, over_grid


@register(
    "explainer",
    "grad-cam++",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Chattopadhay et al. 2018, arXiv:1710.11063",
)
@dataclass(frozen=True)
class GradCamPlusPlus(GradientMap):
    """Grad-CAM that finds several objects of the class: positive gradients, weighed position by position.

    ``alpha_k = sum_ij a_kij relu(G_kij)``, ``a = G^2 / (2 G^2 + sum_ab A_kab G^3)`` with G = dS/dA, and a = 0 where the
    denominator is zero. The paper explains exp(S): its derivatives are powers of G times exp(S), which cancels in a and
    is left out of alpha, where it is the same factor for all channels.

    Source: Chattopadhay et al. 2018, Grad-CAM++, arXiv:1710.11063, eq. 5 and 19.
    """

    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Return the weights (B, K)."""
        grid = over_grid(G)
        below = 2 * G**2 + A.sum(axis=grid, keepdims=True) * G**3
        a = np.divide(G**2, below, out=np.zeros_like(G), where=below != 0)
        return np.asarray((a * np.maximum(G, 0)).sum(axis=grid))
