"""Pooling over moving windows and over whole planes: largest, mean, p-norm; and its inverse, MaxUnpool."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .reduction import least
from .registry import Converted, converter, function_module
from .windows import window_of

if TYPE_CHECKING:
    from ..node import Node
    from .windows import Window

MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


class MaxPool(nn.Module):
    """Largest element of each window, any padding; with ``indices`` also where it is in the whole input."""

    def __init__(self, window: Window, *, indices: bool = False, column_major: bool = False) -> None:
        super().__init__()
        self.window = window
        self.indices = indices
        self.column_major = column_major

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Pool ``x`` of shape (batch, channels, spatial..)."""
        window = self.window
        if window.rank not in MAX_POOLS:
            return window.views(window.padded(x, least(x.dtype))).amax(window.inside)
        pool = MAX_POOLS[window.rank]
        values = x if x.is_floating_point() else x.float()
        pads = window.even(x.shape[2:])
        if pads is not None and not self.indices:
            pooled: torch.Tensor = pool(values, window.kernel, window.strides, pads, window.dilations)
            return pooled.to(x.dtype)
        padded = window.padded(values, -torch.inf)
        if not self.indices:
            pooled = pool(padded, window.kernel, window.strides, dilation=window.dilations)
            return pooled.to(x.dtype)
        pooled, chosen = pool(padded, window.kernel, window.strides, dilation=window.dilations, return_indices=True)
        return pooled.to(x.dtype), self._numbers(chosen, padded.shape[2:], x.shape)

    def _numbers(self, chosen: torch.Tensor, padded: torch.Size, shape: torch.Size) -> torch.Tensor:
        """Turn numbers of elements of a padded plane into those of the whole input.

        Within a plane they count row by row, or with ``column_major`` the first spatial axis runs fastest.
        """
        sizes = shape[2:]
        places = torch.unravel_index(chosen, padded)
        axes = list(range(len(sizes)))
        number, step = torch.zeros_like(chosen), 1
        for axis in axes if self.column_major else reversed(axes):
            number = number + (places[axis] - self.window.margins(sizes)[axis].begin) * step
            step *= sizes[axis]
        planes = torch.arange(shape[0] * shape[1], device=chosen.device)
        return number + planes.view(shape[0], shape[1], *(1,) * len(sizes)) * step


class AveragePool(nn.Module):
    """Mean of each window: over its elements, with padding if ``count_padding``; never over what lies beyond that."""

    def __init__(self, window: Window, *, count_padding: bool) -> None:
        super().__init__()
        self.window = window
        self.count_padding = count_padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool ``x`` of shape (batch, channels, spatial..)."""
        window = self.window
        pool = AVERAGE_POOLS.get(window.rank) if all(d == 1 for d in window.dilations) else None
        pads = window.even(x.shape[2:])
        if pool and pads is not None:
            counted: torch.Tensor = pool(x, window.kernel, window.strides, pads, count_include_pad=self.count_padding)
            return counted
        padded = window.padded(x, 0.0)
        if pool:
            mean: torch.Tensor = pool(padded, window.kernel, window.strides)
        else:
            mean = window.views(padded).mean(window.inside)
        return mean * (math.prod(window.kernel) / self._counts(x)).to(x.dtype)

    def _counts(self, x: torch.Tensor) -> torch.Tensor:
        """Return how many elements count in each window, shape (places..)."""
        counts = torch.ones((), device=x.device)
        window = self.window
        for axis, margin in enumerate(window.margins(x.shape[2:])):
            counted = torch.ones(x.shape[2 + axis], device=x.device)
            counted = functional.pad(counted, (margin.begin, margin.end), value=float(self.count_padding))
            counted = functional.pad(counted, (0, margin.overhang))
            extent = (window.kernel[axis] - 1) * window.dilations[axis] + 1
            per_place = counted.unfold(0, extent, window.strides[axis])[:, :: window.dilations[axis]].sum(-1)
            counts = counts.unsqueeze(-1) * per_place
        return counts


class _MaxPool1d(nn.MaxPool1d):
    """torch's own, and for 8-bit integers too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = super().forward(x if x.is_floating_point() else x.float())
        return pooled.to(x.dtype)


