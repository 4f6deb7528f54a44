"""Rules of layer-wise relevance propagation for linear maps: convolutions, dense layers, means, sums.

``z_j = sum_i a_i w_ij + b_j``; R_j comes to output j, R_i goes on to input i. A share of 0/0 is 0: where an output has
no part to hand its relevance to, the relevance is lost, and the ledger says so. The share of the bias is lost too.
Sources: Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon et al. 2017, arXiv:1512.02479; Montavon et al.
2019, Layer-Wise Relevance Propagation: An Overview, doi:10.1007/978-3-030-28954-6_10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch

from ....engine.errors import SettingError
from .linear import Unbiased
from .parted import Signed, not_negative, stacked
from .rule import share, share_over, stabilised, unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .linear import Linear
    from .parted import Stack
    from .ruled import Back, Moment, Tensors
    from .sites import Site

EPSILON = 1e-6  # of the epsilon rule where none is given


def linear_map(rule: object, site: Site) -> Linear:
    """Return the linear map that a node is; ``CapabilityError`` where it is none."""
    if site.linear is None:
        raise unfit(rule, site, "it is for linear maps (convolutions, dense layers, means, sums)")
    return site.linear


@dataclass(frozen=True)
class Epsilon:
    """``R_i = sum_j a_i w_ij / (z_j + epsilon sign(z_j)) R_j``; with epsilon = 0 this is LRP-0."""

    epsilon: float = EPSILON

    proportional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf"):
            raise SettingError(f"epsilon must be at least 0, not {self.epsilon:g}")

    def back(self, site: Site) -> Back:
        """Share in proportion to the contributions."""
        layer = linear_map(self, site)

        def shared(m: Moment) -> list[torch.Tensor]:
            z = layer.total(m.y)
            s = share_over(m.R[0], stabilised(z, self.epsilon)) if self.epsilon else share(m.R[0], z)
            return layer.shares(s, m.xs)

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

    proportional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise SettingError(f"gamma must be at least 0, not {self.gamma:g}")

    def back(self, site: Site) -> Back:
        """Let positive contributions count for more."""
        layer = linear_map(self, site)
        raised = layer.mapped(lambda w: w + self.gamma * w.clamp_min(0))

        def literal(m: Moment) -> list[torch.Tensor]:
            return raised.shares(share_over(m.R[0], raised.made(*m.xs)), m.xs)

        if not self.signed:
            return literal
        if not site.rectified:
            return self._by_sign(layer)
        signed = Signed.of(layer)
        both = signed.map(raised, layer.mapped(lambda w: w + self.gamma * w.clamp_max(0)))

        def above(m: Moment) -> list[torch.Tensor]:
            """Nothing comes back to outputs below zero: positive contributions count for more everywhere."""
            if not_negative(site, m.xs):
                return literal(m)
            xs = signed.cut(m.xs)
            return signed.joined(both.shares(share_over(m.R[0], both.made(*xs)), xs))

        return above

    def _by_sign(self, layer: Linear) -> Back:
        sizes = layer.mapped(torch.abs)

        def by_sign(m: Moment) -> list[torch.Tensor]:
            """With ``z^+ = (z + |z|) / 2``: a contribution counts ``(1 + gamma / 2) z_ij +- gamma / 2 |z_ij|``."""
            z, magnitudes = layer.total(m.y), [x.abs() for x in m.xs]
            total = torch.copysign(sizes.made(*magnitudes), z).add_(z).mul_(self.gamma / 2).add_(z)
            s = share_over(m.R[0], total)
            sized = sizes.shares(torch.where(z < 0, -s, s).mul_(self.gamma / 2), magnitudes)
            return _added(layer.shares(s.mul_(1 + self.gamma / 2), m.xs), sized)

        return by_sign

    def __str__(self) -> str:
        """Name and number."""
        return f"{'' if self.signed else 'literal-'}gamma:{self.gamma:g}"


@dataclass(frozen=True)
class AlphaBeta:
    """``R_i = sum_j (alpha z_ij^+ / z_j^+ - beta z_ij^- / z_j^-) R_j`` with ``alpha - beta = 1``.

    ``z_ij = a_i w_ij`` are split by their own sign; z_j^+ and z_j^- hold the bias of that sign, unless without
    ``bias``.
    """

    alpha: float = 2.0
    beta: float = 1.0
    bias: bool = True

    proportional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (self.alpha >= 1 and self.beta >= 0 and abs(self.alpha - self.beta - 1) <= 1e-6):
            raise SettingError(
                f"alpha-beta takes alpha - beta = 1 with alpha at least 1, not {self.alpha:g} and {self.beta:g}",
                tip="write alpha-beta:2 for alpha 2 and beta 1",
            )

    def back(self, site: Site) -> Back:
        """Share the positive and the negative contributions apart."""
        layer = linear_map(self, site)
        layer = layer if self.bias or isinstance(layer, Unbiased) else Unbiased(layer)
        ways = _Ways(layer.positive, layer.negative)

        def apart(m: Moment) -> list[torch.Tensor]:
            if not_negative(site, m.xs):
                return self._shared(m.R[0], m.xs, ways.positive, ways.negative, ways.both)
            xs = ways.signed.cut(m.xs)
            return ways.signed.joined(self._shared(m.R[0], xs, ways.positive_of_signed, ways.negative_of_signed, None))

        return apart

    def _shared(self, R: torch.Tensor, xs: Tensors, up: Linear, down: Linear, both: Stack | None) -> list[torch.Tensor]:
        """Share R among inputs that keep the signs of the weights; ``both`` makes what ``up`` and ``down`` do."""
        if not self.beta:
            return up.shares(share_over(R, up.made(*xs)), xs)
        if both is None:
            pairs = [part.shares(share_over(R, part.made(*xs)), xs) for part in (down, up)]
            return [torch.lerp(n, p, self.alpha, out=n) for n, p in zip(*pairs, strict=True)]  # alpha = 1 + beta
        s = both.map.made(*xs)
        for part, factor in zip(s.chunk(2, both.axis), (self.alpha, -self.beta), strict=True):
            share_over(R, part).mul_(factor)
        return both.map.shares(s, xs)

    def __str__(self) -> str:
        """Name and number."""
        name = f"alpha-beta:{self.alpha:g}" if self.beta else "z-plus"
        return name if self.bias else f"{name} without biases"


@dataclass(frozen=True)
class _Ways:
    """The maps that contributions of one sign go by, made when they are first needed."""

    positive: Linear
    negative: Linear

    @cached_property
    def both(self) -> Stack | None:
        return stacked([self.positive, self.negative])

    @cached_property
    def signed(self) -> Signed:
        return Signed.of(self.positive)

    @cached_property
    def positive_of_signed(self) -> Linear:
        return self.signed.map(self.positive, self.negative)

    @cached_property
    def negative_of_signed(self) -> Linear:
        return self.signed.map(self.negative, self.positive)


def _added(parts: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [part.add_(other) for part, other in zip(parts, others, strict=True)]


@dataclass(frozen=True)
class Contrast:
    """What speaks for an output less what speaks against it: ``R_i = sum_j (z_ij^+ / z_j^+ - z_ij^- / z_j^-) R_j``.

    Both parts get the same relevance, so that all in all nothing goes on: contrastive excitation backpropagation, where
    the second part is that of the dual unit with negated weights. With ``truncated``, only what is above zero goes on.
    Source: Zhang et al. 2018, Top-Down Neural Attention by Excitation Backprop, arXiv:1608.00507, section 3.3.
    """

    truncated: bool = False

    proportional: ClassVar[bool] = True

    def back(self, site: Site) -> Back:
        """Share among what excites the outputs, and take away what excites their duals."""
        layer = Unbiased(linear_map(self, site))
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
