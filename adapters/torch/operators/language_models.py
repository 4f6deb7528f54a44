"""Operators of com.microsoft that exporters of large language models write: grouped attention and weights of few bits.

Shapes: B rows, S new tokens, T tokens with those of the cache, N heads of D.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..dtypes import to_tensor
from .attention import merge_heads, rotate, split_heads
from .microsoft import MICROSOFT
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

    Maybe = torch.Tensor | None

QUANTISED_CACHE = 12  # from this input on: scales of a quantised cache, weights of norms of queries and keys


@converter("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(node: Node) -> Converted:
    """Causal attention of N query heads to fewer key heads, with rotary embedding and a cache.

    All rows must have the same number of tokens, in order of their position; outputs are (B, S, N D) and the cache grown to T.
    """
    given, outputs = node.attributes, len(node.outputs)
    heads, kv_heads, softcap = given["num_heads"], given["kv_num_heads"], given.get("softcap", 0.0)
    window = given.get("local_window_size", -1)
    interleaved = bool(given.get("rotary_interleaved", 0))
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
        past = 0 if past_key is None else past_key.shape[2]
        length = past + query.shape[1]
        if bool((last_token != length - 1).any()):
            raise node.refusal("seqlens_k", f"{last_token.flatten().tolist()} for {length} tokens")
        if key is None or value is None:  # all three packed
            size = query.shape[-1] // (heads + 2 * kv_heads)
            query, key, value = torch.split(query, [heads * size, kv_heads * size, kv_heads * size], -1)
        q, k, v = split_heads(query, heads), split_heads(key, kv_heads), split_heads(value, kv_heads)
        if given.get("do_rotary", 0) and cos is not None and sin is not None:
            if positions is not None and bool((positions != torch.arange(past, length, device=q.device)).any()):
                raise node.refusal("position_ids", f"{positions.tolist()} after {past} tokens")
            angles = cos[past:length].unsqueeze(-2), sin[past:length].unsqueeze(-2)  # (S, 1, D / 2)
            q, k = (rotate(t.transpose(1, 2), *angles, interleaved=interleaved).transpose(1, 2) for t in (q, k))
        if past_key is not None and past_value is not None:
            k, v = torch.cat((past_key, k), 2), torch.cat((past_value, v), 2)
        present = (k, v)
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        logits = (q @ k.transpose(-1, -2)) * (given.get("scale") or 1 / math.sqrt(q.shape[-1]))
        if softcap:
            logits = softcap * torch.tanh(logits / softcap)
        logits = logits if bias is None else logits + bias
        behind = torch.arange(past, length, device=q.device).unsqueeze(1) - torch.arange(length, device=q.device)
        unseen = behind < 0 if window < 0 else (behind < 0) | (behind >= window)
        logits = logits.masked_fill(unseen, -math.inf)
        if sink is not None or given.get("smooth_softmax", 0):  # one more key that holds nothing
            nothing = logits.new_zeros(heads) if sink is None else sink.to(logits)
            column = nothing.reshape(1, -1, 1, 1).expand(*logits.shape[:3], 1)
            weights = torch.softmax(torch.cat((logits, column), -1), -1)[..., :-1]
        else:
            weights = torch.softmax(logits, -1)
        y = merge_heads(weights @ v)
        return y if outputs == 1 else (y, *present)[:outputs]

    return function_module(attended, node)


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
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(to_tensor(bias), requires_grad=False)
    return Converted(linear, (0,))
