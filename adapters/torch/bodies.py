"""Graphs inside If, Loop and Scan nodes, and what they read from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import FunctionProto, GraphProto

from ...engine.graph.structure import subgraphs, used_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import AttributeProto, NodeProto

    from .attributes import Arrays

Functions = dict[tuple[str, str, str], FunctionProto]


@dataclass(frozen=True)
class Context:
    """What holds for a whole model: functions, opsets of the graph, where external data lies, 16-bit floats widened."""

    functions: Functions
    opsets: Mapping[str, int]
    arrays: Arrays


@dataclass(frozen=True)
class Body:
    """The graph inside an If, Loop or Scan, as the value of the node's attribute.

    ``captured`` are the names of outer tensors that it reads; they stand among the node's inputs from position
    ``first`` on, in this order.
    """

    graph: GraphProto
    captured: tuple[str, ...]
    first: int
    context: Context


def captured_names(proto: GraphProto) -> tuple[str, ...]:
    """Return the names that a graph inside a node reads from outside, in the order of their use."""
    own = {v.name for v in proto.input} | {t.name for t in proto.initializer}
    own |= {s.values.name for s in proto.sparse_initializer}
    found: dict[str, None] = {}
    for node in proto.node:
        found.update(dict.fromkeys(name for name in sorted(used_names(node)) if name not in own and _reads(node, name)))
        own.update(node.output)
    found.update(dict.fromkeys(v.name for v in proto.output if v.name not in own))
    return tuple(found)


def _reads(node: NodeProto, name: str) -> bool:
    """Whether a node reads a name itself, or a graph inside it takes the name from outside."""
    return name in node.input or any(name in captured_names(graph) for graph in subgraphs(node))


def with_values(proto: GraphProto, attributes: Mapping[str, AttributeProto]) -> GraphProto:
    """Return a graph in which references to attributes of the function around it are replaced by their values."""
    if not attributes:
        return proto
    copy = GraphProto()
    copy.CopyFrom(proto)
    pending = [copy]
    while pending:
        graph = pending.pop()
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.ref_attr_name in attributes and attribute.ref_attr_name:
                    name = attribute.name
                    attribute.CopyFrom(attributes[attribute.ref_attr_name])
                    attribute.name = name
            pending.extend(subgraphs(node))
    return copy
