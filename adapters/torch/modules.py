"""From a node to its torch module: whatever family of operators knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engine.errors import CapabilityError
from ...engine.graph import NO_GRADIENT
from .node import BLACK_BOX
from .operators import find

if TYPE_CHECKING:
    from .node import Node
    from .operators.registry import Converted


def supports(node: Node) -> bool:
    """Whether there is a converter for the operator at this version."""
    return find(node) is not None


def module_of(node: Node) -> Converted:
    """Return the node as a torch module.

    Raises ``CapabilityError`` for an operator that has no converter, or an attribute value that it lacks.
    """
    convert = find(node)
    if convert is not None:
        return convert(node)
    if node.op_type in NO_GRADIENT:
        raise CapabilityError(
            f"{node.op_type} has no gradient: {NO_GRADIENT[node.op_type]}", where=node.label, tip=BLACK_BOX
        )
    raise CapabilityError(
        f"the torch twin does not know the operator {node.domain or 'ai.onnx'}::{node.op_type}, version {node.version}",
        where=node.label,
        tip=BLACK_BOX,
    )
