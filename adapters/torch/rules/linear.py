"""Linear maps as rules see them: any node that is linear in what it reads, with its weights split by sign."""

from __future__ import annotations

import abc
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from ..operators.convolution import Padding
from ..operators.linear import BatchNorm, frozen
from .transposes import handed_back, transposed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Linear(abc.ABC):
    """``z = sum_k W_k x_k + b`` of the tensors x_k that a node reads."""

    @abc.abstractmethod
    def of(self, *xs: torch.Tensor) -> torch.Tensor:
        """Return ``W x``, without the bias."""

    @abc.abstractmethod
    def back(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return ``W_k^T s`` for each k; ``xs`` give the shapes."""

    def made(self, *xs: torch.Tensor) -> torch.Tensor:
        """Return ``W x + b``, a tensor of its own."""
        return self.of(*xs) + self.bias(xs[0])

    def shares(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return ``x_k W_k^T s`` for each k, tensors of their own."""
        return [x * slope for x, slope in zip(xs, self.back(s, xs), strict=True)]

    @abc.abstractmethod
    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Linear:
        """Return the map whose weights and bias are ``change`` of these, element by element."""

    @abc.abstractmethod
    def bias(self, z: torch.Tensor) -> torch.Tensor | float:
        """Return b, which broadcasts to z; 0 where there is none."""

    def total(self, y: torch.Tensor) -> torch.Tensor:
        """Return the sum that relevance is shared of, where y is what the node made."""
        return y

    @property
    def positive(self) -> Linear:
        """The map of ``max(0, W)`` and ``max(0, b)``."""
        return self.mapped(lambda w: w.clamp_min(0))

    @property
    def negative(self) -> Linear:
        """The map of ``min(0, W)`` and ``min(0, b)``."""
        return self.mapped(lambda w: w.clamp_max(0))


@dataclass(frozen=True)
class Weighted(Linear):
    """A module with constant weights: ``weight`` and ``added`` name the parameters or buffers of ``module``.

    ``before`` pads what the module reads, if anything does.
    """

    module: nn.Module
    weight: str
    added: str | None
    before: nn.Module | None = None

    def __post_init__(self) -> None:
        plain = self.module if self.added is None else _changed(self.module, {self.added: _none})
        object.__setattr__(self, "_unbiased", plain)

    def of(self, *xs: torch.Tensor) -> torch.Tensor:
        """Run the module without its bias."""
        return self._run(self._unbiased, xs)  # type: ignore[attr-defined]

    def made(self, *xs: torch.Tensor) -> torch.Tensor:
        """Run the module."""
        return self._run(self.module, xs)

    def back(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run the transposed map; for the usual modules without a run forward."""
        found = self._handed_back(s, xs[0].shape)
        return transposed(self.of, xs, s) if found is None else (found,)

    def shares(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run the transposed map, and multiply in place where its result belongs to nobody else."""
        found = self._handed_back(s, xs[0].shape)
        return super().shares(s, xs) if found is None else [found.mul_(xs[0])]

    def _run(self, module: nn.Module, xs: Sequence[torch.Tensor]) -> torch.Tensor:
        (x,) = xs
        return module(x if self.before is None else self.before(x))  # type: ignore[no-any-return]

    def _handed_back(self, s: torch.Tensor, shape: Sequence[int]) -> torch.Tensor | None:
        if isinstance(self._unbiased, Scale):  # type: ignore[attr-defined]
            return self._unbiased(s) if s.shape == shape else None  # type: ignore[attr-defined]
        if self.before is None:
            return handed_back(self.module, s, shape)
        if not isinstance(self.before, Padding):
            return None
        added = self.before.window.padding(shape[2:])
        padded = [n + added[-2 * k - 2] + added[-2 * k - 1] for k, n in enumerate(shape[2:])]
        found = handed_back(self.module, s, (*shape[:2], *padded))
        return None if found is None else F.pad(found, [-n for n in added])

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Weighted:
        """Return the module with other weights."""
        names = [self.weight] if self.added is None else [self.weight, self.added]
        return Weighted(_changed(self.module, dict.fromkeys(names, change)), self.weight, self.added, self.before)

    def bias(self, z: torch.Tensor) -> torch.Tensor | float:
        """Return the bias, lined up with the channels of a convolution."""
        if self.added is None:
            return 0.0
        b: torch.Tensor = getattr(self.module, self.added)
        lined_up = isinstance(self.module, (nn.modules.conv._ConvNd, Scale))  # noqa: SLF001  # the base of all ranks has no public name
        return b.reshape(-1, *[1] * (z.dim() - 2)) if lined_up and b.dim() == 1 and z.dim() > 2 else b


@dataclass(frozen=True)
class Unbiased(Linear):
    """A linear map whose bias has no part in the sums: it keeps no relevance."""

    inner: Linear

    def of(self, *xs: torch.Tensor) -> torch.Tensor:
        """Return what the map returns."""
        return self.inner.of(*xs)

    def made(self, *xs: torch.Tensor) -> torch.Tensor:
        """Return what the map returns."""
        return self.inner.of(*xs)

    def back(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return what the map returns."""
        return self.inner.back(s, xs)

    def shares(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return what the map returns."""
        return self.inner.shares(s, xs)

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Unbiased:
        """Change the weights."""
        return Unbiased(self.inner.mapped(change))

    def bias(self, z: torch.Tensor) -> torch.Tensor | float:  # noqa: ARG002 - there is none
        """Return 0."""
        return 0.0

    def total(self, y: torch.Tensor) -> torch.Tensor:
        """Return the sum without the bias."""
        return y - self.inner.bias(y)


@dataclass(frozen=True)
class Average(Linear):
    """A map without weights of its own, none of them negative and those of one output equal: means and sums."""

    module: nn.Module
    sign: int = 1

    def of(self, *xs: torch.Tensor) -> torch.Tensor:
        """Run the module; what it makes is a tensor of its own."""
        made: torch.Tensor = self.module(*xs)
        if not self.sign:
            return torch.zeros_like(made)
        return made.clone() if any(made.data_ptr() == x.data_ptr() for x in xs) else made

    def back(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Hand back by the gradient."""
        return transposed(self.module, xs, s) if self.sign else tuple(torch.zeros_like(x) for x in xs)

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Average:
        """Return this map; or one that is zero, where that is what becomes of a positive weight."""
        return Average(self.module, int(bool(change(torch.ones(())) != 0)) * self.sign)

    def bias(self, z: torch.Tensor) -> torch.Tensor | float:  # noqa: ARG002 - there is none
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class Sum(Linear):
    """``sum_k c_k x_k + b`` with numbers c_k and a constant b that may be any tensor."""

    factors: tuple[float, ...]
    constant: torch.Tensor | None = None

    def of(self, *xs: torch.Tensor) -> torch.Tensor:
        """Add up."""
        terms = [c * x if c else torch.zeros_like(x) for c, x in zip(self.factors, xs, strict=True)]  # 0 inf is 0 here
        shape = torch.zeros(()) if self.constant is None else torch.zeros_like(self.constant)
        return sum(terms, start=shape.to(terms[0]))

    def back(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Hand back to each what it was spread to."""
        parts = [(c, s.sum_to_size(x.shape)) for c, x in zip(self.factors, xs, strict=True)]
        return tuple(part if c == 1 else c * part for c, part in parts)

    def shares(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Multiply; additive masks, whose elements are infinite, get nothing."""
        given = zip(self.factors, xs, strict=True)
        return [(x * s.sum_to_size(x.shape)).mul_(c).nan_to_num_(0, torch.inf, -torch.inf) for c, x in given]

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Sum:
        """Return the sum with other factors."""
        factors = tuple(float(change(torch.tensor(c))) for c in self.factors)
        return Sum(factors, None if self.constant is None else change(self.constant))

    def bias(self, z: torch.Tensor) -> torch.Tensor | float:  # noqa: ARG002 - it is known
        """Return the constant."""
        return 0.0 if self.constant is None else self.constant


class Scale(nn.Module):
    """``weight x + bias``, element by element; with ``by_channel`` both belong to the second axis."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None, *, by_channel: bool = False) -> None:
        super().__init__()
        self.weight = frozen(weight)
        self.bias = None if bias is None else frozen(bias)
        self.by_channel = by_channel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale and shift."""
        w: torch.Tensor = self.weight
        b: torch.Tensor | None = self.bias
        if self.by_channel and x.dim() > 2:
            w = w.reshape(-1, *[1] * (x.dim() - 2))
            b = None if b is None else b.reshape(-1, *[1] * (x.dim() - 2))
        return w * x if b is None else w * x + b


def scale_of(norm: BatchNorm) -> Scale:
    """Return batch normalisation with stored statistics as what it is: a factor and a bias per channel."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None  # noqa: PT018, S101  # stored, see BatchNorm
    factor = norm.weight * torch.rsqrt(var + norm.eps)
    return Scale(factor.detach(), (norm.bias - mean * factor).detach(), by_channel=True)


def _none(_: torch.Tensor) -> None:
    return None


def _changed(module: nn.Module, changes: dict[str, Callable[[torch.Tensor], torch.Tensor | None]]) -> nn.Module:
    """Return a module that shares all with this one but some of its parameters or buffers."""
    other = copy.copy(module)
    without = isinstance(module, (nn.Linear, nn.modules.conv._ConvNd, Scale))  # noqa: SLF001  # the base of all ranks has no public name
    for place in ("_parameters", "_buffers"):
        kept: dict[str, Any] = dict(module.__dict__[place])
        for name, change in changes.items():
            held = kept.get(name)
            if held is not None:
                made = change(held.detach())
                made = torch.zeros_like(held) if made is None and not without else made
                kept[name] = frozen(made) if made is not None and isinstance(held, nn.Parameter) else made
        other.__dict__[place] = kept
    return other
