"""Freeing the batch axis: a graph exported for one row (or a few) becomes one that takes any number of rows.

The graph is followed twice, node by node: with the batch that the file was exported with, and with RATIO times as
many rows. Axes whose lengths differ by that ratio carry the batch. Where a constant holds the old batch, as exporters
write it, the two runs disagree and a rule (``batch_rules``) puts the number of rows of the input in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import EncodeError
from onnx import TypeProto, ValueInfoProto, helper, inliner, numpy_helper

from .batch_rules import RATIO, RULES, Stuck, check_rows_apart
from .rebuild import copy_of, live_nodes, pruned
from .structure import FREE_INITIALIZERS, all_names, fresh_name, initializer_names, is_default, output_names, subgraphs
from .tensors import declared_types
from .trace import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

SYMBOL = "batch"
_OPEN = 64  # stands in for the length of any other axis that the file leaves open


def free_batch(proto: ModelProto, inputs: Mapping[str, int]) -> ModelProto | None:
    """Return the model with any number of rows along the given axis of each given input; None if no way is seen.

    Handles an old batch baked into the shape of a Reshape, Expand or Resize, into the end of a Slice, into constants
    that are concatenated with rows (a class token), and into the initial states of LSTM, GRU and RNN. None is
    returned where an input lacks the axis, where baked batches differ, or where rows are mixed or lost on the way
    (a sum over the batch axis, element 0 of it). A model-local function is inlined. What happens inside If, Loop and
    Scan is not followed, so compare the result with the original on a row or two before it is trusted.
    """
    batch = _old_batch(proto, inputs)
    if batch is None:
        return None
    try:
        return Freeing(_without_functions(proto), inputs, batch).freed()
    except Stuck:
        return None


def fixed_batch(proto: ModelProto, name: str, axis: int) -> int | None:
    """Return the length that the file fixes for an axis of an input; None if it is open or there is no such axis."""
    kind = next((value.type.tensor_type for value in proto.graph.input if value.name == name), None)
    if kind is None or not 0 <= axis < len(kind.shape.dim):
        return None
    return kind.shape.dim[axis].dim_value or None


def _old_batch(proto: ModelProto, inputs: Mapping[str, int]) -> int | None:
    """Return the one length that the inputs' batch axes were exported with (1 where all are open), or None."""
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in proto.graph.input}
    if not inputs or any(not 0 <= axis < ranks.get(name, 0) for name, axis in inputs.items()):
        return None
    fixed = {length for name, axis in inputs.items() if (length := fixed_batch(proto, name, axis)) is not None}
    return fixed.pop() if len(fixed) == 1 else (None if fixed else 1)


def _without_functions(proto: ModelProto) -> ModelProto:
    try:
        return inliner.inline_local_functions(proto) if proto.functions else proto
    except (EncodeError, RuntimeError):  # more than 2 GiB, or a call that does not fit its function
        raise Stuck from None


