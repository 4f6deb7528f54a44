"""Recognising nodes: from a module and its operator to kind, form and, for linear ones, the linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from .. import fused
from ..operators.linear import BatchNorm
from ..operators.registry import Function
from .kinds import (
    ACTIVATION,
    ATTENTION,
    BATCH_NORM,
    CONV,
    DENSE,
    KIND_OF,
    LINEAR,
    MEANS,
    NORMALISATION,
    OTHER,
    PAIR,
    POOL,
    PRODUCT,
    SCALE,
    SHAPE,
    SUM,
)
from .linear import Average, Linear, Scale, Sum, Weighted, scale_of
from .patterns import Pair, Region, RmsNorm

if TYPE_CHECKING:
    from ..node import Node

Recognised = tuple[str, str, Linear | None]
_SCATTERED = ("ScatterElements", "ScatterND")
_TIMES = ("Mul", "MatMul", "FusedMatMul", "TransposeMatMul", "Einsum")
_MODULES: dict[type[nn.Module], Recognised] = {
    Region: (ACTIVATION, "gate", None),
    nn.GELU: (ACTIVATION, "Gelu", None),
    fused.LayerNorm: (NORMALISATION, "LayerNormalization", None),
    RmsNorm: (NORMALISATION, "RMSNormalization", None),
    fused.Attention: (ATTENTION, "decomposed", None),
    fused.Swapped: (SHAPE, "Transpose", None),
}


def recognised(module: nn.Module, source: Node, signals: tuple[bool, ...]) -> Recognised:
    """Return kind, form and linear map of a module; ``signals`` says which of its tensors are signals."""
    if isinstance(module, Pair):
        layer = _layer(module.linear)
        return PAIR, PAIR, _sum(module.linear, module.source) if layer is None else layer[1]
    layer = _layer(module)
    if layer is None and sum(signals) == 1:
        layer = _by_constant(module, source)
    if layer is not None:
        return LINEAR, *layer
    return _MODULES.get(type(module)) or _by_operator(module, source, sum(signals))


def _by_operator(module: nn.Module, source: Node, signals: int) -> Recognised:
    """Return what an operator on so many signals is."""
    op_type = source.op_type
    kind = KIND_OF.get(op_type, OTHER)
    if kind == SUM:
        return SUM, op_type, _sum(module, source)
    if op_type in _SCATTERED and source.attributes.get("reduction", "none") != "none":
        return OTHER, op_type, None  # elements are added up or compared there, not only moved
    if op_type == "Div" and 0 in source.constants:
        return ACTIVATION, "Reciprocal", None
    if op_type == "Pow" or (op_type in {"Max", "Min"} and signals == 1):
        return (ACTIVATION if signals == 1 else PRODUCT), op_type, None
    return kind, op_type, None


def _layer(module: nn.Module) -> tuple[str, Linear] | None:
    """Return form and map of a module with constant weights, and of pooling by means."""
    inner, before = module.conv if isinstance(module, fused.Patches) else module, None
    if isinstance(module, nn.Sequential) and len(module) == 2:
        before, inner = module[0], module[1]
    if isinstance(inner, nn.modules.conv._ConvNd):  # noqa: SLF001  # the base of all ranks has no public name
        return CONV, Weighted(inner, "weight", None if inner.bias is None else "bias", before)
    if isinstance(inner, nn.Linear):
        return DENSE, Weighted(inner, "weight", None if inner.bias is None else "bias")
    if isinstance(inner, BatchNorm):
        return BATCH_NORM, Weighted(scale_of(inner), "weight", "bias")
    if isinstance(inner, Scale):
        return SCALE, Weighted(inner, "weight", None if inner.bias is None else "bias")
    if isinstance(inner, (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)):
        return POOL, Average(inner)
    return None


def _by_constant(module: nn.Module, source: Node) -> tuple[str, Linear] | None:
    """Return form and map of a product with constants, and of means and sums over elements."""
    op_type, constants = source.op_type, source.constants
    if op_type in MEANS:
        return None if source.attributes.get("mode") == "cubic" else (POOL, Average(module))
    factors = {0, 1} & set(constants)
    if not isinstance(module, Function) or (len(factors) != 1 and op_type != "Scaler"):
        return None
    if op_type == "Scaler":
        offset, scale = module.get_buffer("constant1"), module.get_buffer("constant2")
        return SCALE, Weighted(Scale(scale, -offset * scale), "weight", "bias")
    return _with_factor(module, source, factors)


def _with_factor(module: Function, source: Node, factors: set[int]) -> tuple[str, Linear] | None:
    """Return form and map of a product with a constant at one of its first two inputs."""
    op_type, constants = source.op_type, source.constants
    (place,) = factors
    if op_type == "Div" and place == 1:
        return SCALE, Weighted(Scale(module.get_buffer("constant1").reciprocal()), "weight", None)
    if op_type == "Gemm" and (not source.given(2) or 2 in constants):
        return DENSE, Weighted(module, f"constant{place}", "constant2" if source.given(2) else None)
    if len(source.inputs) == 2 and op_type in _TIMES:
        factor = f"constant{place}"
        if op_type == "Mul":
            return SCALE, Weighted(Scale(module.get_buffer(factor)), "weight", None)
        return DENSE, Weighted(module, factor, None)
    return None


def _sum(module: nn.Module, source: Node) -> Sum:
    """Return the sum that a node is: of what it reads while running, and of its constants."""
    signs = {"Sub": (1.0, -1.0)}.get(source.op_type, (1.0,) * len(source.inputs))
    if source.op_type == "Mean":
        signs = tuple(1.0 / len(source.inputs) for _ in source.inputs)
    constant = None
    for place in source.constants:
        term = signs[place] * module.get_buffer(f"constant{place}")
        constant = term if constant is None else constant + term
    return Sum(tuple(s for k, s in enumerate(signs) if source.given(k) and k not in source.constants), constant)
