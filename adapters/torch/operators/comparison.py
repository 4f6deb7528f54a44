"""Comparisons, logic and choices by truth value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .mathematics import aligned
from .registry import Converted, converter, function_module
from .unsigned import through_int64

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

COMPARISONS: dict[str, Callable[..., torch.Tensor]] = {
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}


@converter(*COMPARISONS)
def comparison(node: Node) -> Converted:
    """Compare pairs of elements: a truth value each."""
    return function_module(aligned(through_int64(COMPARISONS[node.op_type], keep=False), node), node)


@converter("Not")
def logical_not(node: Node) -> Converted:
    """Truth values turned."""
    return function_module(torch.logical_not, node)


@converter("Where")
def where(node: Node) -> Converted:
    """``x`` where the condition holds, else ``y``."""
    return function_module(torch.where, node)


@converter("IsNaN")
def is_nan(node: Node) -> Converted:
    """Whether an element is not a number."""
    return function_module(lambda x: torch.isnan(_comparable(x)), node)


@converter("IsInf")
def is_infinite(node: Node) -> Converted:
    """Whether an element is one of the infinities asked for."""
    signs = []
    if node.attributes["detect_positive"]:
        signs.append(torch.isposinf)
    if node.attributes["detect_negative"]:
        signs.append(torch.isneginf)

    def infinite(x: torch.Tensor) -> torch.Tensor:
        found = torch.zeros_like(x, dtype=torch.bool)
        for sign in signs:
            found = found | sign(_comparable(x))
        return found

    return function_module(infinite, node)


def _comparable(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype.itemsize == 1 else x  # torch has no such tests for float8


@converter("NonZero")
def non_zero(node: Node) -> Converted:
    """Positions of the elements that are not zero, shape (rank, count), in row-major order."""
    return function_module(through_int64(lambda x: torch.nonzero(x).t().contiguous(), keep=False), node)
