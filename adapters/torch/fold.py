"""Constant folding: nodes whose inputs are all known are worked out while the graph is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ...engine.errors import OnnxplainError
from .dtypes import to_array, to_tensor
from .modules import module_of

if TYPE_CHECKING:
    from .node import Node

# What draws random numbers or works on sequences and graphs stays in the program.
_NEVER = frozenset(
    {
        "Bernoulli",
        "If",
        "Loop",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "Scan",
        "SequenceMap",
    }
    | {"RandomUniformLike", "SequenceEmpty", "SequenceConstruct", "SplitToSequence", "Optional"}
)


def folded(node: Node) -> list[np.ndarray] | None:
    """Return the outputs of a node whose inputs are all constant, or None where they cannot be worked out."""
    given = [k for k, name in enumerate(node.inputs) if name]
    if node.op_type in _NEVER or not all(k in node.constants for k in given):
        return None
    try:
        converted = module_of(node)
        with torch.no_grad():
            outputs = converted.module(*(to_tensor(node.constants[k]) for k in converted.takes))
    except (OnnxplainError, RuntimeError, ValueError, TypeError, IndexError, NotImplementedError):
        return None  # then the node stays, and says why it cannot run when it is run
    listed = outputs if isinstance(outputs, tuple) else (outputs,)
    if not all(isinstance(o, torch.Tensor) or o is None for o in listed):
        return None
    return [to_array(o) if o is not None else np.empty(0) for o in listed]
