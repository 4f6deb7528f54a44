"""Reductions along axes, running sums and products, and the largest elements."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

import torch

from .registry import Converted, converter, function_module
from .unsigned import through_int64, widened

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

Axes = tuple[int, ...]


class Reduce(Protocol):
    """Reduces axes, counted from the start; with ``keep`` they stay with length 1."""

    def __call__(self, x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
        """Return the reduced tensor."""


def _sum(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _mean(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    count = functools.reduce(lambda n, axis: n * x.shape[axis], axes, 1)
    return torch.div(_sum(x, axes, keep=keep), count, rounding_mode="trunc")


def _product(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _largest(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    if any(x.shape[axis] == 0 for axis in axes):
        return _constant(x, axes, least(x.dtype), keep=keep)
    return x.amax(axes, keepdim=keep)


def _smallest(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    if any(x.shape[axis] == 0 for axis in axes):
        return _constant(x, axes, greatest(x.dtype), keep=keep)
    return x.amin(axes, keepdim=keep)


def _constant(x: torch.Tensor, axes: Axes, value: float, *, keep: bool) -> torch.Tensor:
    """Return what a reduction of no elements gives."""
    return torch.full_like(x.to(torch.float32).sum(axes, keepdim=keep), value, dtype=x.dtype)


def least(dtype: torch.dtype) -> float:
    """Return the number that is below all others of a type: minus infinity for floats."""
    if dtype == torch.bool:
        return 0
    return -torch.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def greatest(dtype: torch.dtype) -> float:
    """Return the number that is above all others of a type: infinity for floats."""
    if dtype == torch.bool:
        return 1
    return torch.inf if dtype.is_floating_point else torch.iinfo(dtype).max


def _l1(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    return _sum(x.abs(), axes, keep=keep)


def _l2(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    if x.is_floating_point():
        norm: torch.Tensor = torch.linalg.vector_norm(x, 2, axes, keepdim=keep)  # its gradient at 0 is 0, not 0 / 0
        return norm
    return _sum(x * x, axes, keep=keep).to(torch.float64).sqrt().to(x.dtype)


def _sum_square(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    return _sum(x * x, axes, keep=keep)


def _log_sum(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    if x.is_floating_point():
        return x.sum(axes, keepdim=keep).log()
    return _sum(x, axes, keep=keep).to(torch.float64).log().to(x.dtype)


def _log_sum_exp(x: torch.Tensor, axes: Axes, *, keep: bool) -> torch.Tensor:
    if x.is_floating_point():
        return torch.logsumexp(x, axes, keepdim=keep)
    return torch.logsumexp(x.to(torch.float64), axes, keepdim=keep).to(x.dtype)


REDUCTIONS: dict[str, Reduce] = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _largest,
    "ReduceMean": _mean,
    "ReduceMin": _smallest,
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_square,
}
# What is left of a reduction over no axes at all: the steps that are done to each element.
PER_ELEMENT: dict[str, Callable[..., torch.Tensor]] = {
    "ReduceL1": torch.abs,
    "ReduceL2": torch.abs,
    "ReduceLogSum": torch.log,
    "ReduceSumSquare": torch.square,
}


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


@converter(*REDUCTIONS)
def reduction(node: Node) -> Converted:
    """Reduce over the axes given by attribute or input; over all of them where none are given.

    No axes with ``noop_with_empty_axes`` leave the shape as it is.
    """
    reduce = REDUCTIONS[node.op_type]
    keep = bool(node.attributes.get("keepdims", 1))
    noop = bool(node.attributes.get("noop_with_empty_axes", 0))
    per_element = PER_ELEMENT.get(node.op_type, _same)

    def over(x: torch.Tensor, axes: list[int]) -> torch.Tensor:
        if axes:
            return reduce(x, tuple(axis % x.ndim for axis in axes), keep=keep) if x.ndim else per_element(x)
        if noop or x.ndim == 0:
            return per_element(x)
        return reduce(x, tuple(range(x.ndim)), keep=keep)

    known = node.constant(1)
    if node.given(1) and known is None:
        return function_module(
            lambda x, axes: through_int64(lambda values: over(values, axes.reshape(-1).tolist()))(x), node
        )
    given = known.reshape(-1).tolist() if known is not None else node.attributes.get("axes") or []
    axes = [int(axis) for axis in given]
    return function_module(through_int64(lambda x: over(x, axes)), node, takes=(0,))


@converter("ArgMax", "ArgMin")
def arg_extremum(node: Node) -> Converted:
    """Position of the largest or smallest element along an axis: the first one, or the last."""
    axis = node.attributes.get("axis", 0)
    keep = bool(node.attributes.get("keepdims", 1))
    last = bool(node.attributes.get("select_last_index", 0))
    search: Callable[..., torch.Tensor] = torch.argmax if node.op_type == "ArgMax" else torch.argmin

    def position(x: torch.Tensor) -> torch.Tensor:
        if not last:
            return search(x, axis, keepdim=keep)
        from_end = search(x.flip(axis), axis, keepdim=keep)
        return torch.rsub(from_end, x.shape[axis] - 1)

    return function_module(through_int64(position, keep=False), node)


@converter("TopK")
def top_k(node: Node) -> Converted:
    """Return the K largest (or smallest) elements along an axis and their positions; of equal ones the first."""
    axis = node.attributes["axis"]
    largest = bool(node.attributes.get("largest", 1))

    def top(x: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        order = torch.sort(widened(x), dim=axis, descending=largest, stable=True).indices.narrow(axis, 0, k)
        return _taken(x, axis, order), order

    known = node.attributes["k"] if node.version < 10 else node.constant(1)
    if known is None:
        return function_module(lambda x, k: top(x, int(k)), node)
    count = int(known) if node.version < 10 else int(known.reshape(-1)[0])
    return function_module(lambda x: top(x, count), node, takes=(0,))


def _taken(x: torch.Tensor, axis: int, positions: torch.Tensor) -> torch.Tensor:
    return through_int64(lambda values: torch.gather(values, axis, positions))(x)


@converter("CumSum")
def cumulative_sum(node: Node) -> Converted:
    """Sum up along an axis."""
    return _cumulative(node, torch.cumsum, 0)


@converter("CumProd")
def cumulative_product(node: Node) -> Converted:
    """Multiply up along an axis."""
    return _cumulative(node, torch.cumprod, 1)


def _cumulative(node: Node, running: Callable[..., torch.Tensor], neutral: int) -> Converted:
    """From the end with ``reverse``; without the element itself with ``exclusive``."""
    exclusive, reverse = bool(node.attributes.get("exclusive", 0)), bool(node.attributes.get("reverse", 0))

    def along(x: torch.Tensor, axis: int) -> torch.Tensor:
        if reverse:
            x = x.flip(axis)
        if exclusive:
            first = torch.full_like(x.narrow(axis, 0, min(1, x.shape[axis])), neutral)
            x = torch.cat((first, x.narrow(axis, 0, max(0, x.shape[axis] - 1))), axis)
        result = running(x, axis, dtype=x.dtype)
        return result.flip(axis) if reverse else result

    known = node.constant(1)
    if known is None:
        return function_module(lambda x, axis: through_int64(lambda v: along(v, int(axis)))(x), node)
    axis = int(known.reshape(-1)[0])
    return function_module(through_int64(lambda x: along(x, axis)), node, takes=(0,))
