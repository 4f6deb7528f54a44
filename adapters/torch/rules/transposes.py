"""Transposes: what a map hands back, ``W^T s``; for the usual layers without a run forward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sites import Site

_CONVOLVE: dict[type[nn.Module], Callable[..., torch.Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}


def transposed(
    fn: Any, xs: Sequence[torch.Tensor], s: torch.Tensor | tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Return the gradient of ``sum(s fn(x))`` at each x; where ``fn`` makes several tensors, s has as many."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in xs]
        made = fn(*leaves)
        made = made if isinstance(made, tuple) else (made,)
    floats = [leaf for leaf in leaves if leaf.requires_grad]
    pairs = [(y, r) for y, r in zip(made, s if isinstance(s, tuple) else (s,), strict=True) if y.requires_grad]
    found = iter(torch.autograd.grad([y for y, _ in pairs], floats, [r for _, r in pairs], materialize_grads=True))
    return tuple(next(found) if leaf.requires_grad else torch.zeros_like(leaf) for leaf in leaves)


def to_factors(site: Site, xs: Sequence[torch.Tensor], s: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return what a product of signals hands back to each of them; for matrices without a run forward."""
    found = to_matrices(xs[0], xs[1], s) if site.form == "MatMul" and len(xs) == 2 else None
    return transposed(site.module, xs, s) if found is None else found


def to_matrices(a: torch.Tensor, b: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return ``s B^T`` and ``A^T s`` for as many matrices A as B; None for others."""
    if min(a.dim(), b.dim()) < 2 or a.shape[:-2] != b.shape[:-2]:
        return None
    return s @ b.transpose(-1, -2), a.transpose(-1, -2) @ s


def handed_back(layer: nn.Module, s: torch.Tensor, shape: Sequence[int]) -> torch.Tensor | None:
    """Return ``W^T s``, a tensor of its own, for a dense layer or convolution whose input has that shape; else None."""
    if type(layer) is nn.Linear:
        return s @ layer.weight
    convolve = _CONVOLVE.get(type(layer))
    if convolve is None or layer.padding_mode != "zeros":
        return None
    return _through_pixels(layer, s, shape, convolve)  # type: ignore[arg-type]


def _through_pixels(
    conv: nn.Conv2d, s: torch.Tensor, shape: Sequence[int], convolve: Callable[..., torch.Tensor]
) -> torch.Tensor:
    """Return what a convolution hands back; for windows of one pixel, and for patches, as a product with its matrix."""
    apart = conv.groups == 1 and set(conv.padding) == {0} and set(conv.dilation) == {1}
    if apart and conv.stride == conv.kernel_size:
        if set(conv.kernel_size) == {1} and not channels_last(s):
            return convolve(s, conv.weight.transpose(0, 1))
        if all(n == m * k for n, m, k in zip(shape[2:], s.shape[2:], conv.kernel_size, strict=True)):
            return _patches(conv, s)
    settings = (conv.stride, conv.padding, conv.dilation, False, [0] * len(conv.stride), conv.groups)
    found: torch.Tensor = torch.ops.aten.convolution_backward(
        s, empty_as(s, shape), conv.weight, None, *settings, (True, False, False)
    )[0]
    return found


def channels_last(x: torch.Tensor) -> bool:
    """Whether the channels of images lie side by side in memory."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def empty_as(x: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return an uninitialised tensor of a shape, in the memory order of x."""
    order = torch.channels_last if channels_last(x) else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=order)


def _patches(conv: nn.Conv2d, s: torch.Tensor) -> torch.Tensor:
    """Return what windows that touch but do not overlap hand back: each pixel is in one of them."""
    rank = len(conv.kernel_size)
    made: torch.Tensor = s.movedim(1, -1) @ conv.weight.flatten(1)
    if set(conv.kernel_size) == {1}:
        return made.movedim(-1, 1)
    cut = made.reshape(*made.shape[:-1], conv.in_channels, *conv.kernel_size)
    order = [0, rank + 1, *(axis for k in range(rank) for axis in (1 + k, rank + 2 + k))]
    together = cut.permute(*order)
    for k in range(rank):
        together = together.flatten(2 + k, 3 + k)
    return together.contiguous()
