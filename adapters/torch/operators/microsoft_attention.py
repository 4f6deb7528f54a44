"""Attention operators of com.microsoft: Attention, MultiHeadAttention and RotaryEmbedding as ONNX Runtime defines them.

Shapes: B rows, S queries, T keys with those of the cache, N heads, D head size. Masks add
``mask_filter_value`` to the logits: a row in which everything is masked attends to all keys as if nothing were.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .attention import merge_heads, rotate, split_heads
from .microsoft import MICROSOFT
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

MASK_FILTER = -10000.0


def key_mask(mask: torch.Tensor, batch: int, keys: int) -> torch.Tensor:
    """Return where keys may be attended to, broadcastable to (B, N, S, T).

    ``mask``: (B,) lengths, (2 B,) ends and then starts, (B, T) or (B, S, T) with 0 for what is masked.
    """
    if mask.ndim > 1:
        allowed = mask != 0
        return allowed[:, None, None] if mask.ndim == 2 else allowed[:, None]
    place = torch.arange(keys, device=mask.device)
    allowed = place < mask[:batch].unsqueeze(-1)
    if mask.numel() == 2 * batch:
        allowed = allowed & (place >= mask[batch:].unsqueeze(-1))
    return allowed[:, None, None]


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    allowed: torch.Tensor | None,
    bias: torch.Tensor | None,
    fill: float,
    causal: bool,
) -> torch.Tensor:
    """``softmax(scale Q K^T + bias + fill where not allowed) V``; causal with the last query at the last key."""
    logits = scale * (q @ k.transpose(-1, -2))
    if bias is not None:
        logits = logits + bias
    if allowed is not None:
        logits = torch.where(allowed, logits, logits + fill)
    if causal:
        queries, keys = logits.shape[-2:]
        later = torch.ones(queries, keys, dtype=torch.bool, device=q.device).triu(keys - queries + 1)
        logits = logits.masked_fill(later, torch.finfo(logits.dtype).min)
    return merge_heads(torch.softmax(logits, -1) @ v)


def _refuse_beyond(node: Node, position: int, name: str) -> None:
    if any(node.inputs[position:]):
        raise node.refusal("input", name)


def _mask_known(node: Node, mask: torch.Tensor | None, batch: int) -> None:
    if mask is not None and (mask.ndim > 3 or (mask.ndim == 1 and mask.numel() not in {batch, 2 * batch})):
        raise node.refusal("mask of shape", tuple(mask.shape))


def self_attention(
    node: Node, projected: torch.Tensor, mask: torch.Tensor | None, past: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attend within (B, S, Q K V side by side); return the result and, if asked for, the cache (2, B, N, T, D)."""
    given = node.attributes
    sizes = list(given.get("qkv_hidden_sizes") or ())
    _mask_known(node, mask, projected.shape[0])
    parts = torch.split(projected, sizes, -1) if sizes else projected.chunk(3, -1)
    q, k, v = (split_heads(part, given["num_heads"]) for part in parts)
    if past is not None:
        k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
    y = attend(
        q,
        k,
        v,
        scale=given.get("scale") or 1 / math.sqrt(q.shape[-1]),
        allowed=None if mask is None else key_mask(mask, k.shape[0], k.shape[2]),
        bias=bias,
        fill=given.get("mask_filter_value", MASK_FILTER),
        causal=bool(given.get("unidirectional", 0)),
    )
    return y if len(node.outputs) == 1 else (y, torch.stack((k, v)))


def refuse_rotary_and_shared(node: Node) -> None:
    """Raise for the attributes of self-attention that the twin does not express."""
    for name in ("do_rotary", "past_present_share_buffer"):
        if node.attributes.get(name, 0):
            raise node.refusal(name, node.attributes[name])


