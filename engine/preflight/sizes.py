"""Whether tensors hold what their dims declare, and whether a graph makes enormous ones out of nothing."""

from __future__ import annotations

import math
import operator
from itertools import zip_longest
from typing import TYPE_CHECKING

from onnx import TensorProto, helper

from ..errors import ModelError
from ..files import excerpt
from ..graph.structure import attribute_of, constants, is_default, node_label, scope_sparse_tensors, small_value

if TYPE_CHECKING:
    from onnx import NodeProto

    from ..graph.structure import Scope

LARGEST_OUTPUT = 4 * 2**30  # bytes that one node may make out of constants
_PACKED_BITS = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}

Extent = tuple[tuple[int, ...], int]  # dims, and bits of an element


def bytes_needed(tensor: TensorProto, place: str) -> int:
    """Return the bytes that the dims of a tensor of numbers ask for. Raises ``ModelError``, naming ``place``."""
    if min(tensor.dims, default=0) < 0:
        raise ModelError(f"a tensor has a negative dimension: {excerpt(list(tensor.dims))}", where=place)
    count: int = math.prod(tensor.dims)
    return -(-count * _element_bits(tensor.data_type, place) // 8)  # rounded up, exact at any size


def check_stored(tensor: TensorProto, place: str) -> None:
    """Raise ``ModelError`` if a tensor inside the file holds more or less than its dims declare."""
    if not tensor.data_type and not tensor.dims and not tensor.raw_data:
        return  # an attribute's empty field
    needed = bytes_needed(tensor, place) if tensor.data_type != TensorProto.STRING else 0
    count = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        held, wanted, unit = len(tensor.string_data), {count}, "strings"
    elif tensor.HasField("raw_data"):
        held, wanted, unit = len(tensor.raw_data), {needed}, "bytes"
    else:
        held, wanted, unit = _listed(tensor), _listed_wanted(tensor, count, needed), "numbers"
    if held not in wanted:
        raise ModelError(
            f"a tensor holds {held:,} {unit}, but its dims {excerpt(list(tensor.dims))} need {excerpt(max(wanted))}",
            where=place,
            tip="the file is damaged or incomplete: export or download it again",
        )


def check_generated(scope: Scope, known: dict[str, Extent], stored: dict[str, TensorProto]) -> None:
    """Raise ``ModelError`` if a node makes more than LARGEST_OUTPUT bytes out of constants alone, as a bomb does.

    ``known`` and ``stored`` are what is known of the graphs around this one, by tensor name; what this one adds is put
    in.
    """
    found = constants(scope.nodes, scope.graph)
    stored |= found
    known |= {name: (tuple(t.dims), _element_bits(t.data_type, name)) for name, t in found.items() if t.data_type}
    for value in scope.graph.input if scope.graph is not None else ():
        kind = value.type.tensor_type
        dims = tuple(dim.dim_value for dim in kind.shape.dim)
        if kind.elem_type and kind.HasField("shape") and min(dims, default=1) > 0:
            known.setdefault(value.name, (dims, _element_bits(kind.elem_type, value.name)))
    for sparse, place in scope_sparse_tensors(scope):
        _refuse_enormous((tuple(sparse.dims), _element_bits(sparse.values.data_type, place)), place)
    for node in scope.nodes:
        extent = _extent(node, known, stored) if node.output else None
        if extent is not None:
            known[node.output[0]] = extent
            _refuse_enormous(extent, node_label(node))


def _refuse_enormous(extent: Extent, place: str) -> None:
    size = math.prod(extent[0]) * extent[1] // 8 if min(extent[0], default=1) > 0 else 0
    if size > LARGEST_OUTPUT:
        raise ModelError(
            f"this model makes a tensor of {excerpt(size)} bytes out of almost nothing",
            where=f"{place}, shape {excerpt(list(extent[0]))}",
            tip=f"the limit is {LARGEST_OUTPUT // 2**30} GiB, so that no file can exhaust the memory",
        )


def _extent(node: NodeProto, known: dict[str, Extent], stored: dict[str, TensorProto]) -> Extent | None:
    """Return the dims and element bits of what a node makes, if it makes them out of constants."""
    if not is_default(node, node.op_type):
        return None

    def numbers(index: int) -> list[float] | None:
        tensor = stored.get(node.input[index]) if index < len(node.input) else None
        value = small_value(tensor) if tensor is not None else None
        return None if value is None or value.dtype.kind not in "iuf" else value.ravel().tolist()

    dims, bits = known.get(node.input[0], (None, 32)) if node.input else (None, 32)
    match node.op_type:
        case "ConstantOfShape":
            value = attribute_of(node, "value")
            dims = _whole(numbers(0))
            bits = _element_bits(value.data_type, node_label(node)) if isinstance(value, TensorProto) else 32
        case "ConstantFill":
            listed = numbers(0) if attribute_of(node, "input_as_shape", 0) else attribute_of(node, "shape", None)
            dims = None if listed is None else _whole([*listed, *attribute_of(node, "extra_shape", ())])
        case "RandomNormal" | "RandomUniform":
            dims = tuple(attribute_of(node, "shape", ()))
        case "Range":
            dims = _range_dims(numbers(0), numbers(1), numbers(2))
        case "Tile":
            repeats = _whole(numbers(1))
            dims = None if dims is None or repeats is None else tuple(map(operator.mul, dims, repeats))
        case "Expand":
            sizes = _whole(numbers(1))
            dims = None if dims is None or sizes is None else _broadcast(dims, sizes)
        case "Identity" | "Cast":
            pass
        case _:
            dims = None
    return None if dims is None else (dims, bits)


def _whole(numbers: list[float] | None) -> tuple[int, ...] | None:
    return None if numbers is None or not all(map(math.isfinite, numbers)) else tuple(int(n) for n in numbers)


def _range_dims(*bounds: list[float] | None) -> tuple[int, ...] | None:
    ends = [bound[0] for bound in bounds if bound]
    if len(ends) != 3 or not ends[2] or not all(map(math.isfinite, ends)):
        return None
    start, limit, delta = ends
    return (max(math.ceil((limit - start) / delta), 0),)


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    pairs = zip_longest(reversed(first), reversed(second), fillvalue=1)
    return tuple(max(pair) for pair in pairs)[::-1]


def _element_bits(data_type: int, place: str) -> int:
    try:
        name = TensorProto.DataType.Name(data_type)
        whole: int = helper.tensor_dtype_to_np_dtype(data_type).itemsize * 8
    except (KeyError, ValueError):
        raise ModelError(f"a tensor has the unknown element type {data_type}", where=place) from None
    return _PACKED_BITS.get(name, whole)


def _listed(tensor: TensorProto) -> int:
    """Return how many numbers the field for the tensor's element type holds."""
    return len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))


def _listed_wanted(tensor: TensorProto, count: int, needed: int) -> set[int]:
    if tensor.data_type in {TensorProto.COMPLEX64, TensorProto.COMPLEX128}:
        return {2 * count}
    if TensorProto.DataType.Name(tensor.data_type) in _PACKED_BITS:
        return {count, needed}  # several to a byte, or one by one, as some writers do
    return {count}
