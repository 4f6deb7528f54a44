"""Recurrent layers: RNN, GRU and LSTM in all directions, step by step so that every form of the operators fits.

Shapes: T steps, B rows, D directions (1 or 2), H hidden units, G gates (RNN 1, GRU 3, LSTM 4).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .recurrent_fused import fits, fused_layer
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..node import Node

    Elementwise = Callable[[torch.Tensor], torch.Tensor]

# name -> the defaults of alpha and beta in ONNX Runtime; None where there is no such parameter. ONNX says that they are
# those of the operators of that name, which would be 1 for the zeros, and 0 for the beta of Affine.
PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "Relu": (None, None),
    "Tanh": (None, None),
    "Sigmoid": (None, None),
    "Affine": (0.0, 0.0),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (0.0, None),
    "ScaledTanh": (0.0, 0.0),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
}


def activation(name: str, alpha: float, beta: float) -> Elementwise:
    """Return an activation of the recurrent operators by its name."""
    table: dict[str, Elementwise] = {
        "Relu": torch.relu,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "Affine": lambda x: alpha * x + beta,
        "LeakyRelu": lambda x: F.leaky_relu(x, alpha),
        "ThresholdedRelu": lambda x: torch.where(x >= alpha, x, torch.zeros_like(x)),
        "ScaledTanh": lambda x: alpha * torch.tanh(beta * x),
        "HardSigmoid": lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0),
        "Elu": lambda x: F.elu(x, alpha),
        "Softsign": F.softsign,
        "Softplus": F.softplus,
    }
    return table[name]


def activations(node: Node, defaults: Sequence[str], directions: int) -> list[list[Elementwise]]:
    """Return, for each direction, the activations in the order of the operator's equations.

    The lists of alpha and beta are consumed by those activations, in order, that have such a parameter.
    """
    names = list(node.attributes.get("activations") or list(defaults) * directions)
    given = {key: list(node.attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")}
    if len(names) < len(defaults) * directions:
        raise node.refusal("activations", names)
    del names[len(defaults) * directions :]  # RNN's default names both directions
    known = {name.lower(): name for name in PARAMETERS}
    found: list[Elementwise] = []
    for name in names:
        if name.lower() not in known:
            raise node.refusal("activations", name)
        canonical = known[name.lower()]
        values = [
            0.0 if default is None else given[key].pop(0) if given[key] else default
            for key, default in zip(("alpha", "beta"), PARAMETERS[canonical], strict=True)
        ]
        found.append(activation(canonical, *values))
    size = len(defaults)
    return [found[d * size : (d + 1) * size] for d in range(directions)]


@dataclass(frozen=True)
class Weights:
    """One direction's weights: ``W`` (G H, I), ``R`` (G H, H), biases of both (G H) and the LSTM's peepholes (3 H)."""

    W: torch.Tensor
    R: torch.Tensor
    Wb: torch.Tensor
    Rb: torch.Tensor
    P: torch.Tensor | None


State = tuple[torch.Tensor, ...]  # (h,) or, for the LSTM, (h, c), each (B, H)


class Cell(abc.ABC):
    """One step of a recurrent layer: ``projected`` is ``X_t W^T`` plus the biases that do not depend on the state."""

    def __init__(self, acts: Sequence[Elementwise], clip: float | None) -> None:
        self.acts = tuple(acts)
        self.clip = clip

    def bounded(self, x: torch.Tensor) -> torch.Tensor:
        """Clip what enters an activation."""
        return x if self.clip is None else torch.clamp(x, -self.clip, self.clip)

    def bias(self, w: Weights) -> torch.Tensor:
        """Return the bias to add to the projected input."""
        return w.Wb + w.Rb

    @abc.abstractmethod
    def step(self, projected: torch.Tensor, state: State, w: Weights) -> State:
        """Return the next state."""


class RNNCell(Cell):
    """``H_t = f(X_t W^T + H_{t-1} R^T + Wb + Rb)``."""

    def step(self, projected: torch.Tensor, state: State, w: Weights) -> State:
        """Return the next state."""
        (f,), (h,) = self.acts, state
        return (f(self.bounded(torch.addmm(projected, h, w.R.T))),)


class GRUCell(Cell):
    """Gates z, r, h; ``H_t = (1 - z) h~ + z H_{t-1}`` with the reset gate before or after the linear transformation."""

    def __init__(self, acts: Sequence[Elementwise], clip: float | None, *, linear_before_reset: bool) -> None:
        super().__init__(acts, clip)
        self.linear_before_reset = linear_before_reset

    def bias(self, w: Weights) -> torch.Tensor:
        """Return the bias; with ``linear_before_reset`` that of the hidden gate's recurrence is added in the step."""
        if not self.linear_before_reset:
            return w.Wb + w.Rb
        hidden = w.R.shape[1]
        return w.Wb + torch.cat((w.Rb[: 2 * hidden], torch.zeros_like(w.Rb[2 * hidden :])))

    def step(self, projected: torch.Tensor, state: State, w: Weights) -> State:
        """Return the next state."""
        (f, g), (h,) = self.acts, state
        hidden = h.shape[-1]
        x_zr, x_h = projected[:, : 2 * hidden], projected[:, 2 * hidden :]
        if self.linear_before_reset:
            recurrent = h @ w.R.T
            z, r = f(self.bounded(x_zr + recurrent[:, : 2 * hidden])).chunk(2, -1)
            inner = r * (recurrent[:, 2 * hidden :] + w.Rb[2 * hidden :])
        else:
            z, r = f(self.bounded(torch.addmm(x_zr, h, w.R[: 2 * hidden].T))).chunk(2, -1)
            inner = (r * h) @ w.R[2 * hidden :].T
        candidate = g(self.bounded(x_h + inner))
        return (candidate + z * (h - candidate),)