@converter("Attention", domain=MICROSOFT)
def attention(node: Node) -> Converted:
    """Self-attention with its input projection; the second output is the cache (2, B, N, T, D)."""
    refuse_rotary_and_shared(node)
    _refuse_beyond(node, 6, "past_sequence_length")

    def attended(
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        past: torch.Tensor | None = None,
        attention_bias: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        projected = x @ weight if bias is None else x @ weight + bias
        return self_attention(node, projected, mask, past, attention_bias)

    return function_module(attended, node)


@converter("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(node: Node) -> Converted:
    """Attention of projected inputs: separate, key and value packed together, or all three packed; with a cache.

    Outputs: (B, S, N D), and the keys and values (B, N, T, D) of cache and input.
    """
    given = node.attributes
    heads, fill = given["num_heads"], given.get("mask_filter_value", MASK_FILTER)
    causal, outputs = bool(given.get("unidirectional", 0)), len(node.outputs)
    _refuse_beyond(node, 8, "past_sequence_length")
    if node.wanted(3):
        raise node.refusal("output", "qk")

    def attended(
        query: torch.Tensor,
        key: torch.Tensor | None = None,
        value: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        attention_bias: torch.Tensor | None = None,
        past_key: torch.Tensor | None = None,
        past_value: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        _mask_known(node, mask, query.shape[0])
        q, k, v = _heads(query, key, value, bias, heads)
        if causal and k.shape[2] != q.shape[2]:  # ONNX Runtime lets the last query see all keys then
            raise node.refusal("unidirectional", "1 and keys of another length")
        if past_key is not None and past_value is not None:
            k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
        y = attend(
            q,
            k,
            v,
            scale=given.get("scale") or 1 / math.sqrt(q.shape[-1]),
            allowed=None if mask is None else key_mask(mask, k.shape[0], k.shape[2]),
            bias=attention_bias,
            fill=fill,
            causal=causal,
        )
        return y if outputs == 1 else (y, k, v)[:outputs]

    return function_module(attended, node)


def _heads(
    query: torch.Tensor,
    key: torch.Tensor | None,
    value: torch.Tensor | None,
    bias: torch.Tensor | None,
    heads: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return Q, K and V (B, N, length, D) from any of the packings; ``bias`` is that of all three, concatenated."""
    if key is None:  # (B, S, N, 3, D)
        q, k, v = (part.transpose(1, 2) for part in query.unbind(3))
    elif value is None:  # key and value (B, T, N, 2, D)
        q = split_heads(query, heads)
        k, v = (part.transpose(1, 2) for part in key.unbind(3))
    else:
        q = split_heads(query, heads)
        k, v = (part if part.ndim == 4 else split_heads(part, heads) for part in (key, value))
    if bias is None:
        return q, k, v
    sizes = [q.shape[1] * q.shape[3], k.shape[1] * k.shape[3], v.shape[1] * v.shape[3]]
    b_q, b_k, b_v = (torch.unflatten(part, 0, (heads, 1, -1)) for part in torch.split(bias, sizes))
    if key is not None and key.ndim == 4:  # keys and values come from elsewhere and have had their bias
        return q + b_q, k, v
    return q + b_q, k + b_k, v + b_v


@converter("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(node: Node) -> Converted:
    """Rotary position embedding; one position stands for the first token's, the others follow it."""
    given = node.attributes
    heads, rotated = given.get("num_heads", 0), given.get("rotary_embedding_dim", 0)
    interleaved = bool(given.get("interleaved", 0))
    if given.get("is_packed_batching", 0):
        raise node.refusal("is_packed_batching", 1)
    if given.get("scale", 1.0) != 1.0:
        raise node.refusal("scale", given["scale"])

    def embedded(x: torch.Tensor, positions: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        if x.ndim == 4:
            by_token = x.transpose(1, 2)
        else:  # without a number of heads, the caches tell the head size
            by_token = torch.unflatten(x, -1, (heads, -1) if heads and rotated else (-1, 2 * cos.shape[-1]))
        if positions.numel() == 1:
            positions = positions.reshape(1, 1) + torch.arange(by_token.shape[1], device=x.device)
        cos, sin = cos[positions.long()].unsqueeze(2), sin[positions.long()].unsqueeze(2)
        turned = rotate(by_token, cos, sin, interleaved=interleaved)
        return turned.transpose(1, 2) if x.ndim == 4 else turned.flatten(2)

    return function_module(embedded, node)
