"""Graphs that compute in bfloat16, rewritten to float32: on CPUs ONNX Runtime has no such Relu, MatMul or Conv."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, TensorProto, TypeProto, numpy_helper

from ..errors import ModelError
from .rebuild import rebuilt
from .structure import scope_tensors, scopes, used_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx import ModelProto, NodeProto

    from .structure import Scope

NARROW, WIDE = TensorProto.BFLOAT16, TensorProto.FLOAT
MOST = 2**31 - 1  # bytes of a message
_TYPES = frozenset({"to", "dtype", "output_dtype", "precision", "softmax_precision", "stash_type"})


def widened(proto: ModelProto, folder: Path | None) -> ModelProto:
    """Return a model in which all bfloat16 is float32, or the model itself where none is computed with.

    Every bfloat16 number is a float32 number, so weights and inputs keep their values; what is computed from them is
    no longer rounded to 8 binary digits. A Cast to bfloat16 that only a Cast reads is such a rounding, which ONNX
    Runtime can do, and stays. Weights are read from ``folder`` where they lie in other files. Raises ``ModelError``
    where they are more than a model in memory can hold.
    """
    if not _computes(proto):
        return proto
    model = rebuilt(proto)
    size = 0
    for scope in scopes(model):
        for kind in _types(scope):
            if kind.elem_type == NARROW:
                kind.elem_type = WIDE
        for tensor, _ in scope_tensors(scope):
            if tensor.data_type == NARROW:
                array = numpy_helper.to_array(tensor, base_dir=str(folder or "")).astype(np.float32)
                size += array.nbytes
                _check_size(size)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for attribute in _type_attributes(scope):
            attribute.i = WIDE
    return model


def _check_size(size: int) -> None:
    if size > MOST:
        raise ModelError(
            "this model computes in bfloat16, which is done in float32 here, and its weights are then more than 2 GiB",
            tip="export the model in float16 or float32, with external data",
        )


def _computes(proto: ModelProto) -> bool:
    """Whether bfloat16 is anything but the rounding between two Casts."""
    readers: dict[str, list[NodeProto]] = {}
    rounded: list[str] = []
    for scope in scopes(proto):
        if any(tensor.data_type == NARROW for tensor, _ in scope_tensors(scope)):
            return True
        if scope.graph is not None and any(_narrow(v.type) for v in (*scope.graph.input, *scope.graph.output)):
            return True
        for node in scope.nodes:
            for name in used_names(node):
                readers.setdefault(name, []).append(node)
        for node in scope.nodes:
            if any(a.i == NARROW for a in node.attribute if a.name in _TYPES and a.type == AttributeProto.INT):
                if node.op_type != "Cast":
                    return True
                rounded.extend(node.output)
    return any(node.op_type != "Cast" for name in rounded for node in readers.get(name, ()))


def _types(scope: Scope) -> Iterator[TypeProto.Tensor | TypeProto.SparseTensor]:
    """Yield the tensor types that a scope declares."""
    if scope.graph is not None:
        for value in (*scope.graph.input, *scope.graph.output, *scope.graph.value_info):
            yield from _tensor_types(value.type)
    for node in scope.nodes:
        for attribute in node.attribute:
            for kind in (*([attribute.tp] if attribute.HasField("tp") else []), *attribute.type_protos):
                yield from _tensor_types(kind)


def _tensor_types(kind: TypeProto) -> Iterator[TypeProto.Tensor | TypeProto.SparseTensor]:
    which = kind.WhichOneof("value")
    if which in {"tensor_type", "sparse_tensor_type"}:
        yield getattr(kind, which)
    elif which in {"sequence_type", "optional_type"}:
        yield from _tensor_types(getattr(kind, which).elem_type)
    elif which == "map_type":
        yield from _tensor_types(kind.map_type.value_type)


def _narrow(kind: TypeProto) -> bool:
    return any(tensor.elem_type == NARROW for tensor in _tensor_types(kind))


def _type_attributes(scope: Scope) -> Iterator[AttributeProto]:
    """Yield the attributes that ask for bfloat16."""
    for node in scope.nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.type == AttributeProto.INT and attribute.i == NARROW:
                yield attribute
