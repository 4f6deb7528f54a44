"""HiResCAM: gradient times activation at every position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ....engine.registry import GRADIENT, register
from .maps import MODALITIES, GradientMap

if TYPE_CHECKING:
    import numpy as np


@register(
    "explainer",
    "hires-cam",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Draelos & Carin 2020, arXiv:2011.08891",
)
@dataclass(frozen=True)
class HiResCam(GradientMap):
    """What each position of a layer adds to the score: gradient times activation, summed over channels.

    ``L = sum_k dS/dA_k * A_k``, element by element. As in the paper the sign is kept: where the layer is followed by
    one linear layer, the map sums to the score less the bias.

    Source: Draelos and Carin 2020, HiResCAM, arXiv:2011.08891, eq. 3.
    """

    relu: Annotated[bool, "keep positive parts of the map only"] = False

    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the activations do not matter
        """Return the gradient itself (B, K, *grid)."""
        return G
