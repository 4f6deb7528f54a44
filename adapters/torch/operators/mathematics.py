"""Arithmetic and elementary functions, element by element, and determinants."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from .registry import Converted, converter, function_module
from .unsigned import SIGNED, through_int64

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

ELEMENTWISE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Abs": through_int64(torch.abs),
    "Acosh": torch.acosh,
    "Asinh": torch.asinh,
    "Atanh": torch.atanh,
    "Cosh": torch.cosh,
    "Sign": through_int64(torch.sign),
    "Sinh": torch.sinh,
}


@converter(*ELEMENTWISE)
def elementwise(node: Node) -> Converted:
    """One function of each element."""
    return function_module(ELEMENTWISE[node.op_type], node)


def aligned(fn: Callable[..., torch.Tensor], node: Node) -> Callable[..., torch.Tensor]:
    """Return ``fn(a, b)`` with ``b`` lined up with the axes of ``a`` from ``axis`` on, where versions below 7 ask so.

    Without ``axis`` the last axes match, as they do everywhere since version 7.
    """
    if node.version >= 7 or not node.attributes.get("broadcast") or "axis" not in node.attributes:
        return fn
    axis = node.attributes["axis"]

    def lined_up(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        first = axis % a.ndim
        return fn(a, b.reshape((*b.shape, *(1,) * (a.ndim - first - b.ndim))))

    return lined_up


def _divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if a.is_floating_point() or a.is_complex():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


ARITHMETIC: dict[str, Callable[..., torch.Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _divide,
}


@converter(*ARITHMETIC)
def arithmetic(node: Node) -> Converted:
    """Add, subtract, multiply or divide; the quotient of integers is rounded towards zero, as in C."""
    return function_module(aligned(through_int64(ARITHMETIC[node.op_type]), node), node)


@converter("Pow")
def power(node: Node) -> Converted:
    """``x ** y``, in the type of ``x`` whatever that of ``y``."""
    exponent = node.constant(1)
    if exponent is not None and exponent.ndim == 0:
        number = exponent.item()
        return function_module(lambda x: _power(x, number), node, takes=(0,))
    return function_module(aligned(_power, node), node)


def _power(x: torch.Tensor, y: torch.Tensor | float) -> torch.Tensor:
    dtype = x.dtype
    if dtype in SIGNED:
        x = x.to(torch.int64)
    if isinstance(y, torch.Tensor) and y.dtype in SIGNED:
        y = y.to(torch.int64)
    return torch.pow(x, y).to(dtype)


@converter("Mod")
def modulo(node: Node) -> Converted:
    """Remainder of a division: with ``fmod`` it has the sign of ``a``, without that of ``b``."""
    fn = torch.fmod if node.attributes["fmod"] else torch.remainder
    return function_module(through_int64(fn), node)


def _variadic(pair: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *tensors: functools.reduce(pair, tensors)


@converter("Sum")
def total(node: Node) -> Converted:
    """Sum of all inputs, broadcast."""
    return function_module(through_int64(_variadic(torch.add)), node)


@converter("Mean")
def mean(node: Node) -> Converted:
    """Mean of all inputs, broadcast."""
    count = len(node.inputs)
    return function_module(lambda *tensors: functools.reduce(torch.add, tensors) / count, node)


@converter("Max", "Min")
def extremum(node: Node) -> Converted:
    """Largest or smallest of all inputs, broadcast; equal inputs share the gradient."""
    pair = torch.maximum if node.op_type == "Max" else torch.minimum
    return function_module(through_int64(_variadic(pair)), node)


@converter("Det")
def determinant(node: Node) -> Converted:
    """Take the determinants of the matrices in the last two axes."""

    def det(x: torch.Tensor) -> torch.Tensor:
        wide = x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
        value: torch.Tensor = torch.linalg.det(wide)
        return value.to(x.dtype)

    return function_module(det, node)


BITWISE: dict[str, Callable[..., torch.Tensor]] = {
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}


@converter(*BITWISE)
def bitwise(node: Node) -> Converted:
    """Bit by bit."""
    return function_module(BITWISE[node.op_type], node)


@converter("BitwiseNot")
def bitwise_not(node: Node) -> Converted:
    """All bits turned."""
    return function_module(lambda x: torch.bitwise_not(_bits(x)).view(x.dtype), node)


def _bits(x: torch.Tensor) -> torch.Tensor:
    return x.view(SIGNED.get(x.dtype, x.dtype))


@converter("BitShift")
def bit_shift(node: Node) -> Converted:
    """``x << y`` or ``x >> y``; what comes in from the left is zeros, or copies of the sign of signed integers."""
    direction = node.attributes["direction"]
    if direction not in {"LEFT", "RIGHT"}:
        raise node.refusal("direction", direction)
    return function_module(_shift_left if direction == "LEFT" else _shift_right, node)


def _shift_left(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.bitwise_left_shift(_bits(x), _bits(y)).view(x.dtype)


def _shift_right(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if x.dtype not in SIGNED:
        return torch.bitwise_right_shift(x, y)
    # torch sees the bits of an unsigned integer as a signed one: the first step clears the copy of its top bit.
    bits, steps = _bits(x), _bits(y)
    halved = torch.bitwise_right_shift(bits, 1) & torch.iinfo(bits.dtype).max
    shifted = torch.bitwise_right_shift(halved, torch.clamp(steps - 1, min=0))
    return torch.where(steps == 0, bits, shifted).view(x.dtype)
