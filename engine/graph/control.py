"""Loop, Scan and If: a form that ONNX Runtime takes, what their graphs yield, and whether values decide what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import EncodeError
from onnx import checker, shape_inference

from .rebuild import rebuilt, skeleton
from .structure import all_names, attribute_of, fresh_name, has_loops, is_default, scopes, subgraphs, used_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx import GraphProto, ModelProto, NodeProto

_CONTROL = ("If", "Loop", "Scan")


def name_outputs(model: ModelProto) -> None:
    """Give names, in place, to the outputs of Loop, Scan and If that a file leaves out.

    ONNX Runtime does not take a file without them; where it is a Loop or Scan, the process ends.
    """
    unnamed = [node for s in scopes(model) for node in s.nodes if is_default(node, *_CONTROL) and "" in node.output]
    taken = all_names(model) if unnamed else set[str]()
    for node in unnamed:
        for place, name in enumerate(node.output):
            node.output[place] = name or fresh_name(f"{node.name or node.op_type}/unused", taken)


def with_body_types(proto: ModelProto) -> ModelProto:
    """Return a model whose Loops state the types of what their graphs yield, as far as shape inference finds them."""
    if not has_loops(proto):
        return proto
    try:
        inferred = shape_inference.infer_shapes(skeleton(proto))
    except (EncodeError, checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError):
        return proto  # then what the file declares is all that is known
    model = rebuilt(proto)
    _copy_types(model.graph, inferred.graph)
    return model


def _copy_types(graph: GraphProto, typed: GraphProto) -> None:
    for node, other in zip(graph.node, typed.node, strict=True):
        for body, known in zip(subgraphs(node), subgraphs(other), strict=True):
            for value, same in zip(body.output, known.output, strict=True):
                value.type.CopyFrom(same.type)
            _copy_types(body, known)


def decided_by_values(proto: ModelProto, inputs: Iterable[str]) -> bool:
    """Say whether values of these inputs choose the branch of an If or end a Loop.

    What depends on shapes alone does not count, nor does what happens in a model-local function.
    """
    held = (node for scope in scopes(proto) for node in scope.nodes)
    return any(is_default(node, "If", "Loop") for node in held) and _read(proto.graph.node, set(inputs))


def _read(nodes: Sequence[NodeProto], known: set[str]) -> bool:
    """Return whether what is known decides what runs; if it does not, what depends on it has been added to it."""
    return any(_decides(node, known) for node in nodes)


def _decides(node: NodeProto, known: set[str]) -> bool:
    if is_default(node, "Shape", "Size") or known.isdisjoint(used_names(node)):
        return False
    decides = False
    if is_default(node, "If"):
        decides = node.input[0] in known or any(_read(g.node, set(known)) for g in subgraphs(node))
    elif is_default(node, "Loop"):
        decides = not known.isdisjoint(name for name in node.input[:2] if name) or _ends(node, known)
    elif is_default(node, "Scan"):
        decides = any(_read(g.node, known | {v.name for v in g.input}) for g in subgraphs(node))
    known.update(name for name in node.output if name)
    return decides


def _ends(node: NodeProto, known: set[str]) -> bool:
    """Say whether what is known decides inside the body of a Loop, or whether there is another step."""
    body = attribute_of(node, "body")
    within = known | {value.name for value, fed in zip(body.input[2:], node.input[2:], strict=False) if fed in known}
    while True:
        found = set(within)
        decides = _read(body.node, found)
        again = {v.name for v, made in zip(body.input[2:], body.output[1:], strict=False) if made.name in found}
        if decides or body.output[0].name in found:
            return True
        if again <= within:
            return False
        within |= again
