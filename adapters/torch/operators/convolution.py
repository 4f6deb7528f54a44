"""Convolutions and transposed convolutions in one to three dimensions, with all forms of padding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from ..dtypes import to_tensor
from .linear import frozen, is_float
from .registry import Converted, converter, function_module
from .windows import Geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..node import Node

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_CONV: dict[int, Callable[..., torch.Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., torch.Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
SAME = ("SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Window(Geometry):
    """Geometry of a convolution."""

    group: int

    @property
    def symmetric(self) -> bool:
        """Whether as much is added before as after, whatever the size of the input."""
        return self.auto_pad not in SAME and self.pads[: self.rank] == self.pads[self.rank :] and min(self.pads) >= 0

    def padding(self, sizes: Sequence[int]) -> list[int]:
        """Return what is added to an input of these sizes, in the order of torch's ``pad``."""
        pairs = []
        for axis, size in enumerate(sizes):
            if self.auto_pad not in SAME:
                pairs.append((self.pads[axis], self.pads[axis + self.rank]))
                continue
            extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            total = max(0, (math.ceil(size / self.strides[axis]) - 1) * self.strides[axis] + extent - size)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if self.auto_pad == "SAME_UPPER" else (large, small))
        return [n for pair in reversed(pairs) for n in pair]


class Padding(nn.Module):
    """Zeros around an input, as many as the window asks for at its size."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad the spatial axes of (batch, channels, ...)."""
        return F.pad(x, self.window.padding(x.shape[2:]))


def window_of(node: Node, kernel: Sequence[int]) -> Window:
    """Read the geometry from a node's attributes; ``CapabilityError`` for more than three spatial axes."""
    rank, given = len(kernel), node.attributes
    if rank not in CONV:
        raise node.refusal("spatial axes", rank)
    auto_pad = given.get("auto_pad", "NOTSET")
    if auto_pad not in {"NOTSET", "VALID", *SAME}:
        raise node.refusal("auto_pad", auto_pad)
    return Window(
        tuple(kernel),
        tuple(given.get("strides") or [1] * rank),
        tuple(given.get("dilations") or [1] * rank),
        tuple(given.get("pads") or [0] * 2 * rank) if auto_pad == "NOTSET" else (0,) * 2 * rank,
        auto_pad,
        given.get("group", 1),
    )


@converter("Conv")
def conv(node: Node) -> Converted:
    """Cross-correlation of (batch, channels, ...) with a kernel (out, channels / group, ...)."""
    kernel = node.constant(1)
    if kernel is not None and is_float(kernel) and (not node.given(2) or 2 in node.constants):
        return Converted(conv_module(node), (0,))

    def correlate(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        window = window_of(node, weight.shape[2:])
        padded = F.pad(x, window.padding(x.shape[2:]))
        settings: dict[str, Any] = {"stride": window.strides, "dilation": window.dilations, "groups": window.group}
        return _CONV[window.rank](padded, weight, bias, **settings)

    return function_module(correlate, node)


def conv_module(node: Node) -> nn.Module:
    """Return a convolution with constant weights; one that torch cannot pad itself has a ``Padding`` before it."""
    weight, bias = to_tensor(node.constants[1]), node.constant(2)
    window = window_of(node, weight.shape[2:])
    module = CONV[
        window.rank
    ](
        weight.shape[1] * window.group,
        weight.shape[0],
        window.kernel,  # type: ignore[arg-type]
        window.strides,  # type: ignore[arg-type]
        window.pads[: window.rank] if window.symmetric else 0,  # type: ignore[arg-type]
        window.dilations,  # type: ignore[arg-type]
        window.group,
        bias=bias is not None,
        device="meta",
    )
    module.weight = frozen(weight)
    if bias is not None:
        module.bias = frozen(to_tensor(bias))
    return module if window.symmetric else nn.Sequential(Padding(window), module)


@converter("ConvTranspose")
def conv_transpose(node: Node) -> Converted:
    """Transposed convolution; the kernel is (channels, out / group, ...)."""
    kernel = node.constant(1)
    constant = kernel is not None and is_float(kernel) and (not node.given(2) or 2 in node.constants)
    if constant and kernel is not None:
        window = window_of(node, kernel.shape[2:])
        added = tuple(node.attributes.get("output_padding") or [0] * window.rank)
        steps = zip(added, window.strides, window.dilations, strict=True)
        plain = window.symmetric and "output_shape" not in node.attributes
        if plain and all(a < max(s, d) for a, s, d in steps):
            return Converted(_transposed_module(node, window, added), (0,))

    def spread(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        window = window_of(node, weight.shape[2:])
        settings: dict[str, Any] = {"stride": window.strides, "dilation": window.dilations, "groups": window.group}
        full = _TRANSPOSED[window.rank](x, weight, **settings)
        cut = F.pad(full, _cropping(node, window, x.shape[2:]))
        return cut if bias is None else cut + bias.reshape(-1, *[1] * window.rank)

    return function_module(spread, node)


def _transposed_module(node: Node, window: Window, added: tuple[int, ...]) -> nn.Module:
    weight, bias = to_tensor(node.constants[1]), node.constant(2)
    module = TRANSPOSED[
        window.rank
    ](
        weight.shape[0],
        weight.shape[1] * window.group,
        window.kernel,  # type: ignore[arg-type]
        window.strides,  # type: ignore[arg-type]
        window.pads[: window.rank],  # type: ignore[arg-type]
        added,  # type: ignore[arg-type]
        window.group,
        bias is not None,
        window.dilations,  # type: ignore[arg-type]
        device="meta",
    )
    module.weight = frozen(weight)
    if bias is not None:
        module.bias = frozen(to_tensor(bias))
    return module


def _cropping(node: Node, window: Window, sizes: Sequence[int]) -> list[int]:
    """Return what is added to (below zero: cut from) the full output, in the order of torch's ``pad``."""
    wanted, same = node.attributes.get("output_shape"), window.auto_pad in SAME
    if wanted is not None:
        wanted, same = wanted[-window.rank :], False
    elif same:
        wanted = [size * stride for size, stride in zip(sizes, window.strides, strict=True)]
    added = node.attributes.get("output_padding") or [0] * window.rank
    pairs = []
    for axis, size in enumerate(sizes):
        if wanted is None:
            pairs.append((-window.pads[axis], added[axis] - window.pads[axis + window.rank]))
            continue
        made = (size - 1) * window.strides[axis] + (window.kernel[axis] - 1) * window.dilations[axis] + 1
        total = max(0, made + added[axis] - wanted[axis])
        half = total // 2 if window.auto_pad == "SAME_UPPER" else total - total // 2
        length = min(wanted[axis], made + added[axis]) if same else wanted[axis]
        pairs.append((-half, length + half - made))
    return [n for pair in reversed(pairs) for n in pair]
