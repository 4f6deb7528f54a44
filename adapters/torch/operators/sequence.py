"""Sequences of tensors: Python lists between the operators that make them and those that take them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..dtypes import torch_dtype
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

Sequence = list[torch.Tensor]
_FLOAT = 1


@converter("SequenceConstruct")
def construct(node: Node) -> Converted:
    """Make a sequence of the inputs."""
    return function_module(lambda *tensors: list(tensors), node)


@converter("SequenceEmpty")
def empty(node: Node) -> Converted:
    """Make a sequence of nothing."""
    torch_dtype(node.attributes.get("dtype", _FLOAT))
    return function_module(list, node)


@converter("SequenceAt")
def at(node: Node) -> Converted:
    """Take one tensor, counted from the end where negative."""
    return function_module(lambda sequence, place: sequence[int(place)], node)


@converter("SequenceLength")
def length(node: Node) -> Converted:
    """Count the tensors."""
    return function_module(lambda sequence: torch.tensor(len(sequence)), node)


@converter("SequenceInsert")
def insert(node: Node) -> Converted:
    """Put a tensor before a place, or at the end."""

    def apply(sequence: Sequence, tensor: torch.Tensor, place: torch.Tensor | None = None) -> Sequence:
        count = len(sequence)
        before = count if place is None else int(place)
        before = before + count if before < 0 else before
        return [*sequence[:before], tensor, *sequence[before:]]

    return function_module(apply, node)


@converter("SequenceErase")
def erase(node: Node) -> Converted:
    """Leave a tensor out: the one at a place, or the last."""

    def apply(sequence: Sequence, place: torch.Tensor | None = None) -> Sequence:
        gone = (len(sequence) - 1 if place is None else int(place)) % len(sequence)
        return [tensor for k, tensor in enumerate(sequence) if k != gone]

    return function_module(apply, node)


@converter("SplitToSequence")
def split(node: Node) -> Converted:
    """Cut an axis into parts of given lengths, of one length, or of length one (which may leave the axis out)."""
    axis, keep = node.attributes["axis"], bool(node.attributes["keepdims"])

    def apply(x: torch.Tensor, lengths: torch.Tensor | None = None) -> Sequence:
        if lengths is None:
            parts = torch.split(x, 1, axis)
            return list(parts) if keep else [part.squeeze(axis) for part in parts]
        return list(torch.split(x, int(lengths) if lengths.dim() == 0 else lengths.tolist(), axis))

    return function_module(apply, node)


@converter("ConcatFromSequence")
def concat(node: Node) -> Converted:
    """Join the tensors along an axis, or along a new one."""
    axis = node.attributes["axis"]
    join = torch.stack if node.attributes["new_axis"] else torch.cat
    return function_module(lambda sequence: join(sequence, axis), node)
