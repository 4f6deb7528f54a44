"""Modules that stand for several ONNX operators; ``fuse`` finds where they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from .operators.linear import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

CACHED_BYTES = 4 << 20


class Dense(nn.Module):
    """A linear layer with a bias; on a CPU it is added in place, which is faster than to begin with copies of it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., out) for (..., in)."""
        return F.linear(x, self.weight).add_(self.bias) if x.is_cpu else F.linear(x, self.weight, self.bias)


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, with weights of any kind that broadcast over it."""

    def __init__(self, epsilon: float, weight: torch.Tensor | None, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = frozen(weight) if weight is not None else None
        self.bias = frozen(bias) if bias is not None else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (..., width)."""
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)


class Attention(nn.Module):
    """``softmax(scale q k + mask) v``, where ``k`` comes transposed.

    Written out where that is the only way, and on a CPU where the scores of all heads stay in the cache: it is then
    faster than torch's fused attention, whose way back computes them anew.
    """

    def __init__(self, scale: float, powers: tuple[int, ...], *, masked: bool) -> None:
        """``powers`` (1 or -1) are those in which further arguments scale the product."""
        super().__init__()
        self.scale, self.powers, self.masked = scale, powers, masked

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """``q`` is (..., L, d), ``k`` (..., d, S), ``v`` (..., S, e); then a mask for (..., L, S), and the factors."""
        scale = self.scale
        for factor, power in zip(others[self.masked :], self.powers, strict=True):
            scale *= float(factor) ** power
        mask = others[0] if self.masked else None
        batch = q.shape[:-2]
        alike = k.shape[:-2] == batch == v.shape[:-2] and (mask is None or _fits(mask, batch))
        if not alike or (q.is_cpu and q.shape[:-1].numel() * k.shape[-1] * q.itemsize <= CACHED_BYTES):
            scores = (scale * q) @ k
            return torch.softmax(scores if mask is None else scores + mask, -1) @ v
        return F.scaled_dot_product_attention(q, k.transpose(-2, -1), v, attn_mask=mask, scale=scale)


def _fits(mask: torch.Tensor, batch: Sequence[int]) -> bool:
    """Whether a mask of at least two axes broadcasts to (*batch, L, S)."""
    given = mask.shape[:-2]
    return 2 <= mask.dim() <= len(batch) + 2 and all(
        n in {1, m} for n, m in zip(given[::-1], batch[::-1], strict=False)
    )


class Parts(nn.Module):
    """Consecutive parts of an axis; what is left over at its end is left out."""

    def __init__(self, axis: int, lengths: Sequence[int | None]) -> None:
        """``lengths`` may end in None: all that is left."""
        super().__init__()
        self.axis, self.lengths = axis, list(lengths)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut the axis."""
        left, sizes = x.shape[self.axis], []
        for length in self.lengths:
            sizes.append(left if length is None else min(length, left))
            left -= sizes[-1]
        return torch.split(x, [*sizes, left], self.axis)


class Elements(nn.Module):
    """The first elements of an axis, one by one, without it; their axes in another order."""

    def __init__(self, axis: int, count: int, order: Sequence[int] | None = None) -> None:
        """``order`` are the axes that are left, counted without ``axis``."""
        super().__init__()
        self.axis, self.count, self.order = axis, count, order

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take the axis apart, or the part of it where they are."""
        whole = x.shape[self.axis] == self.count
        parts = (x if whole else x.narrow(self.axis, 0, self.count)).unbind(self.axis)
        return parts if self.order is None else tuple(part.permute(*self.order) for part in parts)


class Patches(nn.Module):
    """Convolution whose windows touch but do not overlap, as one matrix product: several times as fast on the way back.

    Where a length is no multiple of the window's, it is the convolution itself.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (rows, channels, vertical, horizontal) for images (rows, colours, height, width)."""
        high, wide = self.conv.kernel_size
        if x.dim() != 4 or x.shape[2] % high or x.shape[3] % wide:
            return self.conv(x)  # type: ignore[no-any-return]
        cut = x.reshape(*x.shape[:2], -1, high, x.shape[3] // wide, wide).permute(0, 2, 4, 1, 3, 5)
        return F.linear(cut.flatten(3), self.conv.weight.flatten(1), self.conv.bias).permute(0, 3, 1, 2)


class Swapped(nn.Module):
    """The last two axes of (batch, heads, length, width) swapped by way of three axes; as a view where that is all."""

    def __init__(self, down: nn.Module, swap: nn.Module, up: nn.Module, known: tuple[Any, Any]) -> None:
        """``known`` are the shapes of the two reshapings, None where they come as arguments."""
        super().__init__()
        self.down, self.swap, self.up, self.known = down, swap, up, known

    def forward(self, x: torch.Tensor, *shapes: torch.Tensor) -> torch.Tensor:
        """Swap the axes, or run the three steps where the shapes say otherwise."""
        given = iter(shapes)
        inner, outer = ([next(given)] if known is None else [] for known in self.known)
        first, last = (
            [int(n) for n in (known if known is not None else extra[0])]
            for known, extra in zip(self.known, (inner, outer), strict=True)
        )
        plain = first[1:] == list(x.shape[2:]) and last == [*x.shape[:2], x.shape[-1], x.shape[-2]]
        if x.dim() == 4 and len(first) == 3 and plain:
            return x.transpose(-2, -1)
        return self.up(self.swap(self.down(x, *inner)), *outer)  # type: ignore[no-any-return]
