"""Element types: ONNX's numbers and NumPy's arrays as torch dtypes and tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from onnx import TensorProto

from ...engine.errors import CapabilityError

_TORCH = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.COMPLEX64: torch.complex64,
    TensorProto.COMPLEX128: torch.complex128,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
}
# NumPy has no such types of its own: their bits travel as integers.
_BITS: dict[np.dtype[Any], tuple[type[np.generic], torch.dtype]] = {
    np.dtype(ml_dtypes.bfloat16): (np.int16, torch.bfloat16),
    np.dtype(ml_dtypes.float8_e4m3fn): (np.uint8, torch.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e4m3fnuz): (np.uint8, torch.float8_e4m3fnuz),
    np.dtype(ml_dtypes.float8_e5m2): (np.uint8, torch.float8_e5m2),
    np.dtype(ml_dtypes.float8_e5m2fnuz): (np.uint8, torch.float8_e5m2fnuz),
}
_UNBITS = {dtype: (torch.int16 if dtype.itemsize == 2 else torch.uint8, kind) for kind, (_, dtype) in _BITS.items()}
WIDENED: dict[np.dtype[Any], type[np.generic]] = {  # a type that holds the same numbers
    np.dtype(ml_dtypes.int2): np.int8,
    np.dtype(ml_dtypes.uint2): np.uint8,
    np.dtype(ml_dtypes.int4): np.int8,
    np.dtype(ml_dtypes.uint4): np.uint8,
    np.dtype(ml_dtypes.float4_e2m1fn): np.float32,
}


def torch_dtype(elem_type: int) -> torch.dtype:
    """Return the torch dtype of an ONNX element type such as ``TensorProto.FLOAT``.

    Raises ``CapabilityError`` for types that torch lacks (strings, 4-bit numbers).
    """
    try:
        return _TORCH[elem_type]  # type: ignore[index]
    except KeyError:
        raise CapabilityError(f"torch has no element type for ONNX's {_name(elem_type)}") from None


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """Return a tensor with a copy of the array; bfloat16 and float8 keep their type, those of fewer bits are widened.

    Raises ``CapabilityError`` for strings and other types that torch lacks.
    """
    if array.dtype in _BITS:
        bits, dtype = _BITS[array.dtype]
        return torch.tensor(np.asarray(array.view(bits), order="C")).view(dtype)
    if array.dtype in WIDENED:
        array = array.astype(WIDENED[array.dtype])
    try:
        return torch.tensor(np.asarray(array, order="C"))  # torch's memory is aligned for products of matrices
    except TypeError:
        raise CapabilityError(f"torch has no element type for {array.dtype}") from None


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Return an array with the tensor's elements; bfloat16 and float8 keep their type."""
    tensor = tensor.detach().cpu()
    if tensor.dtype in _UNBITS:
        bits, dtype = _UNBITS[tensor.dtype]
        return tensor.contiguous().view(bits).numpy().view(dtype)
    return tensor.numpy()


def _name(elem_type: int) -> str:
    return TensorProto.DataType.Name(elem_type) if elem_type in TensorProto.DataType.values() else str(elem_type)
