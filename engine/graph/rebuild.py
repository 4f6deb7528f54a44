"""Models made from parts of another: what no output needs is left out, and what stays is copied once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.external_data_helper import load_external_data_for_tensor

from .structure import SMALL, producers, used_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from onnx import GraphProto

Proto = TypeVar("Proto", ModelProto, NodeProto, TensorProto, ValueInfoProto)


def rebuilt(
    proto: ModelProto,
    *,
    nodes: Iterable[NodeProto] | None = None,
    initializers: Iterable[TensorProto] | None = None,
    inputs: Iterable[ValueInfoProto] | None = None,
    outputs: Iterable[ValueInfoProto] | None = None,
    value_info: Iterable[ValueInfoProto] | None = None,
) -> ModelProto:
    """Return a copy of the model in which the given lists stand in the place of the graph's own."""
    lists = {"node": nodes, "initializer": initializers, "input": inputs, "output": outputs, "value_info": value_info}
    model = ModelProto()
    _copy_fields(proto, model, leave_out={"graph"})
    _copy_fields(proto.graph, model.graph, leave_out={field for field, values in lists.items() if values is not None})
    for field, values in lists.items():
        if values is not None:
            getattr(model.graph, field).extend(values)
    return model


def copy_of(message: Proto) -> Proto:
    """Return a copy that may be edited."""
    fresh = type(message)()
    fresh.CopyFrom(message)
    return fresh


def read_in(model: ModelProto, folder: Path | None) -> ModelProto:
    """Return the model itself, with the weights that lie in files of a folder read into it: it stands by itself."""
    for weight in model.graph.initializer:
        if weight.data_location == TensorProto.EXTERNAL and folder is not None:
            load_external_data_for_tensor(weight, str(folder))
            weight.data_location = TensorProto.DEFAULT
            del weight.external_data[:]
    return model


def live_nodes(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    """Return the nodes that the wanted tensors depend on, in their old order."""
    made_by = producers(nodes)
    pending = list(wanted)
    alive: set[int] = set()
    while pending:
        node = made_by.get(pending.pop())
        if node is not None and id(node) not in alive:
            alive.add(id(node))
            pending.extend(used_names(node))
    return [node for node in nodes if id(node) in alive]


def pruned(
    proto: ModelProto,
    nodes: Sequence[NodeProto],
    outputs: Sequence[ValueInfoProto],
    *,
    inputs: Iterable[ValueInfoProto],
    initializers: Iterable[TensorProto],
    value_info: Iterable[ValueInfoProto],
) -> ModelProto:
    """Return a model of these parts without the nodes, initializers, inputs and types that no output depends on.

    Inputs that nothing reads are left out too, so a caller has to ask for the input names again.
    """
    wanted = [value.name for value in outputs]
    alive = live_nodes(nodes, wanted)
    used = set(wanted).union(*(used_names(node) for node in alive))
    made = producers(alive)
    model = rebuilt(
        proto,
        nodes=alive,
        initializers=(tensor for tensor in initializers if tensor.name in used),
        inputs=(value for value in inputs if value.name in used),
        outputs=outputs,
        value_info=(value for value in value_info if value.name in made and value.name not in wanted),
    )
    sparse = [tensor for tensor in proto.graph.sparse_initializer if tensor.values.name in used]
    del model.graph.sparse_initializer[:]
    model.graph.sparse_initializer.extend(sparse)
    return model


def skeleton(proto: ModelProto) -> ModelProto:
    """Return the model without the numbers of its large tensors: enough for shape inference, and cheap to serialise.

    A tensor left out is marked as external data, which shape inference never reads.
    """
    model = rebuilt(
        proto, nodes=map(_without_numbers, proto.graph.node), initializers=map(_hollow, proto.graph.initializer)
    )
    del model.training_info[:]
    return model


def _hollow(tensor: TensorProto) -> TensorProto:
    if tensor.data_location == TensorProto.EXTERNAL or math.prod(tensor.dims) <= SMALL:
        return tensor
    return TensorProto(
        name=tensor.name, dims=tensor.dims, data_type=tensor.data_type, data_location=TensorProto.EXTERNAL
    )


def _without_numbers(node: NodeProto) -> NodeProto:
    large = any(a.HasField("t") and math.prod(a.t.dims) > SMALL for a in node.attribute)
    if not large:
        return node
    hollow = NodeProto(input=node.input, output=node.output, name=node.name, op_type=node.op_type, domain=node.domain)
    for attribute in node.attribute:
        added = hollow.attribute.add()
        if attribute.HasField("t"):
            added.name, added.type = attribute.name, attribute.type
            added.t.CopyFrom(_hollow(attribute.t))
        else:
            added.CopyFrom(attribute)
    return hollow


def _copy_fields(source: ModelProto | GraphProto, target: ModelProto | GraphProto, leave_out: set[str]) -> None:
    for field, value in source.ListFields():
        if field.name in leave_out:
            continue
        if isinstance(value, (bool, int, float, str, bytes)):
            setattr(target, field.name, value)
        elif hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        else:
            getattr(target, field.name).CopyFrom(value)
