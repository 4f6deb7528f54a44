"""The usual forms of RNN, GRU and LSTM by torch's own fused layers; recurrent.py steps through all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ..dtypes import to_tensor
from .registry import Converted, function_module

if TYPE_CHECKING:
    from ..node import Node

DEFAULTS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
GATE_ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}  # torch's gates by their place in ONNX's order
W, R, B, LENGTHS, H, C, P = 1, 2, 3, 4, 5, 6, 7  # places of the inputs


def fits(node: Node) -> bool:
    """Whether torch's layer computes the same: stored weights, usual activations, all rows of one length."""
    given = node.attributes
    directions = 2 if given.get("direction") == "bidirectional" else 1
    usual = DEFAULTS[node.op_type] * directions
    names = tuple(name.lower() for name in given.get("activations") or usual)[: len(usual)]
    if node.op_type == "RNN" and names == ("relu",) * directions:
        names = usual
    changed = any(given.get(name) for name in ("activation_alpha", "activation_beta", "clip", "input_forget"))
    stored = all(k in node.constants or not node.given(k) for k in (W, R, B))
    plain = not node.given(LENGTHS) and not node.given(P)
    return (
        names == usual
        and not changed
        and stored
        and plain
        and (node.op_type != "GRU" or bool(given["linear_before_reset"]))
    )


def regated(blocks: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """Put the gates' blocks of rows, one after another, into another order."""
    parts = blocks.chunk(len(order))
    return torch.cat([parts[k] for k in order])


class FusedLayer(nn.Module):
    """One recurrent layer; its weights are buffers named as in ``torch.nn.LSTM``."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        given = node.attributes
        self.kind = node.op_type
        self.relu = (given.get("activations") or ("",))[0].lower() == "relu"
        self.backward = given.get("direction") == "reverse"
        self.batch_first = bool(given.get("layout", 0))
        self.outputs = len(node.outputs)
        order = GATE_ORDER[node.op_type]
        w, r = to_tensor(node.constants[W]), to_tensor(node.constants[R])
        self.directions, gates, self.hidden = r.shape
        b = to_tensor(node.constants[B]) if B in node.constants else w.new_zeros(self.directions, 2 * gates)
        self.names: list[str] = []
        for d, suffix in zip(range(self.directions), ("", "_reverse"), strict=False):
            for name, value in (
                ("weight_ih", w),
                ("weight_hh", r),
                ("bias_ih", b[:, :gates]),
                ("bias_hh", b[:, gates:]),
            ):
                self.names.append(f"{name}_l0{suffix}")
                self.register_buffer(self.names[-1], regated(value[d], order))

    def forward(
        self, x: torch.Tensor, initial_h: torch.Tensor | None = None, initial_c: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return Y and the last states, as many as asked for, shaped as ONNX has them."""
        rows, time = (0, 1) if self.batch_first else (1, 0)
        states = [
            x.new_zeros(self.directions, x.shape[rows], self.hidden)
            if start is None
            else (start.transpose(0, 1) if self.batch_first else start).contiguous()
            for start in (initial_h, initial_c)
        ]
        weights = [self.get_buffer(name) for name in self.names]
        x = x.flip(time) if self.backward else x
        # biases, one layer, no dropout, training (cuDNN has no gradient without), both directions
        settings = (True, 1, 0.0, True, self.directions == 2, self.batch_first)
        if self.kind == "LSTM":
            y, *ends = torch.lstm(x, states, weights, *settings)
        else:
            run = torch.gru if self.kind == "GRU" else torch.rnn_relu if self.relu else torch.rnn_tanh
            y, *ends = run(x, states[0], weights, *settings)
        y = torch.unflatten(y.flip(time) if self.backward else y, -1, (self.directions, self.hidden))
        if self.batch_first:
            ends = [end.transpose(0, 1) for end in ends]
        else:
            y = y.transpose(1, 2)
        return y if self.outputs == 1 else (y, *ends)[: self.outputs]

    def extra_repr(self) -> str:
        """Name the operator."""
        return self.kind


def fused_layer(node: Node) -> Converted:
    """Convert a layer that ``fits``."""
    return function_module(FusedLayer(node), node, takes=[0, H, C] if node.op_type == "LSTM" else [0, H])
