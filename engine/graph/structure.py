"""What a model is made of: its lists of nodes, the graphs inside nodes, and who uses which tensor; read only."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from ..files import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto

DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
ML_DOMAIN = "ai.onnx.ml"
LABEL_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")  # of its classifiers
_CONSTANT_NUMBERS = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
}
FREE_INITIALIZERS = 4  # the first IR version in which an initializer need not be an input as well
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_LOOPS = frozenset({"Loop", "Scan"})
SMALL = 1024  # elements; what is longer is no shape, slice or scale and is never read as one


@dataclass(frozen=True)
class Scope:
    """One list of nodes: the main graph, the body of an If, Loop or Scan, or a model-local function.

    ``depth`` counts the graphs around it: 0 for the main graph and for functions. ``graph`` is None in a function.
    """

    nodes: Sequence[NodeProto]
    graph: GraphProto | None
    function: FunctionProto | None
    depth: int


def scopes(proto: ModelProto) -> Iterator[Scope]:
    """Yield the main graph, the functions, the training graphs and all graphs inside their nodes, outer ones first.

    A scope is descended into only when the caller asks for the next one, so a caller can stop at a depth.
    """
    pending = deque([Scope(proto.graph.node, proto.graph, None, 0)])
    pending.extend(Scope(function.node, None, function, 0) for function in proto.functions)
    for training in proto.training_info:
        pending.extend(Scope(graph.node, graph, None, 0) for graph in (training.initialization, training.algorithm))
    while pending:
        scope = pending.popleft()
        yield scope
        for node in scope.nodes:
            pending.extend(Scope(graph.node, graph, None, scope.depth + 1) for graph in subgraphs(node))


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that the attributes of a node hold."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def scope_tensors(scope: Scope) -> Iterator[tuple[TensorProto, str]]:
    """Yield every tensor stored in a scope, but not in the graphs inside its nodes, and words that say where it is."""
    if scope.graph is not None:
        for tensor in scope.graph.initializer:
            yield tensor, f"initializer {quoted(tensor.name)}"
    for attribute, place in _attributes(scope):
        if attribute.HasField("t"):
            yield attribute.t, place
        for tensor in attribute.tensors:
            yield tensor, place
    for sparse, place in scope_sparse_tensors(scope):
        yield sparse.values, place
        yield sparse.indices, place


def scope_sparse_tensors(scope: Scope) -> Iterator[tuple[SparseTensorProto, str]]:
    """Yield every sparse tensor stored in a scope, but not in the graphs inside its nodes, and where it is."""
    if scope.graph is not None:
        for sparse in scope.graph.sparse_initializer:
            yield sparse, f"sparse initializer {quoted(sparse.values.name)}"
    for attribute, place in _attributes(scope):
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor, place
        for sparse in attribute.sparse_tensors:
            yield sparse, place


def _attributes(scope: Scope) -> Iterator[tuple[AttributeProto, str]]:
    for attribute in scope.function.attribute_proto if scope.function is not None else ():
        yield attribute, f"default of a function's attribute {quoted(attribute.name)}"
    for node in scope.nodes:
        for attribute in node.attribute:
            yield attribute, f"attribute {quoted(attribute.name)} of {node_label(node)}"


def node_label(node: NodeProto) -> str:
    """Words that name a node in a message: its operator, and its name or, for want of one, its first output."""
    name = node.name or next(iter(node.output), "")
    return f"{quoted(node.op_type)} node {quoted(name)}"


def random_node(proto: ModelProto) -> str | None:
    """Name the first node that draws random numbers; None where none does."""
    for scope in scopes(proto):
        for node in scope.nodes:
            if node.domain in DEFAULT_DOMAINS and (node.op_type in _RANDOM or _drops_out(node, scope)):
                return node_label(node)
    return None


def _drops_out(node: NodeProto, scope: Scope) -> bool:
    """Say whether this is a Dropout that was exported in training mode."""
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    mode = constants(scope.nodes, scope.graph).get(node.input[2])
    value = small_value(mode) if mode is not None else None
    return value is not None and bool(value.any())


def has_loops(proto: ModelProto) -> bool:
    """Say whether the time of a run may depend on values, not on shapes alone."""
    return any(node.op_type in _LOOPS for scope in scopes(proto) for node in scope.nodes)


def quoted(name: str | bytes) -> str:
    """Return the name in quotes, cut where it is very long, with control characters escaped."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name  # protobuf hands out bytes that are not UTF-8
    return f"'{excerpt(text, 100)}'"


