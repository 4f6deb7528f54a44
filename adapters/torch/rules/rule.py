"""Rule: the interface of all rules, and the ones that are for any kind of node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from ....engine.errors import CapabilityError
from .kinds import PRODUCT, SCALE
from .transposes import transposed

if TYPE_CHECKING:
    from .ruled import Back, Moment
    from .sites import Site


class Rule(Protocol):
    """One way back through a node: a frozen dataclass of its numbers.

    ``back`` is called once for each node that the rule is chosen for, and may prepare what it needs (weights split by
    sign). It returns a function of a ``Moment``, or None where the plain gradient is what the rule says. Raises
    ``CapabilityError`` that names the node where the rule cannot be applied to it. A class attribute ``proportional``
    that is true promises that an input of value 0 gets nothing (see ``signs``).
    """

    def back(self, site: Site) -> Back | None:
        """Return the way back through a node."""


def unfit(rule: object, site: Site, reason: str) -> CapabilityError:
    """Return the error for a rule that a node cannot have."""
    return CapabilityError(
        f"the rule {rule} is not for this node: {reason}",
        where=str(site),
        tip="choose another rule for this kind or this tensor (onnxplain methods lrp)",
    )


def share(R: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return ``R / z``, and 0 where z is 0."""
    return (R / z).nan_to_num_(0, 0, 0)


def share_over(R: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return what ``share`` does, written over z."""
    return torch.div(R, z, out=z).nan_to_num_(0, 0, 0)


def stabilised(z: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return ``z + epsilon sign(z)``, where 0 counts as positive."""
    return torch.copysign(torch.tensor(epsilon, dtype=z.dtype, device=z.device), z).add_(z) if epsilon else z


@dataclass(frozen=True)
class Exact:
    """The gradient as it is: for gradients, and for relevance where elements are only moved, copied or chosen."""

    def back(self, site: Site) -> None:
        """Leave the node alone."""
        del site

    def __str__(self) -> str:
        """Name."""
        return "gradient"


@dataclass(frozen=True)
class Pass:
    """``R_x = R_y``: what comes to a node goes on as it is. Other signals that the node reads get nothing.

    Also known as the identity rule. A factor that widens its input hands back the sum.
    """

    def back(self, site: Site) -> Back:
        """Hand on."""
        place = site.signals.index(True)

        def passed(m: Moment) -> list[torch.Tensor | None]:
            x, R = m.xs[place], m.R[0]
            if x.shape != R.shape:
                if site.form != SCALE and site.kind != PRODUCT:
                    raise unfit(self, site, f"it makes {list(R.shape)} of {list(x.shape)}")
                R = R.sum_to_size(x.shape)
            return [R if k == place else None for k in range(len(m.xs))]

        return passed

    def __str__(self) -> str:
        """Name."""
        return "pass"


@dataclass(frozen=True)
class Stop:
    """``R_x = 0``: nothing goes on, as if what the node makes were constant."""

    def back(self, site: Site) -> Back:
        """Hand on nothing."""
        del site
        return lambda m: [None for _ in m.xs]

    def __str__(self) -> str:
        """Name."""
        return "stop"


@dataclass(frozen=True)
class Taylor:
    """``R_i = x_i sum_j dy_j/dx_i R_j / y_j``: relevance by the node's first-order expansion at the sample.

    What the expansion has beside the terms in x, ``y - J x``, is lost, as a bias is. For softmax this is
    ``R_i = x_i (R_i - s_i sum_j R_j)``, AttnLRP's rule (Achtibat et al. 2024, arXiv:2402.05602, prop. 3.1).
    """

    epsilon: float = 0.0

    proportional: ClassVar[bool] = True

    def back(self, site: Site) -> Back:
        """Expand around the sample."""

        def expanded(m: Moment) -> list[torch.Tensor]:
            s = tuple(share(R, stabilised(y, self.epsilon)) for R, y in zip(m.R, m.ys, strict=True))
            slopes = transposed(site.module, m.xs, s if len(s) > 1 else s[0])
            return [x.masked_fill(x.isinf(), 0) * slope for x, slope in zip(m.xs, slopes, strict=True)]  # masks

        return expanded

    def __str__(self) -> str:
        """Name."""
        return "taylor"
