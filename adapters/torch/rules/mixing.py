"""Rules for nodes that mix signals otherwise than by constant weights: products, maxima, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..dtypes import to_tensor
from ..operators.normalisation import EPSILON
from .linear import transposed
from .rule import Pass, share, stabilised, unfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ruled import Back, Moment
    from .sites import Site

TINY = 1e-9  # keeps the sums of products away from 0


@dataclass(frozen=True)
class Half:
    """``R_x = sum x (dy/dx) R / (n y)``: the n factors of a product get equal shares of each of its terms.

    For ``y = a b`` that is half of R to each; for ``O = A V`` the bilinear rule of AttnLRP, ``R_A[ji] = sum_p A_ji
    V_ip R_jp / (2 O_jp)`` (Achtibat et al. 2024, arXiv:2402.05602, prop. 3.3). A divisor counts as no factor.
    """

    epsilon: float = TINY

    def back(self, site: Site) -> Back:
        """Share between the factors."""
        if site.form == "Div":
            return _to(site, 0, self.epsilon)
        count = sum(site.signals)

        def shared(m: Moment) -> list[torch.Tensor]:
            slopes = transposed(site.module, m.xs, share(m.R[0], count * stabilised(m.y, self.epsilon)))
            return [x * slope for x, slope in zip(m.xs, slopes, strict=True)]

        return shared

    def __str__(self) -> str:
        """Name."""
        return "half"


@dataclass(frozen=True)
class Gate:
    """All relevance goes to the factor that is no gate; where there is not one gate, halves (see ``Half``).

    A gate is what a sigmoid, softmax or the like made; it says how much of the other factor passes, as the weights of
    attention do (Arras et al. 2017, arXiv:1706.07206: signal-take-all).
    """

    epsilon: float = TINY

    def back(self, site: Site) -> Back:
        """Choose the signal."""
        open_ends = [k for k, (s, g) in enumerate(zip(site.signals, site.gates, strict=True)) if s and not g]
        return _to(site, open_ends[0], self.epsilon) if len(open_ends) == 1 else Half(self.epsilon).back(site)

    def __str__(self) -> str:
        """Name."""
        return "gate"


def _to(site: Site, place: int, epsilon: float) -> Back:
    """Give all relevance of a product to one of its factors."""

    def given(m: Moment) -> list[torch.Tensor | None]:
        slopes = transposed(site.module, m.xs, share(m.R[0], stabilised(m.y, epsilon)))
        return [x * slope if k == place else None for k, (x, slope) in enumerate(zip(m.xs, slopes, strict=True))]

    return given


@dataclass(frozen=True)
class Proportional:
    """Max-pooling taken for mean pooling: each element of a window gets relevance in proportion to its value.

    Only positive values count. Source: Montavon et al. 2019, section 10.3.
    """

    def back(self, site: Site) -> Back:
        """Share between the elements of a window."""
        mean = _mean_like(site)
        if mean is None:
            raise unfit(self, site, "it is for MaxPool in one to three dimensions, without indices, and GlobalMaxPool")

        def shared(m: Moment) -> list[torch.Tensor]:
            x = m.x.clamp_min(0)
            (slopes,) = transposed(mean, (x,), share(m.R[0], mean(x)))
            return [x * slopes]

        return shared

    def __str__(self) -> str:
        """Name."""
        return "proportional"


def _mean_like(site: Site) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return mean pooling over the windows of max-pooling."""
    from torch import nn
    from torch.nn import functional as F

    pools = {nn.MaxPool1d: F.avg_pool1d, nn.MaxPool2d: F.avg_pool2d, nn.MaxPool3d: F.avg_pool3d}
    module: Any = site.module
    if site.form == "GlobalMaxPool":
        return lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True)
    for kind, pool in pools.items():
        plain = isinstance(module, kind) and module.dilation in {1, (1,) * 3, (1, 1), (1,)}
        if plain:
            return lambda x: pool(x, module.kernel_size, module.stride, module.padding, module.ceil_mode)
    return None


@dataclass(frozen=True)
class Detached:
    """Normalisation with its deviation taken for constant: then it is linear, and shares as LRP-0 does.

    For LayerNorm ``y = g (x - mean(x)) / sigma + b`` relevance is shared over x by the map with sigma held fixed (the
    LN-rule of Ali et al. 2022, arXiv:2202.07304). What goes to b is lost. Where x is only divided (LpNormalization,
    LRN) relevance passes.
    """

    epsilon: float = 0.0

    def back(self, site: Site) -> Back:
        """Hold the deviation."""
        if site.form in _DIVIDED and len(site.reads) == 1:
            return Pass().back(site)
        held = _held(site)
        if held is None:
            raise unfit(self, site, "it is for normalisations of one tensor, with constant weights")

        def shared(m: Moment) -> list[torch.Tensor]:
            (slope,) = transposed(held, (m.x,), share(m.R[0], stabilised(m.y, self.epsilon)))
            return [m.x * slope]

        return shared

    def __str__(self) -> str:
        """Name."""
        return "detached"


_DIVIDED = ("LpNormalization", "LRN", "Normalizer")


def _held(site: Site) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return ``g (x - mean(x)) / sigma`` with a deviation sigma that has no gradient (for RMSNorm without the mean)."""
    node, module = site.node, site.module
    if len(site.reads) != 1:
        return None
    if site.form in {"GroupNormalization", "InstanceNormalization"}:
        return _held_groups(site)
    centred = site.form == "LayerNormalization"
    if site.form == "MeanVarianceNormalization":
        return _held_over(tuple(node.attributes["axes"]), 0.0, None, centred=True)
    if not centred and site.form not in {"RMSNormalization", "SimplifiedLayerNormalization"}:
        return None
    axis = int(getattr(module, "axis", node.attributes.get("axis", -1)))
    epsilon = float(getattr(module, "epsilon", node.attributes.get("epsilon", EPSILON)))
    weight = getattr(module, "weight", None) if hasattr(module, "weight") else to_tensor(node.constants[1])

    return _held_over(axis, epsilon, weight, centred=centred)


def _held_over(
    axes: int | tuple[int, ...], epsilon: float, weight: torch.Tensor | None, *, centred: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Hold the deviation over some axes, or over all from one on."""

    def held(x: torch.Tensor) -> torch.Tensor:
        over = axes if isinstance(axes, tuple) else tuple(range(axes % x.dim(), x.dim()))
        u = x - x.mean(over, keepdim=True) if centred else x
        square = u.square().mean(over, keepdim=True) + epsilon
        y = u * torch.rsqrt(square.clamp_min(torch.finfo(x.dtype).tiny)).detach()
        return y if weight is None else y * weight.to(y)

    return held


def _held_groups(site: Site) -> Callable[[torch.Tensor], torch.Tensor] | None:
    node = site.node
    if 1 not in node.constants:
        return None
    weight, epsilon = to_tensor(node.constants[1]), float(node.attributes["epsilon"])

    def held(x: torch.Tensor) -> torch.Tensor:
        groups = node.attributes.get("num_groups", x.shape[1])
        u = x.reshape(x.shape[0], groups, -1)
        u = u - u.mean(-1, keepdim=True)
        y = (u * torch.rsqrt(u.square().mean(-1, keepdim=True) + epsilon).detach()).reshape(x.shape)
        g = weight.to(y).repeat_interleave(x.shape[1] // len(weight))
        return y * g.reshape(-1, *[1] * (x.dim() - 2))

    return held
