"""Modules that stand for several ONNX operators; ``fuse`` finds where they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from .operators.linear import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    """``softmax(scale q k + mask) v``, where ``k`` comes transposed."""

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
        if k.shape[:-2] != batch or v.shape[:-2] != batch or (mask is not None and not _fits(mask, batch)):
            scores = scale * (q @ k)
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
