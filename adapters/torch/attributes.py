"""What an ONNX file holds, as Python values: stored tensors and the attributes of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from onnx import AttributeProto, numpy_helper

from ...engine.errors import ModelError, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx import SparseTensorProto, TensorProto

_HALF = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


@dataclass(frozen=True)
class Arrays:
    """Reads stored tensors; ``folder`` is where external data lies; with ``widen``, 16-bit floats become 32-bit."""

    folder: Path | None = None
    widen: bool = False

    def dense(self, tensor: TensorProto) -> np.ndarray:
        """Return a stored tensor; ``ModelError`` where its numbers cannot be had."""
        try:
            array = numpy_helper.to_array(tensor, str(self.folder) if self.folder is not None else "")
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"the numbers of the stored tensor '{printable(tensor.name)}' cannot be read",
                where=printable(reason)[:200],
            ) from None
        return self.adapted(array)

    def sparse(self, tensor: SparseTensorProto) -> np.ndarray:
        """Return a sparse tensor as a dense one; indices are flat or one row per element."""
        values, indices = self.dense(tensor.values), self.dense(tensor.indices)
        shape = tuple(tensor.dims)
        array = np.zeros(shape, values.dtype)
        if indices.ndim == 1:
            array.reshape(-1)[indices] = values
        else:
            array[tuple(indices.T)] = values
        return array

    def adapted(self, array: np.ndarray) -> np.ndarray:
        """Widen 16-bit floats where that is asked for."""
        return array.astype(np.float32) if self.widen and array.dtype in _HALF else array


def read_attribute(attribute: AttributeProto, arrays: Arrays) -> Any:
    """Return the value of an attribute: int, float, str, array, GraphProto, or a list of such."""
    kind = attribute.type or _kind(attribute)
    if kind not in _READERS:
        return None
    field, read = _READERS[kind]
    return read(getattr(attribute, field), arrays)


def _kind(attribute: AttributeProto) -> int:
    """Return the type of an attribute that does not state it, as files of the first ONNX versions."""
    single = {"f": AttributeProto.FLOAT, "i": AttributeProto.INT, "s": AttributeProto.STRING}
    single |= {"t": AttributeProto.TENSOR, "g": AttributeProto.GRAPH}
    for name, kind in single.items():
        if attribute.HasField(name):
            return kind
    lists = {"floats": AttributeProto.FLOATS, "ints": AttributeProto.INTS, "strings": AttributeProto.STRINGS}
    return next((kind for name, kind in lists.items() if len(getattr(attribute, name))), 0)


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


_READERS: dict[int, tuple[str, Callable[[Any, Arrays], Any]]] = {
    AttributeProto.FLOAT: ("f", lambda value, _: value),
    AttributeProto.INT: ("i", lambda value, _: value),
    AttributeProto.STRING: ("s", lambda value, _: _text(value)),
    AttributeProto.TENSOR: ("t", lambda value, arrays: arrays.dense(value)),
    AttributeProto.SPARSE_TENSOR: ("sparse_tensor", lambda value, arrays: arrays.sparse(value)),
    AttributeProto.GRAPH: ("g", lambda value, _: value),
    AttributeProto.FLOATS: ("floats", lambda values, _: list(values)),
    AttributeProto.INTS: ("ints", lambda values, _: list(values)),
    AttributeProto.STRINGS: ("strings", lambda values, _: [_text(value) for value in values]),
    AttributeProto.TENSORS: ("tensors", lambda values, arrays: [arrays.dense(value) for value in values]),
    AttributeProto.GRAPHS: ("graphs", lambda values, _: list(values)),
}
