"""Quantisation: to integers and back, with the straight-through gradient (Bengio et al. 2013, 1308.3432).

A gradient cannot pass through a tensor of integers. Quantised values are therefore carried as whole numbers in a
floating-point tensor; rounding has gradient 1, saturation 0 beyond its bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch
from onnx import TensorProto, helper
from torch.nn import functional as F

from ..dtypes import torch_dtype
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

MICROSOFT = "com.microsoft"
_FLOAT8 = {
    np.dtype(ml_dtypes.float8_e4m3fn): torch.float8_e4m3fn,
    np.dtype(ml_dtypes.float8_e4m3fnuz): torch.float8_e4m3fnuz,
    np.dtype(ml_dtypes.float8_e5m2): torch.float8_e5m2,
    np.dtype(ml_dtypes.float8_e5m2fnuz): torch.float8_e5m2fnuz,
}
_NARROW = {np.dtype(ml_dtypes.int4): (-8.0, 7.0), np.dtype(ml_dtypes.uint4): (0.0, 15.0)}


class RoundThrough(torch.autograd.Function):
    """Round to a grid (half to even), with the gradient of the identity; the grid is the integers or a float8 type."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, grid: torch.dtype | None) -> torch.Tensor:
        """Round."""
        return torch.round(x) if grid is None else x.to(grid).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Pass the gradient on."""
        del ctx
        return gradient, None


def rounded(x: torch.Tensor, grid: torch.dtype | None = None) -> torch.Tensor:
    """Round half to even, with gradient 1."""
    result: torch.Tensor = RoundThrough.apply(x, grid)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class Grid:
    """The values of a quantised type: whole numbers from ``low`` to ``high``, or those of a float8 type."""

    low: float
    high: float
    float8: torch.dtype | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Round, then saturate where the grid has bounds."""
        if self.float8 is None:
            return torch.clamp(rounded(x), self.low, self.high)
        return rounded(torch.clamp(x, self.low, self.high), self.float8)


def grid_of(node: Node, dtype: np.dtype[Any], *, saturate: bool = True) -> Grid:
    """Return the grid of an element type; raises ``CapabilityError`` for types that torch cannot express."""
    dtype = np.dtype(dtype)
    if dtype in _FLOAT8:
        high = torch.finfo(_FLOAT8[dtype]).max if saturate else math.inf
        return Grid(-high, high, _FLOAT8[dtype])
    if dtype in _NARROW:
        return Grid(*_NARROW[dtype])
    if dtype.kind not in "iu":
        raise node.refusal("output type", dtype)
    return Grid(float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))


def output_grid(node: Node, zero_point: int, *, saturate: bool = True) -> Grid | None:
    """Return the grid that a node's zero point or ``output_dtype`` names; None where only the run can tell."""
    known = node.constant(zero_point)
    if known is not None:
        return grid_of(node, known.dtype, saturate=saturate)
    if named := node.attributes.get("output_dtype", TensorProto.UNDEFINED):
        return grid_of(node, helper.tensor_dtype_to_np_dtype(named), saturate=saturate)
    return None if node.given(zero_point) else grid_of(node, np.dtype(np.uint8))


def grid_of_tensor(zero_point: torch.Tensor) -> Grid:
    """Return the grid of a computed zero point; a carried one comes from DynamicQuantizeLinear and so is uint8."""
    if zero_point.dtype in _FLOAT8.values():
        high = torch.finfo(zero_point.dtype).max
        return Grid(-high, high, zero_point.dtype)
    bounds = torch.iinfo(torch.uint8 if zero_point.is_floating_point() else zero_point.dtype)
    return Grid(float(bounds.min), float(bounds.max))


def spread(parameter: torch.Tensor, x: torch.Tensor, axis: int, block: int) -> torch.Tensor:
    """Return a scale or zero point, one for all, per index of an axis or per block, so that it broadcasts to ``x``."""
    if parameter.numel() == 1 and not block:
        return parameter.reshape(())
    if block:
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    shape = [1] * x.ndim
    shape[axis] = -1
    return parameter.reshape(shape)


def carrier(*tensors: torch.Tensor) -> torch.dtype:
    """Return the type that carries quantised values: float32 at least, so that 16-bit integers are exact."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


@converter("QuantizeLinear", domain=MICROSOFT)
@converter("QuantizeLinear", since=10)
def quantize_linear(node: Node) -> Converted:
    """``saturate(round(x / scale) + zero point)``."""
    axis, block = node.attributes.get("axis", 1), node.attributes.get("block_size", 0)
    known = output_grid(node, 2, saturate=bool(node.attributes.get("saturate", 1)))
    if node.attributes.get("precision", 0) not in {0, TensorProto.FLOAT, TensorProto.DOUBLE}:
        raise node.refusal("precision", node.attributes["precision"])

    def quantised(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
        dtype = carrier(x, scale)
        ratio = x.to(dtype) / spread(scale, x, axis, block).to(dtype)
        grid = grid_of_tensor(scale if zero is None else zero) if known is None else known
        if zero is None:
            return grid(ratio)
        shift = spread(zero, x, axis, block).to(dtype)
        return grid(ratio) if grid.float8 else torch.clamp(rounded(ratio) + shift, grid.low, grid.high)

    return function_module(quantised, node)


@converter("DequantizeLinear", domain=MICROSOFT)
@converter("DequantizeLinear", since=10)
def dequantize_linear(node: Node) -> Converted:
    """``(x - zero point) scale``, in the type of the scale."""
    axis, block = node.attributes.get("axis", 1), node.attributes.get("block_size", 0)
    named = node.attributes.get("output_dtype", TensorProto.UNDEFINED)

    def restored(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
        dtype = carrier(x, scale)
        y = x.to(dtype) if zero is None else x.to(dtype) - spread(zero, x, axis, block).to(dtype)
        y = y * spread(scale, x, axis, block).to(dtype)
        return y.to(torch_dtype(named) if named else scale.dtype)

    return function_module(restored, node)


def dynamic_parameters(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and zero point, () each, that fit all of ``x`` and 0 into uint8; constants for the gradient."""
    low, high = (bound.detach() for bound in torch.aminmax(F.pad(x.flatten(), (0, 1))))
    scale = torch.where(high == low, torch.ones_like(low), (high - low) / 255)
    return scale, torch.clamp(torch.round(-low / scale), 0, 255)


@converter("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node) -> Converted:
    """Quantise to uint8 with a scale that fits the input."""

    def quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scale, zero = dynamic_parameters(x)
        return torch.clamp(rounded(x / scale) + zero, 0, 255), scale, zero

    return function_module(quantised, node)
