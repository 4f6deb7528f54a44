"""Layers of state-space models that carry a state along the sequence: linear attention and causal convolution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .attention import merge_heads, split_heads
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node


@converter("LinearAttention")
def linear_attention(node: Node) -> Converted:
    """Linear attention as a recurrence of the state ``S`` (batch, heads, key size, value size).

    ``S_t = exp(g_t) S_{t-1} + k_t v_t^T`` with ``v_t`` replaced by ``beta_t (v_t - S^T k_t)`` under a delta rule, and
    ``o_t = scale S_t^T q_t``; computed in at least float32.
    """
    q_heads, kv_heads = node.attributes["q_num_heads"], node.attributes["kv_num_heads"]
    rule, scale, outputs = node.attributes["update_rule"], node.attributes["scale"], len(node.outputs)
    if rule not in {"linear", "gated", "delta", "gated_delta"}:
        raise node.refusal("update_rule", rule)

    def attended(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        past: torch.Tensor | None = None,
        decay: torch.Tensor | None = None,
        beta: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        wide = torch.promote_types(query.dtype, torch.float32)
        q, k, v = (split_heads(t, h).to(wide) for t, h in ((query, q_heads), (key, kv_heads), (value, kv_heads)))
        size, groups = q.shape[-1], q_heads // kv_heads
        factor = scale or 1 / math.sqrt(size)
        state = q.new_zeros(*k.shape[:2], size, v.shape[-1]) if past is None else past.to(wide)
        kept = None if decay is None else split_heads(decay, kv_heads).to(wide).exp()
        rate = None if beta is None else beta.to(wide).transpose(1, 2).unsqueeze(-1)
        steps = []
        for t in range(q.shape[2]):
            k_t, v_t = k[:, :, t].unsqueeze(-1), v[:, :, t].unsqueeze(-2)
            if kept is not None:
                state = state * kept[:, :, t].unsqueeze(-1)
            if rate is not None:
                v_t = rate[:, :, t].unsqueeze(-1) * (v_t - k_t.transpose(-1, -2) @ state)
            state = state + k_t @ v_t
            read = state if groups == 1 else state.repeat_interleave(groups, 1)
            steps.append(factor * (q[:, :, t].unsqueeze(-2) @ read))
        y = merge_heads(torch.cat(steps, 2)).to(query.dtype)
        return y if outputs == 1 else (y, state.to(query.dtype if past is None else past.dtype))

    return function_module(attended, node)


@converter("CausalConvWithState")
def causal_conv_with_state(node: Node) -> Converted:
    """Convolve each channel with its own kernel, looking back only; the state is what the next call looks back at.

    Shapes: input (rows, channels, length), kernel (channels, 1, k), state (rows, channels, k - 1).
    """
    name, outputs = node.attributes["activation"], len(node.outputs)
    if name not in {"none", "silu", "swish"}:
        raise node.refusal("activation", name)

    def convolved(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, past: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        behind = weight.shape[-1] - 1
        seen = F.pad(x, (behind, 0)) if past is None else torch.cat((past, x), -1)
        y = F.conv1d(seen, weight, bias, groups=x.shape[1])
        if name != "none":
            y = F.silu(y)
        return y if outputs == 1 else (y, seen[..., seen.shape[-1] - behind :])

    return function_module(convolved, node)
