"""Operators that ONNX Runtime does not have, and functions that call themselves or grow without end."""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from onnx import defs

from ..errors import ModelError, nearest
from ..graph.fills import FILL
from ..graph.structure import DEFAULT_DOMAINS, node_label, opset_of, quoted, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import ModelProto, NodeProto

    from ..graph.structure import Scope

_DOMAINS = frozenset({*DEFAULT_DOMAINS, "ai.onnx.ml", "ai.onnx.training", "com.microsoft"})
_DOMAIN_FAMILIES = ("ai.onnx.preview", "com.microsoft.")
# Operators of the default domain that the standard does not have: ONNX Runtime does, or models are rewritten.
_UNLISTED = frozenset({
    "Affine", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler", "ParametricSoftplus", "Scale",
    "ScaledTanh", "SimplifiedLayerNormalization", FILL,
})  # fmt: skip
LARGEST_INLINED = 1_000_000  # nodes, once every call of a function is replaced by its body

Key = tuple[str, str, str]


def check_opsets(proto: ModelProto) -> None:
    """Raise ``ModelError`` if the model names no operator set, or one newer than the installed onnx knows."""
    if not proto.opset_import:
        raise ModelError("this model does not say which operator set it uses (no opset_import)")
    for opset in proto.opset_import:
        if opset.version < 1:
            raise ModelError(f"operator set {quoted(opset.domain)} has the impossible version {opset.version}")
    newest = defs.onnx_opset_version()
    version = opset_of(proto)
    if version > newest:
        raise ModelError(
            f"this model uses operator set {version}; the newest known here is {newest}",
            tip=f"export it with opset_version={newest} or lower, or upgrade onnx and onnxruntime",
        )


def check_operators(proto: ModelProto, scope: Scope) -> None:
    """Raise ``ModelError`` for the first operator of a scope that is not in ONNX Runtime nor defined by the model."""
    local = {(_domain(function.domain), function.name): function for function in proto.functions}
    for node in scope.nodes:
        domain = _domain(node.domain)
        function = local.get((domain, node.op_type))
        if function is not None:
            if len(node.input) > len(function.input) or len(node.output) > len(function.output):
                raise ModelError("a function is called with more inputs or outputs than it has", where=node_label(node))
            continue
        if domain not in _DOMAINS and not domain.startswith(_DOMAIN_FAMILIES):
            raise ModelError(
                f"operators of domain {quoted(domain)} are not in ONNX Runtime",
                where=node_label(node),
                tip="export the model without custom operators, or with their functions included",
            )
        if domain == "" and node.op_type not in _UNLISTED and not defs.has(node.op_type, ""):
            raise ModelError(
                f"the ONNX standard has no operator {quoted(node.op_type)}",
                where=node_label(node),
                tip=nearest(node.op_type, {schema.name for schema in defs.get_all_schemas() if not schema.domain}),
            )
        _check_arity(node, domain, opset_of(proto, domain))


def _check_arity(node: NodeProto, domain: str, version: int) -> None:
    """Raise ``ModelError`` for a node with fewer inputs or outputs than its operator needs: code trusts the count."""
    if not defs.has(node.op_type, version, domain):
        return
    schema = defs.get_schema(node.op_type, version, domain)
    for kind, given, needed in (
        ("input", len(node.input), schema.min_input),
        ("output", len(node.output), schema.min_output),
    ):
        if given < needed:
            raise ModelError(
                f"an operator lacks {kind}s: it has {given} and needs at least {needed}", where=node_label(node)
            )


def check_functions(proto: ModelProto) -> None:
    """Raise ``ModelError`` if functions call each other in a circle, or unfold to more than LARGEST_INLINED nodes."""
    bodies = {(_domain(f.domain), f.name, f.overload): f.node for f in proto.functions}
    calls = {key: Counter(_key(node) for node in _all_nodes(nodes)) for key, nodes in bodies.items()}
    inlined: dict[Key, int] = {}

    def total(called: Counter[Key]) -> int:
        size = sum(count * inlined.get(key, 1) for key, count in called.items())
        return min(size, LARGEST_INLINED + 1)  # twice in each of a thousand functions would be 2 ** 1000

    try:
        for key in TopologicalSorter({key: calls[key].keys() & calls.keys() for key in calls}).static_order():
            inlined[key] = total(calls[key])
    except CycleError as error:
        circle = " -> ".join(quoted(name) for _, name, _ in error.args[1][:4])
        raise ModelError("functions of this model call each other in a circle", where=circle) from None
    if total(Counter(_key(node) for node in _all_nodes(proto.graph.node))) > LARGEST_INLINED:
        raise ModelError(
            f"the functions of this model unfold to more than {LARGEST_INLINED:,} nodes",
            tip="no export of a network needs that many; this looks like an attack on the memory",
        )


def _domain(name: str) -> str:
    return "" if name in DEFAULT_DOMAINS else name


def _key(node: NodeProto) -> Key:
    return _domain(node.domain), node.op_type, node.overload


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes and those of the graphs inside them."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        for graph in subgraphs(node):
            pending.extend(graph.node)