class Freeing:
    """One run of ``free_batch``: what the rules may ask about tensors, and where they put new nodes and constants."""

    def __init__(self, proto: ModelProto, inputs: Mapping[str, int], batch: int) -> None:
        self.proto = proto
        self.inputs = inputs
        self.batch = batch
        stored = initializer_names(proto.graph)
        given = [value for value in proto.graph.input if value.name not in stored]
        symbols = {_dim(value, inputs[value.name]).dim_param for value in given if value.name in inputs} - {""}
        self.before = Trace(proto, {value.name: _stand_in(value, inputs, symbols, batch) for value in given})
        self.after = Trace(proto, {value.name: _stand_in(value, inputs, symbols, batch * RATIO) for value in given})
        # Lengths in ``before`` are the file's own only if no axis other than the batch had to be made up.
        self.made_up = any(
            dim.dim_value <= 0 and dim.dim_param not in symbols and inputs.get(value.name) != axis
            for value in given
            for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        )
        # An axis may hold other things than rows: a length T, then rows, then heads. By tensor: that T, if not 1.
        self.outer: dict[str, int] = {}
        self._declared = declared_types(proto)
        self._taken = all_names(proto)
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._stored: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._rows: dict[int, str] = {}

    def freed(self) -> ModelProto:
        """Return the new model. Raises ``Stuck``."""
        for node in live_nodes(self.proto.graph.node, output_names(self.proto)):
            self._take(node)
        outputs = [self._output(value) for value in self.proto.graph.output]
        if not any(self.axis(value.name) is not None or self.after.shape(value.name) is None for value in outputs):
            raise Stuck
        model = pruned(
            self.proto,
            self._nodes,
            outputs,
            inputs=[self._input(value) for value in self.proto.graph.input],
            initializers=[*self.proto.graph.initializer, *self._constants],
            value_info=[],
        )
        model.ir_version = max(model.ir_version, FREE_INITIALIZERS)
        return model

    def axis(self, name: str) -> int | None:
        """Return the axis of a tensor that carries the batch; None if none does or its shape is unknown."""
        old, new = self.before.shape(name), self.after.shape(name)
        if old is None or new is None:
            return None
        carrying = [axis for axis, (a, b) in enumerate(zip(old, new, strict=False)) if a != b]
        return carrying[0] if carrying else None

    def emit(self, op_type: str, inputs: Sequence[str], stem: str) -> str:
        """Add a node of the default domain and return the name of its output."""
        output = fresh_name(f"{stem}/rows", self._taken)
        node = helper.make_node(op_type, inputs, [output], name=output)
        if op_type == "Concat":
            node.attribute.append(helper.make_attribute("axis", 0))
        self.after.run(node)
        self._nodes.append(node)
        return output

    def constant(self, value: NDArray[Any], stem: str) -> str:
        """Add a constant and return its name."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._stored:
            tensor = numpy_helper.from_array(value, fresh_name(f"{stem}/constant", self._taken))
            self._constants.append(tensor)
            self.after.store(tensor.name, tensor)
            self._stored[key] = tensor.name
        return self._stored[key]

    def rows(self, length: int) -> str:
        """Return a tensor [n]: what an axis of this length, a multiple of the old batch, becomes at run time."""
        if length not in self._rows:
            if length == self.batch:
                name, axis = next(iter(self.inputs.items()))
                shape = self.emit("Shape", [name], name)
                self._rows[length] = self.emit("Gather", [shape, self.integers([axis])], name)
            else:
                one = self.rows(self.batch)
                self._rows[length] = self.emit("Mul", [one, self.integers([length // self.batch])], one)
        return self._rows[length]

    def integers(self, values: Sequence[int]) -> str:
        """Add a list of integers as a constant and return its name."""
        return self.constant(np.array(values, np.int64), "integers")

    def shape_with_rows(self, shape: Sequence[int], axis: int, stem: str) -> str:
        """Return a shape tensor: these lengths, but for the batch axis, whose length is known at run time only."""
        parts = [self.integers(shape[:axis])] if axis else []
        parts.append(self.rows(shape[axis]))
        parts += [self.integers(shape[axis + 1 :])] if axis + 1 < len(shape) else []
        return self.emit("Concat", parts, stem) if len(parts) > 1 else parts[0]

    def with_rows(self, shape: str, count: int, axis: int, length: int) -> str:
        """Return a shape tensor of ``count`` elements with the one at ``axis`` replaced by the run-time length."""

        def part(start: int, end: int) -> list[str]:
            indices = list(range(start, end))
            return [self.emit("Gather", [shape, self.integers(indices)], shape)] if indices else []

        parts = [*part(0, axis), self.rows(length), *part(axis + 1, count)]
        return self.emit("Concat", parts, shape) if len(parts) > 1 else parts[0]

    def _take(self, node: NodeProto) -> None:
        """Follow one node, rewritten where it holds the old batch."""
        agreed = self.before.run(node)
        self._guess_unknown(node, self.before)
        check_rows_apart(self, node)
        rule = RULES.get(node.op_type) if is_default(node, node.op_type) else None
        kept = _without_inner_shapes(rule(self, node) if rule is not None else node)
        if not self.after.run(kept) and agreed:
            raise Stuck
        self._guess_unknown(node, self.after)
        self._nodes.append(kept)
        self._check(kept)

    def _guess_unknown(self, node: NodeProto, trace: Trace) -> None:
        """For operators without inference, take the file's word, and that axis 0 carries the batch through."""
        read = [name for name in node.input if name]
        carried = any(self.axis(name) is not None for name in read)
        if self.made_up or not (carried or all(trace.shape(name) is not None for name in read)):
            return
        for name in node.output:
            kind = self._declared.get(name)
            if not name or trace.shape(name) is not None or kind is None:
                continue
            dims = [dim.dim_value for dim in kind.tensor_type.shape.dim]
            if not dims or min(dims) <= 0:
                continue
            if trace is self.after and carried and dims[0] == self.batch:
                dims[0] *= RATIO
            trace.types[name] = helper.make_tensor_type_proto(kind.tensor_type.elem_type, dims)

    def _check(self, node: NodeProto) -> None:
        """Raise ``Stuck`` where the batch was lost, doubled or changed by a node; pass on how its axis is made up."""
        carriers = [name for name in node.input if name and self.axis(name) is not None]
        known = True
        for name in filter(None, node.output):
            old, new = self.before.shape(name), self.after.shape(name)
            if old is None or new is None:
                known = False
                continue
            if len(old) != len(new) or any(b not in {a, a * RATIO} for a, b in zip(old, new, strict=True)):
                raise Stuck
            if sum(a != b for a, b in zip(old, new, strict=True)) > 1:
                raise Stuck
            if carriers and self.axis(name) is not None and name not in self.outer:
                outer = [self.outer[carrier] for carrier in carriers if carrier in self.outer]
                self.outer.update({name: outer[0]} if outer else {})
        lost = carriers and known and not any(self.axis(name) is not None for name in node.output if name)
        if lost and not is_default(node, "Shape", "Size"):
            raise Stuck

    def _input(self, value: ValueInfoProto) -> ValueInfoProto:
        if value.name not in self.inputs:
            return value
        free = copy_of(value)
        _dim(free, self.inputs[value.name]).dim_param = _dim(value, self.inputs[value.name]).dim_param or SYMBOL
        return free

    def _output(self, value: ValueInfoProto) -> ValueInfoProto:
        free = copy_of(value)
        kind = free.type.tensor_type
        if not kind.HasField("shape"):
            return free
        if self.before.shape(value.name) is None or self.after.shape(value.name) is None:
            kind.ClearField("shape")
            return free
        axis = self.axis(value.name)
        if axis is not None and axis < len(kind.shape.dim):
            dim = kind.shape.dim[axis]
            whole = dim.dim_value in {0, self.batch} and self.outer.get(value.name, 1) == 1
            symbol = dim.dim_param
            dim.Clear()
            if whole:
                dim.dim_param = symbol or SYMBOL
        return free


def _dim(value: ValueInfoProto, axis: int) -> Any:
    return value.type.tensor_type.shape.dim[axis]


def _stand_in(value: ValueInfoProto, inputs: Mapping[str, int], symbols: set[str], batch: int) -> TypeProto:
    """Return an input's type with a length for every axis: the batch, the file's own, or a made-up one."""
    kind = copy_of(value).type
    for axis, dim in enumerate(kind.tensor_type.shape.dim):
        if inputs.get(value.name) == axis or dim.dim_param in symbols:
            dim.dim_value = batch
        elif dim.dim_value <= 0:
            dim.dim_value = _OPEN
    return kind


def _without_inner_shapes(node: NodeProto) -> NodeProto:
    """Return the node with no fixed shapes stated in the graphs inside it: they may hold the old batch."""
    if not any(True for _ in subgraphs(node)):
        return node
    bare = copy_of(node)
    pending = list(subgraphs(bare))
    while pending:
        graph = pending.pop()
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
        for inner in graph.node:
            pending.extend(subgraphs(inner))
    return bare
