"""What onnx itself knows about operators: versions, default attributes, and functions that spell an operator out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from onnx import FunctionProto, defs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import AttributeProto

    from .node import Node


def version_of(op_type: str, domain: str, opsets: Mapping[str, int]) -> int:
    """Return the ``since_version`` of the schema in force; the imported version where onnx has no schema."""
    imported = opsets.get(domain, 1)
    schema = schema_of(op_type, domain, imported)
    return int(schema.since_version) if schema is not None else imported


@cache
def schema_of(op_type: str, domain: str, version: int) -> defs.OpSchema | None:
    """Return the schema of an operator under an imported opset version, or None."""
    try:
        return defs.get_schema(op_type, version, domain)
    except defs.SchemaError:
        return None


def attribute_defaults(node: Node) -> dict[str, AttributeProto]:
    """Return the attributes that the schema gives a default."""
    schema = schema_of(node.op_type, node.domain, node.version)
    if schema is None:
        return {}
    return {name: a.default_value for name, a in schema.attributes.items() if a.default_value.type}


def function_body(node: Node) -> FunctionProto | None:
    """Return the function of other operators that the specification gives for one, where it does not need types."""
    schema = schema_of(node.op_type, node.domain, node.version)
    if schema is None or not schema.has_function:  # type: ignore[attr-defined]  # onnx's stub lacks it
        return None
    found = schema.function_body
    body = FunctionProto()
    body.CopyFrom(found)
    return body
