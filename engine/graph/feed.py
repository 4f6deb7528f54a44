"""Graphs that begin in the middle: an inner tensor becomes an input, and what only led to it is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, ValueInfoProto, helper

from ..errors import SettingError, nearest
from .rebuild import copy_of, pruned, read_in
from .structure import all_names, fresh_name, initializer_names, quoted
from .tensors import inferred_types

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx import ModelProto, NodeProto


def feed_at(
    proto: ModelProto,
    tensor: str,
    outputs: Sequence[str],
    shape: Sequence[int | str | None],
    folder: Path | None = None,
) -> ModelProto:
    """Return the graph that makes ``outputs`` from a tensor that is given to it, as its last input.

    Other inputs stay where the outputs depend on them by other ways. ``shape`` is that of the new input: a length, a
    symbol or None per axis. Tensors of unknown type are taken for float32. Weights that lie in files of ``folder`` are
    read, so that the result stands by itself. The tensor may be an input of the graph already. Raises ``SettingError``
    for names that the graph does not have.
    """
    graph = proto.graph
    made = {name for node in graph.node for name in node.output if name}
    known = made | {value.name for value in graph.input}
    for name in (tensor, *outputs):
        if name not in known:
            raise SettingError(f"the model has no tensor {quoted(name)}", tip=nearest(name, known))
    types = inferred_types(proto)
    kind = types[tensor].tensor_type.elem_type if tensor in types else TensorProto.FLOAT
    unknown = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    given = helper.make_tensor_value_info(tensor, kind or TensorProto.FLOAT, list(shape))
    stored, unused = initializer_names(graph), fresh_name(f"{tensor}_unused", all_names(proto))
    model = pruned(
        proto,
        [_renamed(node, tensor, unused) for node in graph.node],
        [ValueInfoProto(name=name, type=types.get(name, unknown)) for name in dict.fromkeys(outputs)],
        inputs=[*(v for v in graph.input if v.name != tensor and v.name not in stored), given],
        initializers=graph.initializer,
        value_info=[v for v in (*graph.value_info, *graph.output) if v.name != tensor],
    )
    return read_in(model, folder)


def _renamed(node: NodeProto, tensor: str, unused: str) -> NodeProto:
    """Return the node with another name for this output: some operators cannot leave one out."""
    if tensor not in node.output:
        return node
    fresh = copy_of(node)
    fresh.output[list(node.output).index(tensor)] = unused
    return fresh
