"""Operators on quantised values: products and convolutions of integers, and ONNX Runtime's QLinear family.

Each is what its definition says: restore real values, compute, quantise again; see quantised.py for the gradient.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .quantised import (
    MICROSOFT,
    Grid,
    carrier,
    dynamic_parameters,
    grid_of_tensor,
    output_grid,
    rounded,
)
from .registry import Converted, converter, find, function_module

if TYPE_CHECKING:
    from torch import nn

    from ..node import Node

    Maybe = torch.Tensor | None


def shifted(x: torch.Tensor, zero: Maybe, dtype: torch.dtype) -> torch.Tensor:
    """``x - zero point`` as whole numbers of a floating-point type; the zero point broadcasts."""
    return x.to(dtype) if zero is None else x.to(dtype) - zero.to(dtype)


def restored(x: torch.Tensor, scale: torch.Tensor, zero: Maybe) -> torch.Tensor:
    """``(x - zero point) scale``, one scale for all."""
    return shifted(x, zero, carrier(x, scale)) * scale


def requantised(y: torch.Tensor, scale: torch.Tensor, zero: Maybe, grid: Grid | None) -> torch.Tensor:
    """``saturate(round(y / scale) + zero point)``, one scale for all."""
    if grid is None:
        grid = grid_of_tensor(scale if zero is None else zero)
    whole = rounded(y / scale)
    return torch.clamp(whole if zero is None else whole + zero.to(whole.dtype), grid.low, grid.high)


def rows(parameter: Maybe) -> Maybe:
    """Return a parameter of a left factor: one for all, one per row, or already shaped (..., M, 1)."""
    return (
        parameter.unsqueeze(-1)
        if parameter is not None and parameter.ndim == 1 and parameter.numel() > 1
        else parameter
    )


def _integer_conv(node: Node) -> nn.Module:
    """Return the convolution of a node as a module of (x, w)."""
    plain = replace(
        node, op_type="Conv", domain="", version=11, inputs=("x", "w"), outputs=node.outputs[:1], constants={}
    )
    convert = find(plain)
    if convert is None:
        raise node.refusal("operator", "Conv")
    return convert(plain).module


def _by_channel(parameter: torch.Tensor, ndim: int) -> torch.Tensor:
    """Shape one parameter per output channel, or one for all, to broadcast over a kernel (out, in, ...)."""
    return parameter.reshape(-1, *[1] * (ndim - 1)) if parameter.numel() > 1 else parameter.reshape(())


@converter("ConvInteger")
def conv_integer(node: Node) -> Converted:
    """``conv(x - x_zero, w - w_zero)``."""
    conv = _integer_conv(node)

    def product(x: torch.Tensor, w: torch.Tensor, x_zero: Maybe = None, w_zero: Maybe = None) -> torch.Tensor:
        dtype = carrier(x)
        zero = None if w_zero is None else _by_channel(w_zero, w.ndim)
        result: torch.Tensor = conv(shifted(x, x_zero, dtype), shifted(w, zero, dtype))
        return result

    return function_module(product, node)


@converter("QLinearConv")
def qlinear_conv(node: Node) -> Converted:
    """Quantised convolution; the bias has the scale ``x_scale w_scale`` and zero point 0."""
    conv, grid = _integer_conv(node), output_grid(node, 7)

    def product(  # noqa: PLR0913, PLR0917 - the operator has nine inputs
        x: torch.Tensor,
        x_scale: torch.Tensor,
        x_zero: Maybe,
        w: torch.Tensor,
        w_scale: torch.Tensor,
        w_zero: Maybe,
        y_scale: torch.Tensor,
        y_zero: Maybe = None,
        bias: Maybe = None,
    ) -> torch.Tensor:
        dtype = carrier(x, x_scale)
        zero = None if w_zero is None else _by_channel(w_zero, w.ndim)
        y = conv(shifted(x, x_zero, dtype), shifted(w, zero, dtype))
        if bias is not None:
            y = y + _by_channel(bias.to(dtype), y.ndim - 1)
        return requantised(y * _by_channel(x_scale * w_scale, y.ndim - 1), y_scale, y_zero, grid)

    return function_module(product, node)


@converter("MatMulInteger")
def matmul_integer(node: Node) -> Converted:
    """Return ``(A - a_zero) (B - b_zero)``."""

    def product(a: torch.Tensor, b: torch.Tensor, a_zero: Maybe = None, b_zero: Maybe = None) -> torch.Tensor:
        dtype = carrier(a)
        return shifted(a, rows(a_zero), dtype) @ shifted(b, b_zero, dtype)

    return function_module(product, node)


@converter("QLinearMatMul")
def qlinear_matmul(node: Node) -> Converted:
    """Quantised product; a scale is one for all, per row of A or column of B, or shaped (..., M, 1), (..., 1, N)."""
    grid = output_grid(node, 7)

    def product(
        a: torch.Tensor,
        a_scale: torch.Tensor,
        a_zero: torch.Tensor,
        b: torch.Tensor,
        b_scale: torch.Tensor,
        b_zero: torch.Tensor,
        y_scale: torch.Tensor,
        y_zero: torch.Tensor,
    ) -> torch.Tensor:
        dtype = carrier(a, a_scale)
        left = shifted(a, rows(a_zero), dtype) @ shifted(b, b_zero, dtype)
        by_row = a_scale if (shaped := rows(a_scale)) is None else shaped
        y = left * by_row.to(dtype) * b_scale.to(dtype)
        return requantised(y, y_scale.to(dtype), y_zero, grid)

    return function_module(product, node)


@converter("QGemm", domain=MICROSOFT)
def qgemm(node: Node) -> Converted:
    """``alpha A B + C``; C has the scale ``alpha a_scale b_scale``; without an output scale the result stays real."""
    given = node.attributes
    alpha, grid = given.get("alpha", 1.0), output_grid(node, 8) if node.given(7) else None

    def product(  # noqa: PLR0913, PLR0917 - the operator has nine inputs
        a: torch.Tensor,
        a_scale: torch.Tensor,
        a_zero: torch.Tensor,
        b: torch.Tensor,
        b_scale: torch.Tensor,
        b_zero: torch.Tensor,
        c: Maybe = None,
        y_scale: Maybe = None,
        y_zero: Maybe = None,
    ) -> torch.Tensor:
        dtype = carrier(a, a_scale)
        left, right = a.T if given.get("transA", 0) else a, b.T if given.get("transB", 0) else b
        y = shifted(left, a_zero, dtype) @ shifted(right, b_zero, dtype)
        y = y if c is None else y + c.to(dtype)
        y = alpha * y * a_scale * b_scale
        return y if y_scale is None else requantised(y, y_scale, y_zero, grid)

    return function_module(product, node)


@converter("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(node: Node) -> Converted:
    """Return ``(A - a_zero) (B - b_zero) a_scale b_scale + bias``."""

    def product(
        a: torch.Tensor,
        b: torch.Tensor,
        a_scale: torch.Tensor,
        b_scale: torch.Tensor,
        a_zero: Maybe = None,
        b_zero: Maybe = None,
        bias: Maybe = None,
    ) -> torch.Tensor:
        dtype = carrier(a, a_scale)
        y = (shifted(a, a_zero, dtype) @ shifted(b, b_zero, dtype)) * a_scale * b_scale
        return y if bias is None else y + bias

    return function_module(product, node)


@converter("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(node: Node) -> Converted:
    """Multiply ``A``, quantised to uint8 by what it holds, by ``(B - b_zero) b_scale``; add a bias."""

    def product(
        a: torch.Tensor, b: torch.Tensor, b_scale: torch.Tensor, b_zero: Maybe = None, bias: Maybe = None
    ) -> torch.Tensor:
        scale, zero = dynamic_parameters(a)
        whole = torch.clamp(rounded(a / scale) + zero, 0, 255) - zero
        y = (whole @ shifted(b, b_zero, a.dtype)) * (scale * b_scale)
        return y if bias is None else y + bias

    return function_module(product, node)
