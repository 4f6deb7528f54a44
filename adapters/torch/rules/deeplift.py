"""DeepLIFT's rules: multipliers that say how differences from a reference go through a node.

With x0, y0 what the node read and made at the reference, a rule returns multipliers m of each x from those of y, such
that ``sum m_x (x - x0) = sum m_y (y - y0)``: nothing of the difference is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from .kinds import ACTIVATION
from .linear import Weighted
from .patterns import Pair
from .rule import unfit
from .transposes import transposed

if TYPE_CHECKING:
    from .ruled import Back, Moment, Tensors
    from .sites import Site

SMALL = 1e-6  # differences of the input below this share of it have no quotient: the derivative takes its place
_STRAIGHT = ("Relu", "Clip", "Abs")  # of straight pieces with slopes 0 and 1: their differences have no rounding


@dataclass(frozen=True)
class Transpose:
    """``m_x = W^T m_y``: the gradient of a linear map. Quicker than torch's for windows of one pixel."""

    def back(self, site: Site) -> Back | None:
        """Hand back by the weights."""
        layer = site.linear
        if layer is None or not (isinstance(layer, Weighted) and isinstance(layer.module, nn.Conv2d)):
            return None
        return lambda m: layer.back(m.R[0], m.xs)

    def __str__(self) -> str:
        """Name."""
        return "gradient"


@dataclass(frozen=True)
class Rescale:
    """``m_x = m_y (y - y0) / (x - x0)`` for functions of each element; the derivative where x and x0 are the same.

    Source: Shrikumar et al. 2017, Learning Important Features, arXiv:1704.02685, section 3.5.1.
    """

    def back(self, site: Site) -> Back:
        """Return the quotient of differences."""
        place = site.signals.index(True)
        exact, alone = site.form in _STRAIGHT, _takes_elements_alone(site)

        def rescaled(m: Moment) -> list[torch.Tensor | None]:
            if not m.xs0:
                raise unfit(self, site, "there is no reference")
            x, x0 = m.xs[place], m.xs0[place]
            delta = x - x0
            near = None if exact else delta.abs() <= x.abs().mul_(SMALL)
            found = (m.y - m.ys0[0]).div_(delta).mul_(m.R[0])
            if bool(found.sum().isnan()):  # 0/0
                near = found.isnan() if near is None else near | found.isnan()
            if near is not None and bool(near.any()):
                if alone:
                    found[near] = transposed(site.module, (x[near],), m.R[0][near])[0]
                else:
                    found = torch.where(near, transposed(site.module, m.xs, m.R[0])[place], found)
            return [found if k == place else None for k in range(len(m.xs))]

        return rescaled

    def __str__(self) -> str:
        """Name."""
        return "rescale"


@dataclass(frozen=True)
class Largest:
    """Max-pooling: the difference goes to where the larger of both maxima was.

    Where ``y >= y0`` that is the place of the largest element at the sample, else that at the reference; there the
    multiplier is ``m_y (y - y0) / (x - x0)``.
    """

    def back(self, site: Site) -> Back:
        """Route the difference."""

        def routed(m: Moment) -> list[torch.Tensor]:
            if not m.xs0:
                raise unfit(self, site, "there is no reference")
            from_sample = m.y >= m.ys0[0]
            change = m.R[0] * (m.y - m.ys0[0])
            here = transposed(site.module, m.xs, torch.where(from_sample, change, 0.0))
            there = transposed(site.module, m.xs0, torch.where(from_sample, 0.0, change))
            found = [(a + b).div_(x - x0) for x, x0, a, b in zip(m.xs, m.xs0, here, there, strict=True)]
            if any(bool(f.sum().isnan()) for f in found):  # 0/0 where nothing differs
                slopes = transposed(site.module, m.xs, m.R[0])
                found = [torch.where(f.isnan(), slope, f) for f, slope in zip(found, slopes, strict=True)]
            return found

        return routed

    def __str__(self) -> str:
        """Name."""
        return "largest"


@dataclass(frozen=True)
class RevealCancel:
    """Positive and negative contributions to an activation's input, each with a multiplier of its own.

    ``z = W x + b``, ``dz+`` and ``dz-`` are the sums of the positive and the negative ``w_ij (x_i - x0_i)``;
    ``dy+ = (f(z0 + dz+) - f(z0) + f(z0 + dz- + dz+) - f(z0 + dz-)) / 2`` and ``dy-`` likewise; contributions to dz+
    have the multiplier ``m_y dy+ / dz+``, those to dz- ``m_y dy- / dz-``. It is for a layer, or a sum of several
    signals, and the activation that alone reads it; others are rescaled.

    Source: Shrikumar et al. 2017, arXiv:1704.02685, section 3.5.3.
    """

    def back(self, site: Site) -> Back:
        """Split by sign."""
        if not isinstance(site.module, Pair) or site.linear is None:
            return Rescale().back(site)
        layer, activation = site.linear, site.module.activation
        positive, negative = layer.positive, layer.negative

        def split(m: Moment) -> list[torch.Tensor]:
            if not m.xs0:
                raise unfit(self, site, "there is no reference")
            deltas = _differences(m.xs, m.xs0)
            ups, downs = [d.clamp_min(0) for d in deltas], [d.clamp_max(0) for d in deltas]
            above = positive.of(*ups) + negative.of(*downs)
            below = positive.of(*downs) + negative.of(*ups)
            z0 = layer.of(*m.xs0) + layer.bias(m.y)
            start, high, low, end = (activation(z) for z in (z0, z0 + above, z0 + below, z0 + above + below))
            slope = transposed(activation, (z0 + above + below,), torch.ones_like(z0))[0]
            m_above = m.R[0] * _quotient((high - start + end - low) / 2, above, slope)
            m_below = m.R[0] * _quotient((low - start + end - high) / 2, below, slope)
            rising = _added(positive.back(m_above, m.xs), negative.back(m_below, m.xs))
            falling = _added(positive.back(m_below, m.xs), negative.back(m_above, m.xs))
            return [
                torch.where(delta > 0, up, torch.where(delta < 0, down, (up + down) / 2))
                for delta, up, down in zip(deltas, rising, falling, strict=True)
            ]

        return split

    def __str__(self) -> str:
        """Name."""
        return "reveal-cancel"


def _added(first: Tensors, second: Tensors) -> list[torch.Tensor]:
    return [a + b for a, b in zip(first, second, strict=True)]


def _differences(xs: Tensors, xs0: Tensors) -> list[torch.Tensor]:
    return [x - x0 for x, x0 in zip(xs, xs0, strict=True)]


def way(x: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """Return ``x - x0``, 0 where both are the same infinity (additive masks)."""
    return (x - x0).nan_to_num_(0, torch.inf, -torch.inf)


def _takes_elements_alone(site: Site) -> bool:
    """Whether a node is a function of each element by itself, the same for all."""
    held = (*site.module.parameters(), *site.module.buffers())
    return site.kind == ACTIVATION and len(site.reads) == 1 and all(t.numel() <= 1 for t in held)


def _quotient(change: torch.Tensor, by: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(by == 0, slope, change / torch.where(by == 0, torch.ones_like(by), by))
