"""Rules of layer-wise relevance propagation for linear maps: convolutions, dense layers, means, sums.

``z_j = sum_i a_i w_ij + b_j``; R_j comes to output j, R_i goes on to input i. A share of 0/0 is 0: where an output has
no part to hand its relevance to, the relevance is lost, and the ledger says so. The share of the bias is lost too.
Sources: Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon et al. 2017, arXiv:1512.02479; Montavon et al.
2019, Layer-Wise Relevance Propagation: An Overview, doi:10.1007/978-3-030-28954-6_10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ....engine.errors import SettingError
from .linear import Sum, Unbiased
from .rule import share, stabilised, unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .linear import Linear
    from .ruled import Back, Moment
    from .sites import Site

EPSILON = 1e-6  # of the epsilon rule where none is given
ROUNDING = 1e-5  # of the sum of sizes: a part of this size is what rounding leaves of none


def _linear(rule: object, site: Site) -> Linear:
    if site.linear is None:
        raise unfit(rule, site, "it is for linear maps (convolutions, dense layers, means, sums)")
    return site.linear


@dataclass(frozen=True)
class Epsilon:
    """``R_i = sum_j a_i w_ij / (z_j + epsilon sign(z_j)) R_j``; with epsilon = 0 this is LRP-0."""

    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf"):
            raise SettingError(f"epsilon must be at least 0, not {self.epsilon:g}")

    def back(self, site: Site) -> Back:
        """Share in proportion to the contributions."""
        layer = _linear(self, site)

        def shared(m: Moment) -> list[torch.Tensor]:
            return _times(m.xs, layer.back(share(m.R[0], stabilised(layer.total(m.y), self.epsilon)), m.xs))

        return shared

    def __str__(self) -> str:
        """Name and number."""
        return f"epsilon:{self.epsilon:g}" if self.epsilon else "zero"


@dataclass(frozen=True)
class Gamma:
    """``R_i = sum_j a_i (w_ij + gamma w_ij^+) / (sum_i a_i (w_ij + gamma w_ij^+) + b_j + gamma b_j^+) R_j``.

    This formula is made for inputs and outputs that are not below zero. With ``signed``, its form for any: where z_j
    is above zero, positive contributions ``a_i w_ij`` count 1 + gamma times, where it is below, negative ones do.
    """

    gamma: float = 0.25
    signed: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise SettingError(f"gamma must be at least 0, not {self.gamma:g}")

    def back(self, site: Site) -> Back:
        """Let positive contributions count for more."""
        layer = _linear(self, site)
        raised = layer.mapped(lambda w: w + self.gamma * w.clamp_min(0))

        def literal(m: Moment) -> list[torch.Tensor]:
            z = raised.of(*m.xs) + raised.bias(m.y)
            return _times(m.xs, raised.back(share(m.R[0], z), m.xs))

        sizes = layer.mapped(torch.abs)

        def by_sign(m: Moment) -> list[torch.Tensor]:
            """With ``z^+ = (z + |z|) / 2``: a contribution counts ``(1 + gamma / 2) z_ij +- gamma / 2 |z_ij|``."""
            xs = m.xs if len(m.xs) == 1 else tuple(_finite(x) for x in m.xs)
            z, magnitudes = layer.total(m.y), [x.abs() for x in xs]
            spread = torch.copysign(sizes.of(*magnitudes) + sizes.bias(m.y), z)
            s = share(m.R[0], torch.add(z, z + spread, alpha=self.gamma / 2))
            plain = layer.back((1 + self.gamma / 2) * s, m.xs)
            sized = sizes.back(self.gamma / 2 * torch.where(z < 0, -s, s), m.xs)
            return _both(xs, plain, magnitudes, sized)

        return by_sign if self.signed else literal

    def __str__(self) -> str:
        """Name and number."""
        return f"{'' if self.signed else 'literal-'}gamma:{self.gamma:g}"


@dataclass(frozen=True)
class AlphaBeta:
    """``R_i = sum_j (alpha z_ij^+ / z_j^+ - beta z_ij^- / z_j^-) R_j`` with ``alpha - beta = 1``.

    ``z_ij = a_i w_ij`` are split by their own sign; z_j^+ and z_j^- hold the bias of that sign.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not (self.alpha >= 1 and self.beta >= 0 and abs(self.alpha - self.beta - 1) <= 1e-6):
            raise SettingError(
                f"alpha-beta takes alpha - beta = 1 with alpha at least 1, not {self.alpha:g} and {self.beta:g}",
                tip="write alpha-beta:2 for alpha 2 and beta 1",
            )

    def back(self, site: Site) -> Back:
        """Share the positive and the negative contributions apart."""
        layer = _linear(self, site)
        positive, negative, sizes = layer.positive, layer.negative, layer.mapped(torch.abs)

        def apart(m: Moment) -> list[torch.Tensor]:
            if any(x.numel() and bool(x.amin() < 0) for x in m.xs):
                return of_signed(m)
            up = positive.of(*m.xs) + positive.bias(m.y)
            found = _times(m.xs, positive.back(self.alpha * share(m.R[0], up), m.xs))
            if not self.beta:
                return found
            down = layer.total(m.y) - up
            down.masked_fill_(down >= -ROUNDING * up, 0)
            slopes = negative.back(-self.beta * share(m.R[0], down), m.xs)
            return _both(m.xs, slopes, found)

        def of_signed(m: Moment) -> list[torch.Tensor]:
            """With ``z_ij^+ = (z_ij + |z_ij|) / 2``, both parts in two runs of the map instead of eight."""
            xs = m.xs if len(m.xs) == 1 else tuple(_finite(x) for x in m.xs)
            magnitudes = [x.abs() for x in xs]
            spread, z = sizes.of(*magnitudes), layer.total(m.y) - layer.bias(m.y)
            least = ROUNDING * spread
            up = (z + spread).masked_fill_(z + spread <= least, 0) / 2
            s = self.alpha / 2 * share(m.R[0], up + positive.bias(m.y))
            s_plain = s_sized = s
            if self.beta:
                down = (z - spread).masked_fill_(spread - z <= least, 0) / 2
                t = self.beta / 2 * share(m.R[0], down + negative.bias(m.y))
                s_plain, s_sized = s - t, s + t
            return _both(xs, layer.back(s_plain, xs), magnitudes, sizes.back(s_sized, xs))

        return apart

    def __str__(self) -> str:
        """Name and number."""
        return f"alpha-beta:{self.alpha:g}" if self.beta else "z-plus"


