"""Presets of layer-wise relevance propagation: which rule the layers of a network have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rules import Z_PLUS, AlphaBeta, Cells, Detached, Epsilon, Exact, Gamma, Gate, Pass, Taylor
from ..rules.parse import Numbers, parse_rule

if TYPE_CHECKING:
    from ..rules import Rule


def others(numbers: Numbers) -> dict[str, Rule]:
    """Return the rules of all that is no layer, the same in each preset."""
    return {
        "pool": Epsilon(numbers.epsilon),
        "sum": Epsilon(numbers.epsilon),
        "batch-norm": Epsilon(numbers.epsilon),
        "scale": Pass(),
        "activation": Pass(),
        "product": Gate(),
        "max-pool": Exact(),
        "softmax": Taylor(),
        "normalisation": Detached(),
        "recurrent": Cells(numbers.epsilon),
        "reduction": Taylor(),
    }


def layers(preset: str, numbers: Numbers) -> dict[str, Rule]:
    """Return the rules of layers."""
    epsilon = Epsilon(numbers.epsilon)
    if preset == "epsilon-plus-unbiased":
        return {"conv": AlphaBeta(1.0, 0.0, bias=False), "dense": epsilon}
    if preset == "epsilon-plus":
        return {"conv": Z_PLUS, "dense": epsilon}
    if preset == "epsilon-alpha2-beta1":
        return {"conv": AlphaBeta(2.0, 1.0), "dense": epsilon}
    if preset == "epsilon-gamma-box":
        return {"first": parse_rule("box", numbers), "conv": Gamma(numbers.gamma), "dense": epsilon}
    return {"rest": epsilon}
