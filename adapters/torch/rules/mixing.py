"""Rules for nodes that mix signals otherwise than by constant weights: products, maxima, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .kinds import PRODUCT
from .norms import norm_of
from .rule import Pass, share, stabilised, unfit
from .transposes import to_factors, transposed

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from .ruled import Back, Moment
    from .sites import Site

TINY = 1e-9  # keeps the sums of products away from 0
_DIVIDED = ("LpNormalization", "LRN", "Normalizer")


@dataclass(frozen=True)
class Half:
    """``R_x = sum x (dy/dx) R / (n y)``: the n factors of a product get equal shares of each of its terms.

    For ``y = a b`` that is half of R to each; for ``O = A V`` the bilinear rule of AttnLRP, ``R_A[ji] = sum_p A_ji
    V_ip R_jp / (2 O_jp)`` (Achtibat et al. 2024, arXiv:2402.05602, prop. 3.3). A divisor counts as no factor.
    """

    epsilon: float = TINY

    proportional: ClassVar[bool] = True

    def back(self, site: Site) -> Back:
        """Share between the factors."""
        if site.kind != PRODUCT:
            raise unfit(self, site, "it is for products; equal shares of a sum or a layer are the rule flat")
        if site.form == "Div":
            return _to(site, 0, self.epsilon)
        count = sum(site.signals)

        def shared(m: Moment) -> list[torch.Tensor]:
            slopes = to_factors(site, m.xs, share(m.R[0], count * stabilised(m.y, self.epsilon)))
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

    proportional: ClassVar[bool] = True

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
        slopes = to_factors(site, m.xs, share(m.R[0], stabilised(m.y, epsilon)))
        return [x * slope if k == place else None for k, (x, slope) in enumerate(zip(m.xs, slopes, strict=True))]

    return given


@dataclass(frozen=True)
class Proportional:
    """Max-pooling taken for mean pooling: each element of a window gets relevance in proportion to its value.

    Only positive values count. Source: Montavon et al. 2019, section 10.3.
    """

    proportional: ClassVar[bool] = True

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

    proportional: ClassVar[bool] = True

    def back(self, site: Site) -> Back:
        """Hold the deviation."""
        if site.form in _DIVIDED and len(site.reads) == 1:
            return Pass().back(site)
        norm = norm_of(site)
        if norm is None:
            raise unfit(self, site, "it is for normalisations of one tensor, with constant weights")

        def shared(m: Moment) -> list[torch.Tensor]:
            (slope,) = transposed(norm.held, (m.x,), share(m.R[0], stabilised(m.y, self.epsilon)))
            return [m.x * slope]

        return shared

    def __str__(self) -> str:
        """Name."""
        return "detached"
