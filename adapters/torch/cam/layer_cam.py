"""LayerCAM: positive gradient times activation at every position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....engine.registry import GRADIENT, register
from .maps import MODALITIES, GradientMap


@register(
    "explainer",
    "layer-cam",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
)
@dataclass(frozen=True)
class LayerCam(GradientMap):
    """Where a layer sees what speaks for the target, in fine detail also at early layers.

    ``L = relu(sum_k relu(dS/dA_k) * A_k)``, element by element.

    Source: Jiang et al. 2021, LayerCAM, IEEE Transactions on Image Processing 30, eq. 5 to 7.
    """

    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the activations do not matter
        """Return the positive part of the gradient (B, K, *grid)."""
        return np.asarray(np.maximum(G, 0))
