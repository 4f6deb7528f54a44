"""Element-wise and pooling operators of com.microsoft on quantised values: restore them, compute, quantise again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .quantised import MICROSOFT, output_grid
from .quantised_products import requantised, restored
from .registry import Converted, converter, find, function_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

    Maybe = torch.Tensor | None


def _binary(node: Node, fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Converted:
    grid = output_grid(node, 7)

    def combined(
        a: torch.Tensor,
        a_scale: torch.Tensor,
        a_zero: Maybe,
        b: torch.Tensor,
        b_scale: torch.Tensor,
        b_zero: Maybe,
        y_scale: torch.Tensor,
        y_zero: Maybe = None,
    ) -> torch.Tensor:
        return requantised(fn(restored(a, a_scale, a_zero), restored(b, b_scale, b_zero)), y_scale, y_zero, grid)

    return function_module(combined, node)


@converter("QLinearAdd", domain=MICROSOFT)
def qlinear_add(node: Node) -> Converted:
    """Return ``a + b``, quantised."""
    return _binary(node, torch.add)


@converter("QLinearMul", domain=MICROSOFT)
def qlinear_mul(node: Node) -> Converted:
    """Return ``a b``, quantised."""
    return _binary(node, torch.mul)


def _unary(node: Node, fn: Callable[[torch.Tensor], torch.Tensor]) -> Converted:
    grid = output_grid(node, 4)

    def applied(
        x: torch.Tensor, x_scale: torch.Tensor, x_zero: Maybe, y_scale: torch.Tensor, y_zero: Maybe = None
    ) -> torch.Tensor:
        return requantised(fn(restored(x, x_scale, x_zero)), y_scale, y_zero, grid)

    return function_module(applied, node)


@converter("QLinearSigmoid", domain=MICROSOFT)
def qlinear_sigmoid(node: Node) -> Converted:
    """``1 / (1 + e^-x)``."""
    return _unary(node, torch.sigmoid)


@converter("QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_leaky_relu(node: Node) -> Converted:
    """``x`` where ``x >= 0``, else ``alpha x``."""
    alpha = node.attributes.get("alpha", 0.01)
    return _unary(node, lambda x: F.leaky_relu(x, alpha))


@converter("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(node: Node) -> Converted:
    """Mean over all spatial axes, which come last or, with ``channels_last``, before the channels."""
    last = bool(node.attributes.get("channels_last", 0))

    def mean(x: torch.Tensor) -> torch.Tensor:
        return x.mean(tuple(range(1, x.ndim - 1) if last else range(2, x.ndim)), keepdim=True)

    return _unary(node, mean)


@converter("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(node: Node) -> Converted:
    """Concatenation along an axis; inputs are the output's scale and zero point, then (x, scale, zero point) each."""
    axis, grid = node.attributes["axis"], output_grid(node, 1)

    def joined(y_scale: torch.Tensor, y_zero: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
        triples = zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
        return requantised(torch.cat([restored(*t) for t in triples], axis), y_scale, y_zero, grid)

    return function_module(joined, node)


@converter("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(node: Node) -> Converted:
    """Softmax along an axis; of models before opset 13, over all axes from that one on."""
    axis, flattens = node.attributes.get("axis", -1), node.attributes["opset"] < 13

    def softmax(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x.flatten(axis), -1).reshape(x.shape) if flattens else torch.softmax(x, axis)

    return _unary(node, softmax)


@converter("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(node: Node) -> Converted:
    """Average pooling; with ``channels_last`` the channels follow the spatial axes."""
    defaults = {"auto_pad": "NOTSET", "ceil_mode": 0, "count_include_pad": 0}
    plain = replace(
        node,
        op_type="AveragePool",
        domain="",
        version=11,
        inputs=("x",),
        constants={},
        attributes=defaults | node.attributes,
    )
    convert = find(plain)
    if convert is None:
        raise node.refusal("operator", "AveragePool")
    pool, last = convert(plain).module, bool(node.attributes.get("channels_last", 0))

    def pooled(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = pool(x.movedim(-1, 1) if last else x)
        return y.movedim(1, -1) if last else y

    return _unary(node, pooled)


@converter("QLinearReduceMean", domain=MICROSOFT)
def qlinear_reduce_mean(node: Node) -> Converted:
    """Mean over axes, by default over all."""
    axes, kept = tuple(node.attributes.get("axes") or ()), bool(node.attributes.get("keepdims", 1))
    return _unary(node, lambda x: x.mean(axes or tuple(range(x.ndim)), keepdim=kept))


@converter("QLinearWhere", domain=MICROSOFT)
def qlinear_where(node: Node) -> Converted:
    """``x`` where the condition is true, else ``y``."""
    grid = output_grid(node, 8)

    def chosen(  # noqa: PLR0913, PLR0917 - the operator has nine inputs
        condition: torch.Tensor,
        x: torch.Tensor,
        x_scale: torch.Tensor,
        x_zero: Maybe,
        y: torch.Tensor,
        y_scale: torch.Tensor,
        y_zero: Maybe,
        z_scale: torch.Tensor,
        z_zero: Maybe = None,
    ) -> torch.Tensor:
        z = torch.where(condition, restored(x, x_scale, x_zero), restored(y, y_scale, y_zero))
        return requantised(z, z_scale, z_zero, grid)

    return function_module(chosen, node)
