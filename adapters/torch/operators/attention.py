"""Attention: scaled dot-product attention with masks and caches, and rotary position embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from ..dtypes import torch_dtype
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

AFTER_SOFTCAP, AFTER_BIAS, AFTER_SOFTMAX = 1, 2, 3  # values of qk_matmul_output_mode; 0 is the bare product


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, sequence, heads * size) -> (batch, heads, sequence, size)."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """(batch, heads, sequence, size) -> (batch, sequence, heads * size)."""
    return x.transpose(1, 2).flatten(2)


def masked_softmax(logits: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Softmax of ``logits + bias`` along the last axis; a row whose bias is all -inf becomes 0, with gradient 0."""
    if bias is None:
        return torch.softmax(logits, -1)
    dead = torch.isneginf(bias).all(-1, keepdim=True)
    scores = (logits + bias).masked_fill(dead, 0.0)
    return torch.softmax(scores, -1).masked_fill(dead, 0.0)


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a mask that is added to the logits: 0 where a boolean mask is true and -inf where it is false."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -math.inf)


@dataclass(frozen=True)
class ScaledDotProduct:
    """The settings of an Attention node: ``softmax(Q K^T scale + bias) V`` per head.

    Zero ``q_heads`` and ``kv_heads`` stand for the axes of 4-D inputs, ``scale`` None for one over the square root of
    the head size; a window bound of -1 does not act. Computes in at least float32, and the softmax in at least
    ``precision``.
    """

    outputs: int
    q_heads: int = 0
    kv_heads: int = 0
    scale: float | None = None
    causal: bool = False
    softcap: float = 0.0
    mode: int = 0
    left: int = -1
    right: int = -1
    precision: torch.dtype | None = None

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None = None,
        past_key: torch.Tensor | None = None,
        past_value: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return Y, or as many of (Y, present key, present value, product of Q and K) as are asked for."""
        packed = q.ndim == 3
        if packed:
            q, k, v = split_heads(q, self.q_heads), split_heads(k, self.kv_heads), split_heads(v, self.kv_heads)
        past = 0 if past_key is None else past_key.shape[2]
        if past_key is not None and past_value is not None:
            k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
        present = (k, v)
        if (groups := q.shape[1] // k.shape[1]) > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        narrow, wide = q.dtype, torch.promote_types(q.dtype, torch.float32)
        q, k, v = q.to(wide), k.to(wide), v.to(wide)
        bias = self.bias(q, k, mask, past, lengths)
        if self.plain:
            y, product = F.scaled_dot_product_attention(q, k, v, bias, scale=self.scale), q
        else:
            y, product = self.explicit(q, k, v, bias)
        y = (merge_heads(y) if packed else y).to(narrow)
        return y if self.outputs == 1 else (y, *present, product.to(narrow))[: self.outputs]

    @property
    def plain(self) -> bool:
        """Whether torch's fused attention computes the same; it, too, gives 0 to a query without keys."""
        return self.outputs < 4 and not self.softcap and self.precision is None

    def bias(
        self, q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None, past: int, lengths: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Return what is added to the logits: the mask, with -inf where position, window or padding forbid a key."""
        bias = None if mask is None else additive(mask, q.dtype)
        keys = k.shape[2]
        if bias is not None and bias.shape[-1] < keys:
            bias = F.pad(bias, (0, keys - bias.shape[-1]), value=-math.inf)
        key = torch.arange(keys, device=q.device)
        allowed = None
        if self.causal or self.left >= 0 or self.right >= 0:
            offset = lengths.reshape(-1, 1, 1, 1) - q.shape[2] if lengths is not None else past
            ahead = key - (torch.arange(q.shape[2], device=q.device).unsqueeze(-1) + offset)
            allowed = torch.ones_like(ahead, dtype=torch.bool)
            for acts, within in (
                (self.causal, ahead <= 0),
                (self.left >= 0, ahead >= -self.left),
                (self.right >= 0, ahead <= self.right),
            ):
                allowed = allowed & within if acts else allowed
        if lengths is not None:
            padding = key < lengths.reshape(-1, 1, 1, 1)
            allowed = padding if allowed is None else allowed & padding
        if allowed is None:
            return bias
        return additive(allowed, q.dtype) if bias is None else bias.masked_fill(~allowed, -math.inf)

    def explicit(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (Y, the product of Q and K at the stage that ``mode`` names)."""
        root = math.sqrt(1 / math.sqrt(q.shape[-1]) if self.scale is None else self.scale)
        logits = (q * root) @ (k * root).transpose(-1, -2)
        stages = {0: logits}
        if self.softcap:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        stages[AFTER_SOFTCAP] = logits
        stages[AFTER_BIAS] = logits if bias is None else logits + bias
        precision = torch.promote_types(q.dtype, self.precision or q.dtype)
        weights = masked_softmax(logits.to(precision), None if bias is None else bias.to(precision)).to(q.dtype)
        stages[AFTER_SOFTMAX] = weights
        return weights @ v, stages[self.mode]


@converter("Attention")
def attention(node: Node) -> Converted:
    """Scaled dot-product attention: grouped heads, caches, causal and windowed masks, softcap."""
    given = node.attributes
    precision = given.get("softmax_precision", 0)
    settings = ScaledDotProduct(
        outputs=len(node.outputs),
        q_heads=given.get("q_num_heads", 0),
        kv_heads=given.get("kv_num_heads", 0),
        scale=given.get("scale"),
        causal=bool(given["is_causal"]),
        softcap=given["softcap"],
        mode=given["qk_matmul_output_mode"],
        left=given.get("left_window_size", -1),
        right=given.get("right_window_size", -1),
        precision=torch_dtype(precision) if precision else None,
    )
    if settings.mode not in range(4):
        raise node.refusal("qk_matmul_output_mode", settings.mode)
    return function_module(settings, node)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *, interleaved: bool) -> torch.Tensor:
    """Rotate pairs of ``x`` (..., heads, size) by angles given as ``cos`` and ``sin`` (..., 1, rotated / 2).

    Pairs are neighbours where ``interleaved``, else one from each half of the rotated part; what is beyond it stays.
    """
    rotated = 2 * cos.shape[-1]
    turning, rest = x[..., :rotated], x[..., rotated:]
    if interleaved:
        a, b = turning[..., 0::2], turning[..., 1::2]
        turned = torch.stack((cos * a - sin * b, sin * a + cos * b), -1).flatten(-2)
    else:
        a, b = turning.chunk(2, -1)
        turned = torch.cat((cos * a - sin * b, sin * a + cos * b), -1)
    return turned if rest.shape[-1] == 0 else torch.cat((turned, rest), -1)


@converter("RotaryEmbedding")
def rotary_embedding(node: Node) -> Converted:
    """Rotary position embedding (Su et al. 2021, 2104.09864) of (batch, heads, sequence, size) or packed heads."""
    heads = node.attributes.get("num_heads", 0)
    rotated = node.attributes["rotary_embedding_dim"]
    interleaved = bool(node.attributes["interleaved"])

    def embedded(
        x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        if positions is not None:
            cos, sin = cos[positions.long()], sin[positions.long()]
        cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
        by_token = x.transpose(1, 2) if x.ndim == 4 else torch.unflatten(x, -1, (heads, -1))
        if 2 * cos.shape[-1] != (rotated or by_token.shape[-1]):
            raise node.refusal("rotary_embedding_dim", rotated)
        turned = rotate(by_token, cos, sin, interleaved=interleaved)
        return turned.transpose(1, 2) if x.ndim == 4 else turned.flatten(2)

    return function_module(embedded, node)
