"""Rules that do not ask what the inputs weigh: for the first layer, where a value of 0 is a value like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ....engine.errors import SettingError
from .linear import Sum, Unbiased, Weighted
from .lrp import linear_map
from .rule import share, share_over, unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .linear import Linear
    from .ruled import Back, Moment
    from .sites import Site


@dataclass(frozen=True)
class WSquared:
    """``R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j``, whatever the inputs are; for unbounded inputs."""

    def back(self, site: Site) -> Back:
        """Share in proportion to squared weights."""
        return _by_weights(linear_map(self, site).mapped(torch.square))

    def __str__(self) -> str:
        """Name."""
        return "w-squared"


@dataclass(frozen=True)
class Flat:
    """``R_i = sum_j 1 / n_j R_j``: the n_j inputs that an output sees get the same."""

    def back(self, site: Site) -> Back:
        """Share equally."""
        return _by_weights(linear_map(self, site).mapped(torch.ones_like))

    def __str__(self) -> str:
        """Name."""
        return "flat"


def _by_weights(weights: Linear) -> Back:
    """Share in proportion to what weights give to an input of ones; a bias gets nothing."""

    def shared(m: Moment) -> Sequence[torch.Tensor]:
        z = weights.of(*(torch.ones_like(x) for x in m.xs))
        return weights.back(share(m.R[0], z), m.xs)

    return shared


@dataclass(frozen=True)
class Box:
    """``R_i = sum_j (a_i w_ij - l_i w_ij^+ - h_i w_ij^-) / sum_i (same) R_j`` for inputs between l and h.

    ``low`` and ``high`` are one number, or one for each channel (the second axis).
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        short = len(self.low) != len(self.high) or not self.low
        if short or not all(low <= high for low, high in zip(self.low, self.high, strict=True)):
            raise SettingError(f"box takes bounds low <= high, one number or one per channel, not {self}")

    def back(self, site: Site) -> Back:
        """Share in proportion to the contributions of the ways from the bounds."""
        layer = linear_map(self, site)
        layer = layer if isinstance(layer, Unbiased) else Unbiased(layer)
        if isinstance(layer.inner, Sum):
            raise unfit(self, site, "it is for the first layer, and this adds up signals")
        positive, negative = layer.positive, layer.negative

        def between(m: Moment) -> list[torch.Tensor]:
            """With ``w = w^+ + w^-``: what both kinds of weights make of the ways from their bounds."""
            (x,) = m.xs
            low, high = (_bound(b, x) for b in (self.low, self.high))
            if bool((x < low - _slack(low)).any()) or bool((x > high + _slack(high)).any()):
                raise SettingError(
                    f"the input lies between {float(x.min()):.4g} and {float(x.max()):.4g}, outside the box",
                    where=str(site),
                    tip="give low and high as the model takes its input, after preprocessing"
                    if site.first
                    else "box is for layers that read the input itself: write first=box",
                )
            like = x[:1] if _by_row(layer.inner) and x.dim() > 1 else x
            ends = positive.of(low.expand_as(like)).add_(negative.of(high.expand_as(like)))
            s = share_over(m.R[0], layer.total(m.y).sub_(ends))
            (up,), (down,) = positive.shares(s, [x - low]), negative.shares(s, [x - high])
            return [up.add_(down)]

        return between

    def __str__(self) -> str:
        """Name and bounds."""
        return f"box:{','.join(f'{v:g}' for v in self.low)}..{','.join(f'{v:g}' for v in self.high)}"


def _bound(numbers: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
    """Return bounds that broadcast to x: one number, or one per channel."""
    values = torch.tensor(numbers, dtype=x.dtype, device=x.device)
    if len(numbers) == 1:
        return values.reshape([1] * x.dim())
    if x.dim() < 2 or x.shape[1] != len(numbers):
        raise SettingError(f"box has {len(numbers)} bounds, the input has the shape {list(x.shape)}")
    return values.reshape(-1, *[1] * (x.dim() - 2))


def _by_row(layer: Linear) -> bool:
    """Whether a map works on each element of the first axis by itself."""
    return isinstance(layer, Weighted) and isinstance(layer.module, (nn.Linear, nn.modules.conv._ConvNd))  # noqa: SLF001  # the base of all ranks has no public name


def _slack(bound: torch.Tensor) -> torch.Tensor:
    return 1e-4 * (1 + bound.abs())