class LSTMCell(Cell):
    """Gates i, o, f, c; ``C_t = f C_{t-1} + i c~``, ``H_t = o h(C_t)``, with peepholes from C to i, f and o."""

    def __init__(self, acts: Sequence[Elementwise], clip: float | None, *, input_forget: bool) -> None:
        super().__init__(acts, clip)
        self.input_forget = input_forget

    def step(self, projected: torch.Tensor, state: State, w: Weights) -> State:
        """Return the next state."""
        (f, g, h_act), (h, c) = self.acts, state
        x_i, x_o, x_f, x_c = torch.addmm(projected, h, w.R.T).chunk(4, -1)
        if w.P is not None:
            p_i, p_o, p_f = w.P.chunk(3)
            x_i, x_f = x_i + p_i * c, x_f + p_f * c
        i = f(self.bounded(x_i))
        forget = 1 - i if self.input_forget else f(self.bounded(x_f))
        c = forget * c + i * g(self.bounded(x_c))
        if w.P is not None:
            x_o = x_o + p_o * c
        return f(self.bounded(x_o)) * h_act(c), c


def run_direction(
    cell: Cell, x: torch.Tensor, w: Weights, state: State, lengths: torch.Tensor | None, *, backward: bool
) -> tuple[torch.Tensor, State]:
    """Return all hidden states (T, B, H), in the order of time, and the last state.

    Beyond a row's length its state stays and its output is 0; a backward pass starts at its last valid step.
    """
    projected = F.linear(x, w.W, cell.bias(w)).unbind(0)
    steps = range(len(projected))
    ys: list[torch.Tensor] = []
    for t in reversed(steps) if backward else steps:
        new = cell.step(projected[t], state, w)
        if lengths is None:
            state = new
            ys.append(new[0])
        else:
            valid = (t < lengths).unsqueeze(-1)
            state = tuple(torch.where(valid, n, s) for n, s in zip(new, state, strict=True))
            ys.append(torch.where(valid, new[0], torch.zeros_like(new[0])))
    y = torch.stack(ys[::-1] if backward else ys) if ys else x.new_zeros(0, x.shape[1], w.R.shape[1])
    return y, state


