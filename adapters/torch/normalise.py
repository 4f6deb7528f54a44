"""From an ONNX graph to a plain list of nodes: functions and constant branches inlined, what is constant worked out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from ...engine import graph as graphs
from ...engine.errors import CapabilityError, ModelError, printable
from ...engine.graph.structure import in_order
from .attributes import Arrays, read_attribute
from .bodies import Body, Context, captured_names, with_values
from .fold import folded
from .modules import supports
from .node import Node
from .schemas import attribute_defaults, function_body, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_TYPES = ("to", "dtype", "output_dtype", "softmax_precision")  # attributes that hold an element type
_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
MAX_NESTING = 40  # functions that call functions; preflight refuses recursion, a bare convert() may meet it


@dataclass(frozen=True)
class Program:
    """A graph as a list of nodes in order, those that no output needs left out.

    ``constants`` holds, by name, what is known without running the graph; nodes and outputs refer to it. ``names`` maps
    the names of the file's main graph to those of the program; they differ where an inlined branch hands on a tensor.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    names: Mapping[str, str]


@dataclass
class _Scope:
    """Names and attributes in force while one list of nodes is read: the main graph, a function body or a branch."""

    names: dict[str, str]
    opsets: Mapping[str, int]
    attributes: Mapping[str, AttributeProto]
    prefix: str
    parent: _Scope | None
    depth: int
    is_function: bool = False

    def resolve(self, name: str) -> str:
        """Return the program's name for a name of this scope."""
        if not name or name in self.names:
            return self.names.get(name, "")
        return self.parent.resolve(name) if self.parent is not None and not self.is_function else name


def flatten(proto: ModelProto, folder: Path | None = None, *, widen: bool = False, prune: bool = True) -> Program:
    """Return the model's graph as a program.

    ``folder`` is where external data lies. With ``widen``, 16-bit floats become 32-bit ones: constants, and the types
    that Cast and the like ask for. With ``prune``, nodes that no output needs are left out. Raises ``ModelError`` for a
    graph that is not one.
    """
    model = graphs.with_body_types(graphs.without_fills(graphs.drop_zipmap(proto)[0]))
    functions = {(_plain(f.domain), f.name, f.overload): f for f in model.functions}
    opsets = {_plain(o.domain): int(o.version) for o in model.opset_import}
    walk = _Walk(Context(functions, opsets, Arrays(folder, widen=widen)))
    inputs = graphs.input_names(model)
    walk.taken.update(inputs)
    scope = _Scope({}, opsets, {}, "", None, 0)
    walk.graph(model.graph, scope)
    return walk.program(inputs, [value.name for value in model.graph.output], scope, prune=prune)


def body_program(body: Body, known: Mapping[str, np.ndarray]) -> Program:
    """Return a body as a program: its own inputs, then the captured tensors that are not in ``known``."""
    walk = _Walk(body.context)
    walk.constants.update(known)
    scope = _Scope({}, body.context.opsets, {}, "", None, 0)
    own = tuple(value.name for value in body.graph.input)
    walk.taken.update((*body.captured, *own))
    walk.graph(body.graph, scope)
    inputs = (*own, *(name for name in body.captured if name not in known))
    return walk.program(inputs, [value.name for value in body.graph.output], scope)


