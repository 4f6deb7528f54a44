"""Operators of com.microsoft that exporters of large language models write: grouped attention and weights of few bits.

Shapes: B rows, S new tokens, T tokens with those of the cache, N heads of D.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..dtypes import to_tensor
from .attention import merge_heads, rotate, split_heads
from .linear import linear_layer
from .microsoft import MICROSOFT
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

    Maybe = torch.Tensor | None

QUANTISED_CACHE = 12  # from this input on: scales of a quantised cache, weights of norms of queries and keys


@converter("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(node: Node) -> Converted:
    """Causal attention of N query heads to fewer key heads, with rotary embedding and a cache.

    All rows must have the same number of tokens, in order of their position; outputs are (B, S, N D) and the cache
    grown to T.
    """
    given, outputs = node.attributes, len(node.outputs)
    groups = given["num_heads"] // given["kv_num_heads"]
    if any(node.inputs[QUANTISED_CACHE:]):
        raise node.refusal("input", "scales of a quantised cache or weights of norms")
    if node.wanted(3) or not given.get("causal", 1):
        raise node.refusal("output_qk or causal", "wanted, or 0")

    def attended(  # noqa: PLR0913, PLR0917 - the operator has twelve inputs
        query: torch.Tensor,
        key: Maybe,
        value: Maybe,
        past_key: Maybe,
        past_value: Maybe,
        last_token: torch.Tensor,
        total: torch.Tensor,
        cos: Maybe = None,
        sin: Maybe = None,
        positions: Maybe = None,
        bias: Maybe = None,
        sink: Maybe = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        del total
        q, k, v = _by_head(node, query, key, value)
        past = 0 if past_key is None else past_key.shape[2]
        length = past + q.shape[2]
        if bool((last_token != length - 1).any()):
            raise node.refusal("seqlens_k", f"{last_token.flatten().tolist()} for {length} tokens")
        if given.get("do_rotary", 0) and cos is not None and sin is not None:
            q, k = _rotated(node, q, k, cos[past:length], sin[past:length], positions, past)
        if past_key is not None and past_value is not None:
            k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
        logits = (q @ k.repeat_interleave(groups, 1).transpose(-1, -2)) * (
            given.get("scale") or 1 / math.sqrt(q.shape[-1])
        )
        y = merge_heads(_weights(node, logits, past, bias, sink) @ v.repeat_interleave(groups, 1))
        return y if outputs == 1 else (y, k, v)[:outputs]

    return function_module(attended, node)


def _by_head(node: Node, query: torch.Tensor, key: Maybe, value: Maybe) -> tuple[torch.Tensor, ...]:
    """Return Q, K and V (B, heads, S, D); without keys or values all three are packed in the query."""
    heads, kv_heads = node.attributes["num_heads"], node.attributes["kv_num_heads"]
    if key is None or value is None:
        size = query.shape[-1] // (heads + 2 * kv_heads)
        query, key, value = torch.split(query, [heads * size, kv_heads * size, kv_heads * size], -1)
    return split_heads(query, heads), split_heads(key, kv_heads), split_heads(value, kv_heads)


def _rotated(
    node: Node, q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: Maybe, past: int
) -> tuple[torch.Tensor, ...]:
    """Rotate Q and K (B, heads, S, D) by angles (S, D / 2)."""
    if positions is not None and bool((positions != torch.arange(past, past + len(cos), device=q.device)).any()):
        raise node.refusal("position_ids", f"{positions.tolist()} after {past} tokens")
    interleaved = bool(node.attributes.get("rotary_interleaved", 0))
    return tuple(rotate(t, cos, sin, interleaved=interleaved) for t in (q, k))


def _weights(node: Node, logits: torch.Tensor, past: int, bias: Maybe, sink: Maybe) -> torch.Tensor:
    """Return attention weights (B, N, S, T); a sink is one more key that holds nothing, with a logit for each head."""
    softcap, window = node.attributes.get("softcap", 0.0), node.attributes.get("local_window_size", -1)
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    logits = logits if bias is None else logits + bias
    tokens, length = logits.shape[-2:]
    place = torch.arange(length, device=logits.device)
    behind = place[past : past + tokens].unsqueeze(1) - place
    unseen = behind < 0 if window < 0 else (behind < 0) | (behind >= window)
    logits = logits.masked_fill(unseen, -math.inf)
    if sink is None and not node.attributes.get("smooth_softmax", 0):
        return torch.softmax(logits, -1)
    nothing = logits.new_zeros(logits.shape[1]) if sink is None else sink.to(logits)
    column = nothing.reshape(1, -1, 1, 1).expand(*logits.shape[:3], 1)
    return torch.softmax(torch.cat((logits, column), -1), -1)[..., :-1]


def unpacked(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Return the first ``count`` numbers of ``bits`` bits, lowest first, along the last axis of bytes."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return numbers.reshape(*packed.shape[:-1], -1)[..., :count]


def few_bit_weights(node: Node) -> torch.Tensor:
    """Return the real weights (N, K) of a MatMulNBits, stored in blocks with a scale and a zero point each."""
    given = node.attributes
    rows, columns = given["N"], given["K"]
    bits, block = given.get("bits", 4), given["block_size"]
    packed, scales, zeros = (node.constant(k) for k in (1, 2, 3))
    if packed is None or scales is None or (node.given(3) and zeros is None):
        raise node.refusal("weights", "computed")
    if bits not in {2, 4, 8} or node.given(4):
        raise node.refusal("bits or g_idx", f"{bits}, {node.given(4)}")
    blocks = -(-columns // block)
    whole = unpacked(packed.reshape(rows, blocks, -1), bits, block).astype(np.float32)
    shift: np.ndarray | float
    if zeros is None:
        shift = 2.0 ** (bits - 1)
    elif zeros.dtype == np.uint8:
        shift = unpacked(zeros.reshape(rows, -1), bits, blocks).astype(np.float32)[..., None]
    else:
        shift = zeros.reshape(rows, blocks, 1).astype(np.float32)
    real = (whole - shift) * scales.reshape(rows, blocks, 1)
    return to_tensor(real.reshape(rows, -1)[:, :columns].astype(scales.dtype))


@converter("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(node: Node) -> Converted:
    """Multiply by stored weights of 2, 4 or 8 bits: ``A W^T``, a linear layer with the weights restored."""
    weight, bias = few_bit_weights(node), node.constant(5)
    if node.given(5) and bias is None:
        raise node.refusal("bias", "computed")
    return Converted(linear_layer(weight, None if bias is None else to_tensor(bias)), (0,))
