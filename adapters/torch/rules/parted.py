"""Linear maps put together from others: of inputs by their sign, and of several maps of one input."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..operators.linear import frozen
from .linear import Linear, Unbiased, Weighted
from .transposes import empty_as

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .ruled import Tensors
    from .sites import Site

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def not_negative(site: Site, xs: Sequence[torch.Tensor]) -> bool:
    """Whether nothing that a node reads is below zero: known from the graph, or seen."""
    return site.nonnegative or not any(x.numel() and bool(x.amin() < 0) for x in xs)


@dataclass(frozen=True)
class Signed:
    """Inputs of both signs as twice as many that have one: ``max(0, x)``, and ``min(0, x)`` behind it.

    With an ``axis`` of channels they lie side by side along it, in one tensor.
    """

    axis: int | None

    @classmethod
    def of(cls, layer: Linear) -> Signed:
        """Return how inputs of a map are cut: side by side for dense layers and convolutions in one group."""
        return cls(_channels(layer))

    def cut(self, xs: Tensors) -> Tensors:
        """Return the inputs of one sign."""
        if self.axis is None:
            return (*(x.clamp_min(0) for x in xs), *(x.clamp_max(0) for x in xs))
        (x,) = xs
        shape = list(x.shape)
        shape[self.axis] *= 2
        made = empty_as(x, shape)
        high, low = made.chunk(2, self.axis)
        torch.clamp(x, min=0, out=high)
        torch.clamp(x, max=0, out=low)
        return (made,)

    def joined(self, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return what both parts of each input get."""
        if self.axis is None:
            half = len(parts) // 2
            return [a + b for a, b in zip(parts[:half], parts[half:], strict=True)]
        first, second = parts[0].chunk(2, self.axis)
        return [first + second]

    def map(self, above: Linear, below: Linear) -> Linear:
        """Return the map of cut inputs that has the weights and bias of ``above``, and of ``below`` the weights."""
        return Apart(above, below) if self.axis is None else _put_together([above, below], side_by_side=True)


@dataclass(frozen=True)
class Stack:
    """A map that makes what several of one input make, one behind the other along an axis."""

    map: Linear
    axis: int


def stacked(layers: Sequence[Linear]) -> Stack | None:
    """Stack dense layers, or convolutions in one group; None for other maps."""
    axis = _channels(layers[0])
    return None if axis is None else Stack(_put_together(layers, side_by_side=False), axis)


@dataclass(frozen=True)
class Apart(Linear):
    """The sum of two maps, each of one half of the inputs; with the bias of the first."""

    above: Linear
    below: Linear

    def of(self, *xs: torch.Tensor) -> torch.Tensor:
        """Add up what both make."""
        high, low = _halves(xs)
        return self.above.of(*high) + self.below.of(*low)

    def made(self, *xs: torch.Tensor) -> torch.Tensor:
        """Add up what both make."""
        high, low = _halves(xs)
        return self.above.made(*high).add_(self.below.of(*low))

    def back(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Hand back to both halves."""
        high, low = _halves(xs)
        return (*self.above.back(s, high), *self.below.back(s, low))

    def shares(self, s: torch.Tensor, xs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Hand back to both halves."""
        high, low = _halves(xs)
        return [*self.above.shares(s, high), *self.below.shares(s, low)]

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Apart:
        """Change both."""
        return Apart(self.above.mapped(change), self.below.mapped(change))

    def bias(self, z: torch.Tensor) -> torch.Tensor | float:
        """Return the bias of the first."""
        return self.above.bias(z)


def _halves(xs: Sequence[torch.Tensor]) -> tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]:
    return xs[: len(xs) // 2], xs[len(xs) // 2 :]


def _bare(layer: Linear) -> Linear:
    return layer.inner if isinstance(layer, Unbiased) else layer


def _channels(layer: Linear) -> int | None:
    """Return the axis of channels of a map that may be put together with others."""
    bare = _bare(layer)
    if not isinstance(bare, Weighted):
        return None
    if type(bare.module) is nn.Linear:
        return -1
    return 1 if type(bare.module) in _CONVOLUTIONS and bare.module.groups == 1 else None


def _put_together(layers: Sequence[Linear], *, side_by_side: bool) -> Linear:
    """Return one map of inputs side by side along the channels, with the first's bias; or with all their outputs."""
    bare = [b for layer in layers if isinstance(b := _bare(layer), Weighted)]
    modules, first = [b.module for b in bare], bare[0]
    made = copy.copy(first.module)
    weight = torch.cat([m.weight for m in modules], 1 if side_by_side else 0)  # type: ignore[misc]
    bias = first.module.bias
    if first.added is not None and not side_by_side:
        bias = torch.cat([m.bias for m in modules])  # type: ignore[misc]
    given = {"weight": frozen(weight), "bias": None if bias is None else frozen(bias)}  # type: ignore[arg-type]
    made.__dict__["_parameters"] = {**first.module.__dict__["_parameters"], **given}
    dense = isinstance(made, nn.Linear)
    made.__dict__["in_features" if dense else "in_channels"] = weight.shape[1]
    made.__dict__["out_features" if dense else "out_channels"] = weight.shape[0]
    together = Weighted(made, "weight", first.added, first.before)
    return Unbiased(together) if isinstance(layers[0], Unbiased) else together
