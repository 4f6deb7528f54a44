"""The rule of recurrent cells: gates are constants, candidates pass relevance on, and what is left is linear."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..operators.recurrent import STEPWISE, RNNCell
from ..operators.registry import function_module
from .rule import share, stabilised, unfit
from .transposes import transposed

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ..operators.recurrent import Cell, Layer
    from .ruled import Back, Moment
    from .sites import Site

    Elementwise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Cells:
    """LRP-0 through the steps of an RNN, GRU or LSTM: a product with a gate goes to the signal, activations pass.

    With gates and the quotients ``g(z) / z`` of the other activations held constant, all that the layer makes is linear
    in what it reads, and relevance is shared as LRP-0 does; biases keep their share. ``epsilon`` is added to outputs.
    Source: Arras et al. 2017, Explaining Recurrent Neural Network Predictions, arXiv:1706.07206.
    """

    epsilon: float = 1e-6

    proportional: ClassVar[bool] = True

    def back(self, site: Site) -> Back:
        """Run the cells step by step, with gates held."""
        if site.node.op_type not in STEPWISE:
            raise unfit(self, site, "it is for RNN, GRU and LSTM")
        held = function_module(_held(STEPWISE[site.node.op_type](site.node)), site.node).module

        def shared(m: Moment) -> list[torch.Tensor]:
            s = tuple(share(R, stabilised(y, self.epsilon)) for R, y in zip(m.R, m.ys, strict=True))
            slopes = transposed(held.to(m.x.device), m.xs, s)
            return [x * slope for x, slope in zip(m.xs, slopes, strict=True)]

        return shared

    def __str__(self) -> str:
        """Name."""
        return "cells"


def _held(layer: Layer) -> Layer:
    """Return a recurrent layer whose gates, and quotients of other activations, have no gradient."""
    return dataclasses.replace(layer, cells=tuple(_held_cell(cell) for cell in layer.cells))


def _held_cell(cell: Cell) -> Cell:
    other = copy.copy(cell)
    if isinstance(cell, RNNCell):
        other.acts = tuple(_passed(a) for a in cell.acts)
    else:
        other.acts = (_constant(cell.acts[0]), *(_passed(a) for a in cell.acts[1:]))
    return other


def _constant(gate: Elementwise) -> Elementwise:
    return lambda z: gate(z).detach()


def _passed(activation: Elementwise) -> Elementwise:
    return lambda z: z * share(activation(z).detach(), z.detach())