@dataclass
class _Walk:
    """Reads lists of nodes in order and collects nodes and constants under names that are unique in the program."""

    context: Context
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def program(self, inputs: Sequence[str], results: Sequence[str], scope: _Scope, *, prune: bool = True) -> Program:
        """Return what was collected; with ``prune``, without the nodes that no result needs."""
        outputs = [scope.resolve(name) for name in results]
        alive = _alive(self.nodes, outputs) if prune else self.nodes
        known = {*inputs, *self.constants, *(o for node in self.nodes for o in node.outputs)}
        for name in (*(i for node in alive for i in node.inputs), *outputs):
            if name and name not in known:
                raise ModelError(f"nothing in the graph makes the tensor '{printable(name)}'")
        used = {*outputs, *(i for node in alive for i in node.inputs)}
        constants = {name: array for name, array in self.constants.items() if name in used}
        names = dict(zip(inputs, inputs, strict=True)) | scope.names
        return Program(tuple(inputs), tuple(outputs), tuple(alive), constants, names)

    def graph(self, proto: GraphProto, scope: _Scope) -> None:
        """Read the initializers and nodes of a graph."""
        for tensor in proto.initializer:
            self.constants[self._define(tensor.name, scope)] = self.context.arrays.dense(tensor)
        for sparse in proto.sparse_initializer:
            self.constants[self._define(sparse.values.name, scope)] = self.context.arrays.sparse(sparse)
        for node in in_order(proto.node):
            self.node(node, scope)

    def node(self, proto: NodeProto, scope: _Scope) -> None:
        """Read one node: inline it, work it out, or add it to the program."""
        function = self.context.functions.get((_plain(proto.domain), proto.op_type, proto.overload))
        if function is not None:
            self._inline(proto, function, scope, dict(self._given(proto, scope)), _opsets_of(function))
            return
        node = self._described(proto, scope)
        if node.op_type == "Constant" and not node.domain:
            self._bind(proto, scope, [_constant(node)])
            return
        if node.op_type == "If" and not node.domain and 0 in node.constants:
            chosen = "then_branch" if bool(node.constants[0].reshape(-1)[0]) else "else_branch"
            self._branch(proto, node.attributes[chosen].graph, scope)
            return
        if not supports(node):
            body = function_body(node)
            if body is not None:
                bound = {n: a for n, a in attribute_defaults(node).items() if n not in self._given(proto, scope)}
                self._inline(proto, body, scope, bound | self._given(proto, scope), _opsets_of(body) or scope.opsets)
                return
        values = folded(node)
        if values is not None:
            self._bind(proto, scope, values)
            return
        outputs = tuple(self._define(name, scope) if name else "" for name in node.outputs)
        self.nodes.append(dataclasses.replace(node, outputs=outputs))

    def _described(self, proto: NodeProto, scope: _Scope) -> Node:
        """Return the node with names of the program for its inputs and its own names for its outputs."""
        domain = _plain(proto.domain)
        version = version_of(proto.op_type, domain, scope.opsets)
        inputs = [scope.resolve(name) for name in proto.input]
        outputs = tuple(proto.output)
        while outputs and not outputs[-1]:
            outputs = outputs[:-1]
        node = Node(proto.op_type, domain, version, proto.name, (), outputs, {}, {}, scope.opsets.get("", 1))
        attributes: dict[str, Any] = {}
        for name, value in (attribute_defaults(node) | self._given(proto, scope)).items():
            if value.type == AttributeProto.GRAPH:
                attributes[name] = self._body(value.g, scope, inputs)
                continue
            attributes[name] = read_attribute(value, self.context.arrays)
            if self.context.arrays.widen and name in _TYPES and attributes[name] in _HALF:
                attributes[name] = TensorProto.FLOAT
        constants = {k: self.constants[name] for k, name in enumerate(inputs) if name in self.constants}
        return dataclasses.replace(node, inputs=tuple(inputs), attributes=attributes, constants=constants)

    def _body(self, proto: GraphProto, scope: _Scope, inputs: list[str]) -> Body:
        """Return a graph inside a node; the outer tensors that it reads are added to the node's inputs."""
        captured = captured_names(proto)
        first = len(inputs)
        inputs.extend(scope.resolve(name) for name in captured)
        context = dataclasses.replace(self.context, opsets=scope.opsets)
        return Body(with_values(proto, scope.attributes), captured, first, context)

    def _given(self, proto: NodeProto, scope: _Scope) -> dict[str, AttributeProto]:
        """Return the attributes of a node, references to those of the function around it replaced by their values."""
        given = {}
        for attribute in proto.attribute:
            if not attribute.ref_attr_name:
                given[attribute.name] = attribute
            elif attribute.ref_attr_name in scope.attributes:
                value = AttributeProto()
                value.CopyFrom(scope.attributes[attribute.ref_attr_name])
                value.name = attribute.name
                given[attribute.name] = value
        return given

    def _inline(
        self,
        proto: NodeProto,
        function: FunctionProto,
        scope: _Scope,
        given: dict[str, AttributeProto],
        opsets: Mapping[str, int],
    ) -> None:
        """Read a function's body in the place of the node that calls it; attributes left out take their defaults."""
        if scope.depth >= MAX_NESTING:
            raise ModelError(f"functions of this model call each other more than {MAX_NESTING} deep")
        attributes = {a.name: a for a in function.attribute_proto} | given
        actual = [scope.resolve(name) for name in proto.input]
        names = dict(zip(function.input, actual + [""] * (len(function.input) - len(actual)), strict=False))
        stem = proto.name or next((name for name in proto.output if name), function.name)
        inner = _Scope(
            names, {**scope.opsets, **opsets}, attributes, f"{stem}/", scope, scope.depth + 1, is_function=True
        )
        self._read(function.node, inner, list(function.output), proto, scope)

    def _branch(self, proto: NodeProto, branch: GraphProto, scope: _Scope) -> None:
        """Read the branch of an If whose condition is known in the place of the If."""
        inner = _Scope({}, scope.opsets, scope.attributes, f"{proto.name or proto.output[0]}/", scope, scope.depth + 1)
        for tensor in branch.initializer:
            self.constants[self._define(tensor.name, inner)] = self.context.arrays.dense(tensor)
        self._read(branch.node, inner, [value.name for value in branch.output], proto, scope)

    def _read(
        self, nodes: Iterable[NodeProto], inner: _Scope, results: list[str], proto: NodeProto, scope: _Scope
    ) -> None:
        """Read inner nodes; what they call their results gets the names of the outer node's outputs."""
        made = {name for node in nodes for name in node.output}
        renamed: dict[str, str] = {}
        for result, output in zip(results, proto.output, strict=False):
            if output and result in made and result not in renamed:
                renamed[result] = self._define(output, scope)
        inner.names.update(renamed)
        for node in nodes:
            self.node(node, inner)
        for result, output in zip(results, proto.output, strict=False):
            if output and scope.names.get(output, output) != (source := inner.resolve(result)):
                if source in self.constants:
                    self.constants[self._define(output, scope)] = self.constants[source]
                else:
                    scope.names[output] = source

    def _bind(self, proto: NodeProto, scope: _Scope, values: Sequence[np.ndarray]) -> None:
        for name, value in zip(proto.output, values, strict=False):
            if name:
                self.constants[self._define(name, scope)] = value

    def _define(self, name: str, scope: _Scope) -> str:
        """Return the program's name for a tensor that is made in this scope; a name given before stays."""
        if name in scope.names:
            return scope.names[name]
        unique, count = name if name not in self.taken else f"{scope.prefix}{name}", 0
        while unique in self.taken:
            count += 1
            unique = f"{scope.prefix}{name}_{count}"
        self.taken.add(unique)
        scope.names[name] = unique
        return unique


def _alive(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    wanted = set(outputs)
    alive = []
    for node in reversed(nodes):
        if wanted.intersection(o for o in node.outputs if o):
            wanted.update(node.inputs)
            alive.append(node)
    return alive[::-1]


def _constant(node: Node) -> np.ndarray:
    """Return what a Constant node holds."""
    kinds: dict[str, Any] = {"value_int": np.int64, "value_ints": np.int64}
    kinds |= {"value_float": np.float32, "value_floats": np.float32, "value_string": object, "value_strings": object}
    for name, value in node.attributes.items():
        if name in kinds:
            return np.array(value, kinds[name])
        if isinstance(value, np.ndarray):
            return value
    raise CapabilityError("a Constant node without a value that is known here", where=node.label)


def _opsets_of(function: FunctionProto) -> dict[str, int]:
    return {_plain(o.domain): int(o.version) for o in function.opset_import}


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