@dataclass(frozen=True)
class WSquared:
    """``R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j``, whatever the inputs are; for unbounded inputs."""

    def back(self, site: Site) -> Back:
        """Share in proportion to squared weights."""
        return _by_weights(_linear(self, site).mapped(torch.square))

    def __str__(self) -> str:
        """Name."""
        return "w-squared"


@dataclass(frozen=True)
class Flat:
    """``R_i = sum_j 1 / n_j R_j``: the n_j inputs that an output sees get the same."""

    def back(self, site: Site) -> Back:
        """Share equally."""
        return _by_weights(_linear(self, site).mapped(torch.ones_like))

    def __str__(self) -> str:
        """Name."""
        return "flat"


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
        layer = _linear(self, site)
        if isinstance(layer.inner if isinstance(layer, Unbiased) else layer, Sum):
            raise unfit(self, site, "it is for the first layer, and this adds up signals")
        positive, negative = layer.positive, layer.negative

        def between(m: Moment) -> list[torch.Tensor]:
            (x,) = m.xs
            low, high = (_bound(b, x) for b in (self.low, self.high))
            if bool((x < low - _slack(low)).any()) or bool((x > high + _slack(high)).any()):
                raise SettingError(
                    f"the input lies between {float(x.min()):.4g} and {float(x.max()):.4g}, outside the box",
                    where=str(site),
                    tip="give low and high as the model takes its input, after preprocessing",
                )
            z = layer.of(x) - positive.of(low) - negative.of(high)
            s = share(m.R[0], z)
            (r,), (up,), (down,) = layer.back(s, m.xs), positive.back(s, m.xs), negative.back(s, m.xs)
            return [x * r - low * up - high * down]

        return between

    def __str__(self) -> str:
        """Name and bounds."""
        return f"box:{','.join(f'{v:g}' for v in self.low)}..{','.join(f'{v:g}' for v in self.high)}"


def _bound(numbers: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
    values = torch.tensor(numbers, dtype=x.dtype, device=x.device)
    if len(numbers) == 1:
        return values.expand(x.shape)
    if x.dim() < 2 or x.shape[1] != len(numbers):
        raise SettingError(f"box has {len(numbers)} bounds, the input has the shape {list(x.shape)}")
    return values.reshape(-1, *[1] * (x.dim() - 2)).expand(x.shape)


def _slack(bound: torch.Tensor) -> torch.Tensor:
    return 1e-4 * (1 + bound.abs())


def _by_weights(weights: Linear) -> Back:
    """Share in proportion to what weights give to an input of ones; a bias gets nothing."""

    def shared(m: Moment) -> Sequence[torch.Tensor]:
        z = weights.of(*(torch.ones_like(x) for x in m.xs))
        return weights.back(share(m.R[0], z), m.xs)

    return shared


def _times(xs: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    if len(xs) == 1:
        return [xs[0] * slopes[0]]
    return [_finite(x) * slope for x, slope in zip(xs, slopes, strict=True)]


def _both(
    xs: Sequence[torch.Tensor],
    slopes: Sequence[torch.Tensor],
    others: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor] | None = None,
) -> list[torch.Tensor]:
    """Return ``x slope + other factor`` of each, without a factor ``x slope + other``."""
    if factors is None:
        return [torch.addcmul(o, x, s) for x, s, o in zip(xs, slopes, others, strict=True)]
    return [torch.addcmul(x * s, o, f) for x, s, o, f in zip(xs, slopes, others, factors, strict=True)]


def _finite(x: torch.Tensor) -> torch.Tensor:
    """Return x with 0 in the place of infinity: additive masks have no relevance."""
    return x.masked_fill(x.isinf(), 0)


@dataclass(frozen=True)
class Contrast:
    """What speaks for an output less what speaks against it: ``R_i = sum_j (z_ij^+ / z_j^+ - z_ij^- / z_j^-) R_j``.

    Both parts get the same relevance, so that all in all nothing goes on: contrastive excitation backpropagation, where
    the second part is that of the dual unit with negated weights. With ``truncated``, only what is above zero goes on.
    Source: Zhang et al. 2018, Top-Down Neural Attention by Excitation Backprop, arXiv:1608.00507, section 3.3.
    """

    truncated: bool = False

    def back(self, site: Site) -> Back:
        """Share among what excites the outputs, and take away what excites their duals."""
        layer = Unbiased(_linear(self, site))
        excited = AlphaBeta(1.0, 0.0).back(replace(site, linear=layer))
        dual = AlphaBeta(1.0, 0.0).back(replace(site, linear=layer.mapped(torch.neg)))

        def contrasted(m: Moment) -> list[torch.Tensor | None]:
            pairs = zip(excited(m), dual(m), strict=True)
            found = [a - b for a, b in pairs if a is not None and b is not None]
            return [r.clamp_min(0) if self.truncated else r for r in found]

        return contrasted

    def __str__(self) -> str:
        """Name."""
        return "contrast"


ZERO, Z_PLUS = Epsilon(0.0), AlphaBeta(1.0, 0.0)
