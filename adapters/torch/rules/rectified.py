"""Rules for gradients at activations: guided backpropagation and the deconvnet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .kinds import LIKE_RELU
from .transposes import transposed

if TYPE_CHECKING:
    import torch

    from .ruled import Back, Moment
    from .sites import Site


@dataclass(frozen=True)
class Rectified:
    """Only what is above zero goes back: ``max(0, g)``, with ``guided`` times the derivative of the activation.

    Guided backpropagation lets the gradient through where both it and the activation's derivative say so (Springenberg
    et al. 2015, arXiv:1412.6806); the deconvnet looks at the gradient alone (Zeiler and Fergus 2014, arXiv:1311.2901).
    Activations that are not like ReLU (sigmoid, tanh) keep their gradient.
    """

    guided: bool

    def back(self, site: Site) -> Back | None:
        """Let the positive part through."""
        if site.form not in LIKE_RELU:
            return None
        place = site.signals.index(True)

        def rectified(m: Moment) -> list[torch.Tensor | None]:
            g = m.R[0].clamp_min(0)
            slope = transposed(site.module, m.xs, g)[place] if self.guided else g
            return [slope if k == place else None for k in range(len(m.xs))]

        return rectified

    def __str__(self) -> str:
        """Name."""
        return "guided" if self.guided else "deconvnet"
