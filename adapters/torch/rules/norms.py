"""Normalisations as rules see them: over which elements, with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..dtypes import to_tensor
from ..operators.normalisation import EPSILON

if TYPE_CHECKING:
    from .sites import Site

_RMS = ("RMSNormalization", "SimplifiedLayerNormalization")
_GROUPED = ("GroupNormalization", "InstanceNormalization")


@dataclass(frozen=True)
class Norm:
    """``weight (x - mean) / sqrt(mean((x - mean)^2) + epsilon) + bias``, or without the means where not ``centred``.

    Statistics are taken over ``axes`` or, if that is a number, over all axes from it on; with ``groups`` (0: one for
    each channel) over the channels of a group and all that is behind them. ``weight`` broadcasts to x.
    """

    axes: int | tuple[int, ...]
    epsilon: float
    weight: torch.Tensor | None
    centred: bool
    groups: int | None = None

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """Return x with the axes of groups apart, where there are groups."""
        return x if self.groups is None else x.reshape(x.shape[0], self.groups or x.shape[1], -1, *x.shape[2:])

    def over(self, x: torch.Tensor) -> tuple[int, ...]:
        """Return the axes of ``rows(x)`` that statistics are taken over."""
        if self.groups is not None:
            return tuple(range(2, x.dim() + 1))
        return self.axes if isinstance(self.axes, tuple) else tuple(range(self.axes % x.dim(), x.dim()))

    def weighed(self, x: torch.Tensor) -> torch.Tensor:
        """Return x times the weights."""
        if self.weight is None:
            return x
        weight = self.weight.to(x)
        if self.groups is not None:  # one for each group, or for each channel
            weight = weight.repeat_interleave(x.shape[1] // len(weight)).reshape(-1, *[1] * (x.dim() - 2))
        return x * weight

    def held(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``weight (x - mean) / sigma`` with a deviation sigma that has no gradient."""
        u, over = self.rows(x), self.over(x)
        u = u - u.mean(over, keepdim=True) if self.centred else u
        square = u.square().mean(over, keepdim=True) + self.epsilon
        y = u * torch.rsqrt(square.clamp_min(torch.finfo(x.dtype).tiny)).detach()
        return self.weighed(y.reshape(x.shape))


def norm_of(site: Site) -> Norm | None:
    """Return the normalisation that a node of one tensor is, if its weights are constant."""
    node, module = site.node, site.module
    if len(site.reads) != 1:
        return None
    if site.form in _GROUPED:
        if 1 not in node.constants:
            return None
        weight, epsilon = to_tensor(node.constants[1]), float(node.attributes["epsilon"])
        return Norm((), epsilon, weight, centred=True, groups=int(node.attributes.get("num_groups", 0)))
    if site.form == "MeanVarianceNormalization":
        return Norm(tuple(node.attributes["axes"]), 0.0, None, centred=True)
    if site.form != "LayerNormalization" and site.form not in _RMS:
        return None
    axis = int(getattr(module, "axis", node.attributes.get("axis", -1)))
    epsilon = float(getattr(module, "epsilon", node.attributes.get("epsilon", EPSILON)))
    held: Any = getattr(module, "weight", None) if hasattr(module, "weight") else to_tensor(node.constants[1])
    return Norm(axis, epsilon, held, centred=site.form == "LayerNormalization")