@converter("MaxPool")
def max_pool(node: Node) -> Converted:
    """Largest element of each window, and its position if asked for."""
    window = window_of(node)
    if window.rank in MAX_POOLS and window.symmetric and not node.wanted(1):
        kind = {1: _MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[window.rank]
        pads = window.pads[: window.rank]
        module = kind(window.kernel, window.strides, pads, dilation=window.dilations, ceil_mode=window.ceil)
        return Converted(module, (0,))
    if window.rank not in MAX_POOLS and node.wanted(1):
        raise node.refusal("indices", f"on {window.rank} spatial axes")
    column_major = bool(node.attributes.get("storage_order", 0))
    return Converted(MaxPool(window, indices=node.wanted(1), column_major=column_major), (0,))


@converter("AveragePool")
def average_pool(node: Node) -> Converted:
    """Mean of each window."""
    window = window_of(node)
    count_padding = bool(node.attributes.get("count_include_pad", 0))
    if window.rank in AVERAGE_POOLS and window.symmetric and all(d == 1 for d in window.dilations):
        kind = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}[window.rank]
        pads = window.pads[: window.rank]
        module = kind(window.kernel, window.strides, pads, ceil_mode=window.ceil, count_include_pad=count_padding)
        return Converted(module, (0,))
    return Converted(AveragePool(window, count_padding=count_padding), (0,))


@converter("LpPool")
def lp_pool(node: Node) -> Converted:
    """``(sum |x|^p)^(1/p)`` over each window."""
    window, p = window_of(node), float(node.attributes["p"])

    def pool(x: torch.Tensor) -> torch.Tensor:
        norm: torch.Tensor = torch.linalg.vector_norm(window.views(window.padded(x, 0.0)), p, window.inside)
        return norm

    return function_module(pool, node)


@converter("GlobalAveragePool")
def global_average_pool(node: Node) -> Converted:
    """Mean over all spatial axes."""
    return function_module(lambda x: x.mean(_spatial(x), keepdim=True), node)


@converter("GlobalMaxPool")
def global_max_pool(node: Node) -> Converted:
    """Largest element over all spatial axes; of equal ones the first gets the gradient."""

    def largest(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).max(-1).values.view(*x.shape[:2], *(1,) * (x.ndim - 2))

    return function_module(largest, node)


@converter("GlobalLpPool")
def global_lp_pool(node: Node) -> Converted:
    """``(sum |x|^p)^(1/p)`` over all spatial axes."""
    p = float(node.attributes["p"])
    return function_module(lambda x: torch.linalg.vector_norm(x, p, _spatial(x), keepdim=True), node)


def _spatial(x: torch.Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@converter("MaxUnpool")
def max_unpool(node: Node) -> Converted:
    """Put each value back where the index says, zeros elsewhere.

    Indices number the elements of the output that kernel, strides and pads imply; a larger ``output_shape`` adds zeros
    at the ends of the axes (onnx's reference implementation).
    """
    window = window_of(node)

    def implied(x: torch.Tensor) -> list[int]:
        begins, ends = window.pads[: window.rank], window.pads[window.rank :]
        sides = zip(x.shape[2:], window.strides, window.kernel, begins, ends, strict=True)
        return [(size - 1) * stride + kernel - begin - end for size, stride, kernel, begin, end in sides]

    def unpool(x: torch.Tensor, indices: torch.Tensor, shape: torch.Tensor | None = None) -> torch.Tensor:
        spatial = implied(x)
        flat = x.new_zeros(x.shape[0] * x.shape[1] * math.prod(spatial))
        result = flat.scatter(0, indices.reshape(-1), x.reshape(-1)).view(*x.shape[:2], *spatial)
        if shape is None:
            return result
        missing = [want - have for want, have in zip(shape.tolist(), result.shape, strict=True)]
        return functional.pad(result, [n for amount in reversed(missing) for n in (0, amount)])

    return function_module(unpool, node)
