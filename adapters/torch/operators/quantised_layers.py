"""Quantised recurrent and attention layers of com.microsoft."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .microsoft_attention import refuse_rotary_and_shared, self_attention
from .quantised import MICROSOFT, dynamic_parameters, rounded
from .quantised_products import shifted
from .recurrent import LSTM_ACTIVATIONS, LSTMCell, State, Weights, layer_of
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

    Maybe = torch.Tensor | None


def through_uint8(x: torch.Tensor) -> torch.Tensor:
    """Quantise to uint8 with a scale that fits the tensor, and back."""
    scale, zero = dynamic_parameters(x)
    return scale * (torch.clamp(rounded(x / scale) + zero, 0, 255) - zero)


class QuantisedLSTMCell(LSTMCell):
    """An LSTM cell that quantises the hidden state on its way into the product."""

    def step(self, projected: torch.Tensor, state: State, w: Weights) -> State:
        """Return the next state."""
        return super().step(projected, (through_uint8(state[0]), state[1]), w)


def real_weights(weight: torch.Tensor, scale: torch.Tensor, zero: Maybe) -> torch.Tensor:
    """Return whole (D, columns, rows) as real (D, rows, columns); scales are per direction, or per row too."""
    scale = scale.reshape(scale.shape[0], 1, -1)
    zero = None if zero is None else zero.reshape(zero.shape[0], 1, -1)
    return (shifted(weight, zero, scale.dtype) * scale).transpose(1, 2)


@converter("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_quantize_lstm(node: Node) -> Converted:
    """LSTM with stored weights in 8 bits and inputs and hidden states quantised as they come."""
    coupled = bool(node.attributes.get("input_forget", 0))
    as_lstm = replace(node, op_type="LSTM", domain="")
    layer = layer_of(as_lstm, LSTM_ACTIVATIONS, lambda acts, clip: QuantisedLSTMCell(acts, clip, input_forget=coupled))

    def run(  # noqa: PLR0913, PLR0917 - the operator has twelve inputs
        x: torch.Tensor,
        W: torch.Tensor,
        R: torch.Tensor,
        B: Maybe,
        lengths: Maybe,
        initial_h: Maybe,
        initial_c: Maybe,
        P: Maybe,
        W_scale: torch.Tensor,
        W_zero: torch.Tensor,
        R_scale: torch.Tensor,
        R_zero: torch.Tensor,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        weights = real_weights(W, W_scale, W_zero), real_weights(R, R_scale, R_zero)
        return layer(through_uint8(x), *weights, B, lengths, initial_h, initial_c, P)

    return function_module(run, node)


@converter("QAttention", domain=MICROSOFT)
def qattention(node: Node) -> Converted:
    """Self-attention of a quantised input with quantised projection weights."""
    refuse_rotary_and_shared(node)

    def attended(  # noqa: PLR0913, PLR0917 - the operator has nine inputs
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        x_scale: torch.Tensor,
        weight_scale: torch.Tensor,
        mask: Maybe = None,
        x_zero: Maybe = None,
        weight_zero: Maybe = None,
        past: Maybe = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        whole = shifted(x, x_zero, x_scale.dtype) @ shifted(weight, weight_zero, x_scale.dtype)
        return self_attention(node, whole * (x_scale * weight_scale) + bias, mask, past, None)

    return function_module(attended, node)
