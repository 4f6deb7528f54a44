"""Writing at given positions: Scatter, ScatterElements, ScatterND, TensorScatter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .registry import Converted, converter, function_module
from .unsigned import through_int64

if TYPE_CHECKING:
    from ..node import Node

# ONNX's reductions of what is there with what comes in -> torch's.
REDUCTIONS = {"none": None, "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@converter("Scatter", "ScatterElements")
def scatter_elements(node: Node) -> Converted:
    """Write ``data[.., indices[.., i, ..], ..] = updates[.., i, ..]`` along an axis, or reduce with what is there."""
    axis = node.attributes.get("axis", 0)
    reduction = _reduction(node)

    def write(data: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
        positions = from_start(indices, data.shape[axis])
        return _scattered(data, axis, positions, updates, reduction)

    return function_module(through_int64(write), node)


@converter("ScatterND")
def scatter_nd(node: Node) -> Converted:
    """Set ``data[indices[..., :]] = updates[...]``: rows of ``indices`` name slices; or reduce with what is there."""
    reduction = _reduction(node)

    def write(data: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
        depth = indices.shape[-1]
        rows, width = math.prod(data.shape[:depth]), math.prod(data.shape[depth:])
        positions = row_numbers(indices, data.shape[:depth]).reshape(-1, 1).expand(-1, width)
        flat = _scattered(data.reshape(rows, width), 0, positions, updates.reshape(-1, width), reduction)
        return flat.reshape(data.shape)

    return function_module(through_int64(write), node)


@converter("TensorScatter")
def tensor_scatter(node: Node) -> Converted:
    """Write ``update`` into a cache from position ``write_indices[b]`` on along an axis, around its end if circular."""
    mode = node.attributes["mode"]
    if mode not in {"linear", "circular"}:
        raise node.refusal("mode", mode)

    def write(cache: torch.Tensor, update: torch.Tensor, starts: torch.Tensor | None = None) -> torch.Tensor:
        axis = node.attributes["axis"] % cache.ndim
        steps = torch.arange(update.shape[axis], device=cache.device)
        steps = steps.view(-1, *(1,) * (cache.ndim - axis - 1))
        if starts is not None:
            steps = steps + starts.to(torch.int64).view(-1, *(1,) * (cache.ndim - 1))
        if mode == "circular":
            steps = steps % cache.shape[axis]
        return torch.scatter(cache, axis, steps.expand(update.shape), update)

    return function_module(write, node)


def _reduction(node: Node) -> str | None:
    name = node.attributes.get("reduction", "none")
    if name not in REDUCTIONS:
        raise node.refusal("reduction", name)
    return REDUCTIONS[name]


def _scattered(
    data: torch.Tensor, axis: int, positions: torch.Tensor, updates: torch.Tensor, reduction: str | None
) -> torch.Tensor:
    if reduction is None:
        return torch.scatter(data, axis, positions, updates)
    return torch.scatter_reduce(data, axis, positions, updates, reduction, include_self=True)


def from_start(indices: torch.Tensor, length: int) -> torch.Tensor:
    """Count negative indices from the start of an axis of this length."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + length, indices)


def row_numbers(indices: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return the row-major number of each element named by the last axis of ``indices`` in an array of this shape."""
    numbers = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=indices.device)
    for axis, length in enumerate(shape):
        numbers = numbers * length + from_start(indices[..., axis], length)
    return numbers
