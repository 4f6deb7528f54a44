"""Moving pixels: blocks to channels and back, columns to images, cropping and padding around the centre."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..node import Node


@converter("DepthToSpace")
def depth_to_space(node: Node) -> Converted:
    """Channels to blocks of pixels; the number of the block comes before (DCR) or after (CRD) that of the channel."""
    block, mode = node.attributes["blocksize"], _mode(node)

    def spread(x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        depth = channels // block**2
        if mode == "DCR":
            blocks = x.reshape(batch, block, block, depth, height, width).permute(0, 3, 4, 1, 5, 2)
        else:
            blocks = x.reshape(batch, depth, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
        return blocks.reshape(batch, depth, height * block, width * block)

    return function_module(spread, node)


@converter("SpaceToDepth")
def space_to_depth(node: Node) -> Converted:
    """Blocks of pixels to channels; the inverse of DepthToSpace in the same mode."""
    block, mode = node.attributes["blocksize"], _mode(node)

    def gather(x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        blocks = x.reshape(batch, channels, height // block, block, width // block, block)
        order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
        return blocks.permute(order).reshape(batch, channels * block**2, height // block, width // block)

    return function_module(gather, node)


def _mode(node: Node) -> str:
    mode: str = node.attributes.get("mode", "DCR")
    if mode not in {"DCR", "CRD"}:
        raise node.refusal("mode", mode)
    return mode


@converter("Col2Im")
def columns_to_image(node: Node) -> Converted:
    """Add up the blocks (batch, channels x block, places) where they lie in the image; any number of spatial axes."""
    attributes = node.attributes

    def add_up(columns: torch.Tensor, image: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        sizes, kernel = image.tolist(), block.tolist()
        rank = len(sizes)
        strides = attributes.get("strides") or [1] * rank
        dilations = attributes.get("dilations") or [1] * rank
        pads = attributes.get("pads") or [0] * (2 * rank)
        padded = [size + pads[axis] + pads[rank + axis] for axis, size in enumerate(sizes)]
        numbers = torch.zeros((), dtype=torch.int64, device=columns.device)
        for axis in range(rank):
            extent = (kernel[axis] - 1) * dilations[axis] + 1
            places = torch.arange((padded[axis] - extent) // strides[axis] + 1, device=columns.device) * strides[axis]
            within = torch.arange(kernel[axis], device=columns.device) * dilations[axis]
            here = (within.unsqueeze(1) + places).view(*_only(axis, rank, len(within)), *_only(axis, rank, len(places)))
            numbers = numbers * padded[axis] + here
        batch, channels = columns.shape[0], columns.shape[1] // math.prod(kernel)
        flat = columns.new_zeros(batch, channels, math.prod(padded))
        flat = flat.index_add(2, numbers.reshape(-1), columns.reshape(batch, channels, -1))
        result = flat.view(batch, channels, *padded)
        for axis, size in enumerate(sizes):
            result = result.narrow(2 + axis, pads[axis], size)
        return result

    return function_module(add_up, node)


def _only(axis: int, rank: int, size: int) -> tuple[int, ...]:
    """Return a shape of ones but for one axis."""
    return tuple(size if i == axis else 1 for i in range(rank))


@converter("CenterCropPad")
def center_crop_pad(node: Node) -> Converted:
    """Crop or pad with zeros to the given lengths around the centre; an odd pixel is at the end."""
    chosen = node.attributes.get("axes")

    def fit(x: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        axes = range(x.ndim) if chosen is None else chosen
        for axis, length in zip(axes, lengths, strict=True):
            size = x.shape[axis]
            if length < size:
                x = x.narrow(axis, (size - length) // 2, length)
            elif length > size:
                before = (length - size) // 2
                behind = x.ndim - 1 - axis % x.ndim
                x = functional.pad(x, (0, 0) * behind + (before, length - size - before))
        return x

    known = node.constant(1)
    if known is None:
        return function_module(lambda x, shape: fit(x, shape.tolist()), node)
    fixed = known.tolist()
    return function_module(lambda x: fit(x, fixed), node, takes=(0,))
