"""Codes: which input of whole numbers a tensor of floating-point numbers stands for, position by position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph.structure import attribute_of, constants, is_default, producers
from .flow import Flow

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_SAME_ORDER = ("Cast", "Clip", "Expand", "Flatten", "Identity", "Neg", "Not", "Reshape", "Squeeze", "Unsqueeze")
_WITH_CONSTANTS = (
    "Add", "And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Or", "Sub",
    "Where",
)  # fmt: skip


def codes_of(proto: ModelProto, tensor: str) -> str:
    """Return the input whose numbers a tensor holds in another form: rows of a table, or 0 and 1 for each code.

    Each position of the input then has numbers of its own in the tensor, in the same order; what else they are spread
    over comes after the input's axes. Empty where the tensor is made in any other way, or from several inputs.
    """
    flow = Flow(proto, tensor)
    made, stored = producers(flow.nodes), constants(proto.graph.node, proto.graph)
    name = tensor
    while name in made:
        node = made[name]
        carried = [place for place, given in enumerate(node.input) if given in flow.live]
        if len(carried) != 1 or not _keeps_places(node, carried[0], stored):
            return ""
        name = node.input[carried[0]]
    return name if name in flow.inputs and name != tensor else ""


def _keeps_places(node: NodeProto, carried: int, stored: dict[str, TensorProto]) -> bool:
    """Say whether each position of the tensor at place ``carried`` is treated alone, and what is added comes last."""
    if is_default(node, *_SAME_ORDER):
        return carried == 0
    if is_default(node, "Gather"):
        return carried == 1 and attribute_of(node, "axis", 0) == 0
    if is_default(node, "OneHot"):
        return carried == 0 and attribute_of(node, "axis", -1) == -1
    others = [name for place, name in enumerate(node.input) if place != carried]
    rows = [list(stored[name].dims) for name in others if name in stored]
    return (
        is_default(node, *_WITH_CONSTANTS)
        and len(rows) == len(others)
        and all(size == 1 for row in rows for size in row[:-1])
    )
