"""Reading images between the pixels: GridSample, AffineGrid, DeformConv."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .registry import Converted, converter, function_module
from .shape import by_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..node import Node

# Names up to version 16, and since.
MODES = {"bilinear": "bilinear", "bicubic": "bicubic", "linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


@converter("GridSample")
def grid_sample(node: Node) -> Converted:
    """Read the input at the places of the grid, given from -1 to 1; one, two or three spatial axes."""
    attributes = node.attributes
    name, padding = attributes["mode"], attributes["padding_mode"]
    align = bool(attributes.get("align_corners", 0))
    if name not in MODES:
        raise node.refusal("mode", name)
    if padding not in {"zeros", "border", "reflection"}:
        raise node.refusal("padding_mode", padding)
    mode = MODES[name]

    def sample(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        if x.ndim > 5 or (x.ndim == 5 and mode == "bicubic"):
            raise node.refusal("mode", f"{name} on {x.ndim - 2} spatial axes")
        if x.ndim == 3:  # one row of pixels, read at its middle
            places = torch.stack((grid[..., 0], torch.zeros_like(grid[..., 0])), dim=-1)
            row = functional.grid_sample(x.unsqueeze(2), places.unsqueeze(1), mode, padding, align)
            return row.squeeze(2)
        return functional.grid_sample(x, grid.to(x.dtype), mode, padding, align)

    return function_module(sample, node)


@converter("AffineGrid")
def affine_grid(node: Node) -> Converted:
    """Places of the output's pixels, moved by the affine maps ``theta``, in coordinates from -1 to 1."""
    align = bool(node.attributes.get("align_corners", 0))

    def grid(theta: torch.Tensor, size: list[int] | None) -> torch.Tensor:
        sides = (size or [])[2:]
        mesh = torch.meshgrid(*(_coordinates(n, theta, align=align) for n in sides), indexing="ij")
        places = torch.stack([*reversed(mesh), torch.ones_like(mesh[0])], -1).flatten(0, -2)
        return (places @ theta.transpose(1, 2)).reshape(len(theta), *sides, len(sides))

    return by_integers(node, "", grid)


def _coordinates(count: int, like: torch.Tensor, *, align: bool) -> torch.Tensor:
    """Return where the pixels of an axis are: the outer ones' middles (``align``) or edges at -1 and 1.

    A single pixel is at 1 with ``align``, as in ONNX Runtime; torch has it at 0.
    """
    if align:
        return torch.linspace(-1 if count > 1 else 1, 1, count, dtype=like.dtype, device=like.device)
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


@converter("DeformConv")
def deform_conv(node: Node) -> Converted:
    """Convolution that reads each of its inputs beside its place, by an offset; times a mask (Zhu et al. 2018)."""
    attributes = node.attributes
    groups, offset_groups = attributes["group"], attributes["offset_group"]
    strides = attributes.get("strides") or [1, 1]
    dilations = attributes.get("dilations") or [1, 1]
    pads = attributes.get("pads") or [0, 0, 0, 0]

    def convolve(
        x: torch.Tensor,
        weight: torch.Tensor,
        offset: torch.Tensor,
        bias: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if x.ndim != 4:
            raise node.refusal("input rank", x.ndim)
        batch, channels, height, width = x.shape
        kernel = math.prod(weight.shape[2:])
        places = offset.shape[2:]
        starts = [_starts(x, places, weight.shape[2:], strides, dilations, pads, axis) for axis in (0, 1)]
        moved = offset.view(batch, offset_groups, kernel, 2, *places)
        rows, columns = starts[0] + moved[:, :, :, 0], starts[1] + moved[:, :, :, 1]
        # Pixel centres in grid_sample's coordinates, which run from edge to edge.
        grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
        grid = grid.view(batch * offset_groups, kernel * places[0], places[1], 2)
        per_group = x.reshape(batch * offset_groups, channels // offset_groups, height, width)
        read = functional.grid_sample(per_group, grid, "bilinear", "zeros", align_corners=False)
        read = read.view(batch, offset_groups, channels // offset_groups, kernel, *places)
        if mask is not None:
            read = read * mask.view(batch, offset_groups, 1, kernel, *places)
        read = read.reshape(batch, groups, channels // groups, kernel, *places)
        filters = weight.reshape(groups, -1, channels // groups, kernel)
        result = torch.einsum("bgckhw,gock->bgohw", read, filters).reshape(batch, -1, *places)
        return result if bias is None else result + bias.view(-1, 1, 1)

    return function_module(convolve, node)


def _starts(
    x: torch.Tensor,
    places: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    axis: int,
) -> torch.Tensor:
    """Return the row (axis 0) or column (1) that each kernel position reads without offset: (kernel, rows, columns)."""
    first = torch.arange(places[axis], dtype=x.dtype, device=x.device) * strides[axis] - pads[axis]
    within = torch.arange(kernel[axis], dtype=x.dtype, device=x.device) * dilations[axis]
    shape = [1, 1, 1, 1]
    shape[axis], shape[2 + axis] = kernel[axis], places[axis]
    table = (within.unsqueeze(1) + first).view(shape)
    return table.expand(*kernel, *places).reshape(math.prod(kernel), *places)
