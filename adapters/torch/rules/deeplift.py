"""DeepLIFT's rules: multipliers that say how differences from a reference go through a node.

With x0, y0 what the node read and made at the reference, a rule returns multipliers m of each x from those of y, such
that ``sum m_x (x - x0) = sum m_y (y - y0)``: nothing of the difference is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from .linear import transposed
from .patterns import Pair
from .rule import unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ruled import Back, Moment, Tensors
    from .sites import Site

POINTS = 32  # on the way from the reference, for nodes that are no function of each element
SMALL = 1e-6  # differences of the input below this share of it have no quotient: the derivative takes its place


@dataclass(frozen=True)
class Rescale:
    """``m_x = m_y (y - y0) / (x - x0)`` for functions of each element; the derivative where x and x0 are the same.

    Source: Shrikumar et al. 2017, Learning Important Features, arXiv:1704.02685, section 3.5.1.
    """

    def back(self, site: Site) -> Back:
        """Return the quotient of differences."""

        def rescaled(m: Moment) -> list[torch.Tensor | None]:
            if not m.xs0:
                raise unfit(self, site, "there is no reference")
            place = site.signals.index(True)
            x, x0 = m.xs[place], m.xs0[place]
            delta = _way(x, x0)
            near = delta.abs() <= SMALL * torch.maximum(x.abs(), x0.abs())
            found = m.R[0] * (m.y - m.ys0[0]) / torch.where(near, 1.0, delta)
            if bool(near.any()):
                found = torch.where(near, transposed(site.module, m.xs, m.R[0])[place], found)
            return [found if k == place else None for k in range(len(m.xs))]

        return rescaled

    def __str__(self) -> str:
        """Name."""
        return "rescale"


@dataclass(frozen=True)
class Averaged:
    """``m_x = int_0^1 J(x0 + t (x - x0))^T m_y dt``: the node's derivative, averaged on the way from the reference.

    For functions of each element this is the rescale rule; for ``a b`` it is ``m_a = m_y (b + b0) / 2``, the average
    over both orders, exactly; and for nodes such as softmax and layer normalisation it shares their difference
    completely: for two classes, softmax is rescaled as a sigmoid of the difference of its inputs. The integral is taken
    by Gauss-Legendre at ``points`` points, and what it misses is made up for in proportion to ``(x - x0)^2``.
    DeepLIFT's paper has no rule for such nodes.
    """

    points: int = POINTS

    def back(self, site: Site) -> Back:
        """Average the derivative."""
        points = 1 if site.kind == "product" and site.form in {"Mul", "MatMul", "Einsum", "Conv"} else self.points

        def averaged(m: Moment) -> list[torch.Tensor]:
            if not m.xs0:
                raise unfit(self, site, "there is no reference")
            ways = [_way(x, x0) if x.is_floating_point() else None for x, x0 in zip(m.xs, m.xs0, strict=True)]
            found = [torch.zeros_like(x) for x in m.xs]
            for t, weight in zip(*_gauss_legendre(points), strict=True):
                at = [x if w is None else x0 + t * w for x, x0, w in zip(m.xs, m.xs0, ways, strict=True)]
                for total, slope in zip(
                    found, transposed(site.module, at, m.R if len(m.R) > 1 else m.R[0]), strict=True
                ):
                    if total.is_floating_point():
                        total.add_(slope, alpha=weight)
            return _completed(found, ways, m) if points > 1 else found

        return averaged

    def __str__(self) -> str:
        """Name."""
        return "averaged"


def _completed(found: list[torch.Tensor], ways: Sequence[torch.Tensor | None], m: Moment) -> list[torch.Tensor]:
    """Make up for what the quadrature misses, apart for each element of the first axis, where all tensors have it."""
    pairs = [(f, w) for f, w in zip(found, ways, strict=True) if w is not None]
    rows = {t.shape[:1] for t in (*(f for f, _ in pairs), *m.ys)}
    if len(rows) != 1 or () in rows:
        return found

    def by_row(products: list[torch.Tensor]) -> torch.Tensor:
        return sum((p.flatten(1).sum(1) if p.dim() > 1 else p for p in products), start=torch.zeros(()).to(products[0]))

    wanted = by_row([R * (y - y0) for R, y, y0 in zip(m.R, m.ys, m.ys0, strict=True)])
    missing = wanted - by_row([f * w for f, w in pairs])
    length = by_row([w.square() for _, w in pairs])
    step = torch.where(length == 0, torch.zeros_like(length), missing / torch.where(length == 0, 1.0, length))
    return [
        f if w is None else f + step.reshape(-1, *[1] * (w.dim() - 1)) * w for f, w in zip(found, ways, strict=True)
    ]


@lru_cache(maxsize=16)
def _gauss_legendre(count: int) -> tuple[list[float], list[float]]:
    places, weights = np.polynomial.legendre.leggauss(count)
    return ((places + 1) / 2).tolist(), (weights / 2).tolist()


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
            slopes = transposed(site.module, m.xs, m.R[0])
            found = []
            for x, x0, a, b, slope in zip(m.xs, m.xs0, here, there, slopes, strict=True):
                delta = x - x0
                found.append(torch.where(delta == 0, slope, (a + b) / torch.where(delta == 0, 1.0, delta)))
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
    have the multiplier ``m_y dy+ / dz+``, those to dz- ``m_y dy- / dz-``. It is for a linear map and the activation
    that alone reads it; others are rescaled.

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
            (delta,) = _differences(m.xs, m.xs0)
            up, down = delta.clamp_min(0), delta.clamp_max(0)
            above = positive.of(up) + negative.of(down)
            below = positive.of(down) + negative.of(up)
            (x0,) = m.xs0
            z0 = layer.of(x0) + layer.bias(m.y)
            start, high, low, end = (activation(z) for z in (z0, z0 + above, z0 + below, z0 + above + below))
            slope = transposed(activation, (z0 + above + below,), torch.ones_like(z0))[0]
            m_above = m.R[0] * _quotient((high - start + end - low) / 2, above, slope)
            m_below = m.R[0] * _quotient((low - start + end - high) / 2, below, slope)
            (p_up,), (n_up,) = positive.back(m_above, m.xs), negative.back(m_below, m.xs)
            (p_down,), (n_down,) = positive.back(m_below, m.xs), negative.back(m_above, m.xs)
            rising, falling = p_up + n_up, p_down + n_down
            return [torch.where(delta > 0, rising, torch.where(delta < 0, falling, (rising + falling) / 2))]

        return split

    def __str__(self) -> str:
        """Name."""
        return "reveal-cancel"


def _differences(xs: Tensors, xs0: Tensors) -> list[torch.Tensor]:
    return [x - x0 for x, x0 in zip(xs, xs0, strict=True)]


def _way(x: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
    """Return ``x - x0``, 0 where both are the same infinity (additive masks)."""
    return (x - x0).masked_fill(x == x0, 0)


def _quotient(change: torch.Tensor, by: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(by == 0, slope, change / torch.where(by == 0, torch.ones_like(by), by))
