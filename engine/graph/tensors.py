"""The intermediate tensors of a graph, with their types, and graphs that end in any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import EncodeError
from onnx import TypeProto, ValueInfoProto, checker, helper, shape_inference

from ..errors import ModelError, SettingError, nearest
from .rebuild import pruned, skeleton
from .structure import initializer_names, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor that a node makes.

    ``node`` is the node's name, which may be empty. ``dtype`` is NumPy's name (``object`` for text), or ``""`` if it is
    unknown or not a tensor. ``shape`` is None if the rank is unknown; an axis is a length, a symbol, or None.
    """

    name: str
    op_type: str
    node: str
    dtype: str
    shape: Shape | None


def tensors(proto: ModelProto) -> list[TensorInfo]:
    """Return every tensor that a node of the main graph makes, in graph order, the outputs included.

    Types come from ONNX shape inference; where that fails, only what the file declares is known. External data is
    not read.
    """
    types = inferred_types(proto)
    found = []
    for node in proto.graph.node:
        for name in node.output:
            if name:
                dtype, shape = _dtype_and_shape(types.get(name))
                found.append(TensorInfo(name, node.op_type, node.name, dtype, shape))
    return found


def declared_types(proto: ModelProto) -> dict[str, TypeProto]:
    """Return, by name, the types that the file states for inputs, outputs, initializers and inner tensors."""
    graph = proto.graph
    types = {t.name: helper.make_tensor_type_proto(t.data_type, list(t.dims)) for t in graph.initializer}
    types |= {
        value.name: value.type
        for values in (graph.value_info, graph.input, graph.output)
        for value in values
        if value.type.WhichOneof("value") is not None
    }
    return types


def inferred_types(proto: ModelProto) -> dict[str, TypeProto]:
    """Return, by name, the declared types and those that ONNX shape inference adds, where it succeeds."""
    try:
        inferred = shape_inference.infer_shapes(skeleton(proto), data_prop=True)
    except (EncodeError, checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError):
        return declared_types(proto)  # it refuses a node that the runtime may well take: then less is known
    return declared_types(proto) | declared_types(inferred)


def tap(proto: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """Return the graph whose outputs are exactly these tensors of the main graph, in this order.

    Inputs and initializers may be among them. What the outputs do not depend on is left out, inputs too: ask
    ``input_names`` of the result. An output of unknown type is left untyped, which ONNX Runtime accepts and fills in.
    Raises ``SettingError`` for a name that the graph does not have, ``ModelError`` for a tensor of a type that cannot
    be read (``check_readable``).
    """
    graph = proto.graph
    known = {value.name for value in graph.input} | initializer_names(graph)
    known.update(name for node in graph.node for name in node.output if name)
    for name in tensors:
        if name not in known:
            raise SettingError(f"the model has no tensor {quoted(name)}", tip=nearest(name, known))
    types = declared_types(proto)
    if any(name not in types for name in tensors):
        types = inferred_types(proto)
    for name in tensors:
        check_readable(name, types.get(name))
    return pruned(
        proto,
        graph.node,
        [ValueInfoProto(name=name, type=types.get(name)) for name in dict.fromkeys(tensors)],
        inputs=graph.input,
        initializers=graph.initializer,
        value_info=[*graph.value_info, *graph.output],
    )


def check_readable(name: str, kind: TypeProto | None) -> None:
    """Raise ``ModelError`` for an element type that NumPy lacks: ONNX Runtime fails on it, or hands out its bits."""
    dtype, _ = _dtype_and_shape(kind)
    if kind is not None and dtype and helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).isbuiltin != 1:
        raise ModelError(
            f"tensor {quoted(name)} holds {dtype}, which cannot be exchanged with ONNX Runtime from Python",
            tip="put a Cast to float there, or export the model with float16 or float32 inputs and outputs",
        )


def _dtype_and_shape(kind: TypeProto | None) -> tuple[str, Shape | None]:
    if kind is None or not kind.HasField("tensor_type"):
        return "", None
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).name
    except KeyError:  # undefined, or newer than the installed onnx
        dtype = ""
    if not kind.tensor_type.HasField("shape"):
        return dtype, None
    return dtype, tuple(_axis(dim.dim_value, dim.dim_param) for dim in kind.tensor_type.shape.dim)


def _axis(length: int, symbol: str) -> int | str | None:
    return length if length > 0 else symbol or None