@dataclass(frozen=True)
class Layer:
    """A recurrent layer: its cells and their sense by direction, the layout, how many outputs are asked for."""

    cells: tuple[Cell, ...]
    backward: tuple[bool, ...]
    states: int
    batch_first: bool
    outputs: int

    def __call__(
        self,
        x: torch.Tensor,
        W: torch.Tensor,
        R: torch.Tensor,
        B: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        initial_h: torch.Tensor | None = None,
        initial_c: torch.Tensor | None = None,
        P: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return Y (T, D, B, H), Y_h and, for the LSTM, Y_c (D, B, H), or all with the batch first."""
        if self.batch_first:
            x = x.transpose(0, 1)
        starts = [
            x.new_zeros(len(self.cells), x.shape[1], R.shape[-1])
            if s is None
            else s.transpose(0, 1)
            if self.batch_first
            else s
            for s in (initial_h, initial_c)[: self.states]
        ]
        ys: list[torch.Tensor] = []
        lasts: list[State] = []
        for d, (cell, backward) in enumerate(zip(self.cells, self.backward, strict=True)):
            gates = R.shape[1]
            biases = x.new_zeros(2 * gates) if B is None else B[d]
            w = Weights(W[d], R[d], biases[:gates], biases[gates:], None if P is None else P[d])
            y, last = run_direction(cell, x, w, tuple(s[d] for s in starts), lengths, backward=backward)
            ys.append(y)
            lasts.append(last)
        y = torch.stack(ys, 1)
        ends = [torch.stack(s) for s in zip(*lasts, strict=True)]
        if self.batch_first:
            y, ends = y.permute(2, 0, 1, 3), [s.transpose(0, 1) for s in ends]
        return y if self.outputs == 1 else (y, *ends)[: self.outputs]


LSTM_ACTIVATIONS = ("Sigmoid", "Tanh", "Tanh")
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def layer_of(node: Node, defaults: Sequence[str], cell: Callable[[Sequence[Elementwise], float | None], Cell]) -> Layer:
    """Read a layer from a node's attributes; ``cell`` makes a direction's cell from its activations and the clip."""
    direction = node.attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise node.refusal("direction", direction)
    backward = DIRECTIONS[direction]
    acts = activations(node, defaults, len(backward))
    clip = node.attributes.get("clip")
    return Layer(
        cells=tuple(cell(a, clip) for a in acts),
        backward=backward,
        states=2 if node.op_type == "LSTM" else 1,
        batch_first=bool(node.attributes.get("layout", 0)),
        outputs=len(node.outputs),
    )


def rnn(node: Node) -> Layer:
    """Elman layer."""
    return layer_of(node, ("Tanh",), RNNCell)


def gru(node: Node) -> Layer:
    """Gated recurrent units (Cho et al. 2014, 1406.1078)."""
    after = bool(node.attributes["linear_before_reset"])
    return layer_of(node, ("Sigmoid", "Tanh"), lambda acts, clip: GRUCell(acts, clip, linear_before_reset=after))


def lstm(node: Node) -> Layer:
    """Long short-term memory (Hochreiter, Schmidhuber 1997), with peepholes (Gers, Schmidhuber 2000)."""
    coupled = bool(node.attributes["input_forget"])
    return layer_of(node, LSTM_ACTIVATIONS, lambda acts, clip: LSTMCell(acts, clip, input_forget=coupled))


STEPWISE = {"RNN": rnn, "GRU": gru, "LSTM": lstm}


@converter("RNN", "GRU", "LSTM", since=7)
def recurrent(node: Node) -> Converted:
    """By torch's fused layer where it computes the same, else step by step."""
    return fused_layer(node) if fits(node) else function_module(STEPWISE[node.op_type](node), node)
