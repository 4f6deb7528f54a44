"""Reading and building by positions: gathering, compressing, one-hot and eye matrices, triangles, unique elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ..dtypes import torch_dtype
from .registry import Converted, converter, function_module
from .scatter import from_start, row_numbers
from .unsigned import through_int64, widened

if TYPE_CHECKING:
    from ..node import Node


@converter("GatherElements")
def gather_elements(node: Node) -> Converted:
    """Read ``data[.., indices[.., i, ..], ..]`` along an axis."""
    axis = node.attributes.get("axis", 0)

    def read(data: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return torch.gather(data, axis, from_start(indices, data.shape[axis]))

    return function_module(through_int64(read), node)


@converter("GatherND")
def gather_nd(node: Node) -> Converted:
    """Read ``data[b, indices[b, ..., :]]``: a row of ``indices`` names a slice, within ``batch_dims`` leading axes."""
    batch_dims = node.attributes.get("batch_dims", 0)

    def read(data: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        batch = math.prod(data.shape[:batch_dims])
        end = batch_dims + indices.shape[-1]
        named, rest = data.shape[batch_dims:end], data.shape[end:]
        numbers = row_numbers(indices, named).reshape(batch, math.prod(indices.shape[batch_dims:-1]))
        numbers = numbers + torch.arange(batch, device=data.device).unsqueeze(1) * math.prod(named)
        rows = data.reshape(batch * math.prod(named), math.prod(rest))
        return rows.index_select(0, numbers.reshape(-1)).reshape((*indices.shape[:-1], *rest))

    return function_module(through_int64(read), node)


@converter("Compress")
def compress(node: Node) -> Converted:
    """Return the slices along an axis, or the elements of the flattened input, for which the condition holds."""
    axis = node.attributes.get("axis")

    def chosen(x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        positions = torch.nonzero(condition).reshape(-1)
        return x.reshape(-1)[positions] if axis is None else x.index_select(axis, positions)

    return function_module(through_int64(chosen), node)


@converter("OneHot")
def one_hot(node: Node) -> Converted:
    """``on`` where the new axis' position is the index, ``off`` elsewhere; everywhere for an index out of range."""
    axis = node.attributes["axis"]

    def encode(indices: torch.Tensor, depth: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        count = int(depth)
        place = axis % (indices.ndim + 1)
        positions = torch.arange(count, device=indices.device).view(-1, *(1,) * (indices.ndim - place))
        hot = from_start(indices, count).unsqueeze(place) == positions
        return torch.where(hot, values[1], values[0])

    return function_module(encode, node)


@converter("EyeLike")
def eye_like(node: Node) -> Converted:
    """Ones on the k-th diagonal of a matrix of the input's shape, zeros elsewhere."""
    offset = node.attributes.get("k", 0)
    kind = node.attributes.get("dtype")
    dtype = None if kind is None else torch_dtype(kind)

    def eye(x: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
        columns = torch.arange(x.shape[-1], device=x.device)
        diagonal: torch.Tensor = columns - rows == offset
        return diagonal.to(dtype or x.dtype)

    return function_module(eye, node)


@converter("Trilu")
def triangle(node: Node) -> Converted:
    """Return the upper or lower triangle of the matrices in the last two axes, from or up to the k-th diagonal."""
    part = torch.triu if node.attributes["upper"] else torch.tril
    known = node.constant(1)
    if node.given(1) and known is None:
        return function_module(lambda x, k: through_int64(lambda values: part(values, int(k)))(x), node)
    diagonal = 0 if known is None else int(known.reshape(-1)[0])
    return function_module(through_int64(lambda x: part(x, diagonal)), node, takes=(0,))


@converter("ReverseSequence")
def reverse_sequence(node: Node) -> Converted:
    """Reverse the first ``lengths[b]`` steps of each sequence; the rest stays where it is."""
    time_axis, batch_axis = node.attributes.get("time_axis", 0), node.attributes["batch_axis"]

    def reverse(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        time = [1] * x.ndim
        time[time_axis] = -1
        batch = [1] * x.ndim
        batch[batch_axis] = -1
        steps = torch.arange(x.shape[time_axis], device=x.device).view(time)
        ends = lengths.to(torch.int64).view(batch)
        source = torch.where(steps < ends, ends - 1 - steps, steps)
        return torch.gather(x, time_axis, source.expand(x.shape))

    return function_module(through_int64(reverse), node)


@converter("Unique")
def unique(node: Node) -> Converted:
    """Return the unique elements, or slices along an axis: sorted, or in the order of their first occurrence.

    Then the position of the first occurrence of each, for each element its place in the result, and the counts.
    """
    axis, in_order = node.attributes.get("axis"), bool(node.attributes["sorted"])

    def split(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = widened(x if axis is not None else x.reshape(-1))
        dim = 0 if axis is None else axis
        found, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True, dim=dim)
        places = torch.arange(inverse.numel(), device=x.device)
        first = torch.full_like(counts, inverse.numel()).scatter_reduce(0, inverse, places, "amin")
        if not in_order:
            order = torch.argsort(first)
            found, first, counts = found.index_select(dim, order), first[order], counts[order]
            inverse = torch.argsort(order)[inverse]
        return (found.to(x.dtype), first, inverse, counts)[: max(1, len(node.outputs))]

    return function_module((lambda x: split(x)[0]) if len(node.outputs) == 1 else split, node)