def used_names(node: NodeProto) -> set[str]:
    """Return the tensors that a node reads, those that the graphs inside it capture included."""
    names = set(node.input)
    pending = list(subgraphs(node))
    while pending:
        graph = pending.pop()
        names.update(value.name for value in graph.output)
        for inner in graph.node:
            names.update(inner.input)
            pending.extend(subgraphs(inner))
    names.discard("")
    return names


def input_names(proto: ModelProto) -> tuple[str, ...]:
    """Return the inputs that a caller must feed: those that have no initializer."""
    stored = initializer_names(proto.graph)
    return tuple(value.name for value in proto.graph.input if value.name not in stored)


def output_names(proto: ModelProto) -> tuple[str, ...]:
    """Return the names of the outputs, in the file's order."""
    return tuple(value.name for value in proto.graph.output)


def initializer_names(graph: GraphProto) -> set[str]:
    """Return the names of all dense and sparse initializers."""
    return {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}


def all_names(proto: ModelProto) -> set[str]:
    """Return every tensor and node name of the graph and of the graphs inside it; new names must avoid them."""
    names: set[str] = set()
    for scope in scopes(proto):
        if scope.graph is not None:
            names |= initializer_names(scope.graph)
            names.update(value.name for value in (*scope.graph.input, *scope.graph.output))
        for node in scope.nodes:
            names.update((node.name, *node.input, *node.output))
    return names


def fresh_name(stem: str, taken: set[str]) -> str:
    """Return ``stem``, or ``stem`` with a number, that is not taken yet, and take it."""
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name


def producers(nodes: Iterable[NodeProto]) -> dict[str, NodeProto]:
    """Return the node that makes each tensor."""
    return {name: node for node in nodes for name in node.output if name}


def in_order(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the nodes in an order in which each is made of what stands before it.

    They stay as they are where they have one, as the standard asks for. ONNX Runtime does not: its tool for 16-bit
    floats puts the casts of inputs at the end. Nodes that are made of each other stay in their place.
    """
    made_by = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    if all(made_by.get(name, -1) < k for k, node in enumerate(nodes) for name in node.input):
        return list(nodes)
    sorter = TopologicalSorter(
        {k: {made_by[n] for n in used_names(node) if n in made_by} - {k} for k, node in enumerate(nodes)}
    )
    try:
        return [nodes[k] for k in sorter.static_order()]
    except CycleError:
        return list(nodes)


def opset_of(proto: ModelProto, domain: str = "") -> int:
    """Return the version of a domain's operators that the model asks for; 1 for the default domain if it is silent."""
    domains = DEFAULT_DOMAINS if domain in DEFAULT_DOMAINS else {domain}
    return max((opset.version for opset in proto.opset_import if opset.domain in domains), default=1)


def is_default(node: NodeProto, *op_types: str) -> bool:
    """Whether the node is one of these operators of the default domain."""
    return node.domain in DEFAULT_DOMAINS and node.op_type in op_types


def attribute_of(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an int, float, string, tensor or list attribute, or ``default``."""
    for attribute in node.attribute:
        if attribute.name == name:
            for field in ("t", "g", "s", "i", "f"):
                if attribute.HasField(field):
                    return getattr(attribute, field)
            for field in ("ints", "floats", "strings"):
                if values := getattr(attribute, field):
                    return list(values)
    return default


def constant_of(node: NodeProto) -> TensorProto | None:
    """Return what a Constant node yields, or None if it is sparse, text or not a Constant."""
    if not is_default(node, "Constant"):
        return None
    for name, dtype in _CONSTANT_NUMBERS.items():
        value = attribute_of(node, name)
        if value is not None:
            return numpy_helper.from_array(np.array(value, dtype))
    stored = attribute_of(node, "value")
    return stored if isinstance(stored, TensorProto) else None


def constants(nodes: Iterable[NodeProto], graph: GraphProto | None) -> dict[str, TensorProto]:
    """Return, by name, the initializers of a graph and what its Constant nodes yield."""
    found = {tensor.name: tensor for tensor in graph.initializer} if graph is not None else {}
    for node in nodes:
        if node.output and (tensor := constant_of(node)) is not None:
            found[node.output[0]] = tensor
    return found


def is_one(name: str, stored: Mapping[str, TensorProto]) -> bool:
    """Say whether a tensor is stored and holds nothing but ones."""
    value = small_value(stored[name]) if name in stored else None
    return value is not None and value.size > 0 and bool(np.all(value == 1))


def small_value(tensor: TensorProto) -> NDArray[Any] | None:
    """Return the numbers of a stored tensor of at most SMALL elements; None for others, text and external data."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return None
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > SMALL:
        return None
    try:
        return numpy_helper.to_array(tensor)
    except (KeyError, TypeError, ValueError):  # fewer numbers than the dims ask for, or an unknown element type
        return None
