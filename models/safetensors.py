"""Reads the tensors of a safetensors file: a length, a JSON header of names, types and places, then the numbers.

Source: the format's description in huggingface/safetensors (Apache-2.0).
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from ..engine.errors import ModelError

LONGEST_HEADER = 16 << 20  # bytes
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the named tensors as read-only arrays that share ``data``.

    Raises ModelError where the header does not fit the file: tensors outside it, of another size than their shape and
    type need, or of a type that is not read here.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, LONGEST_HEADER):
        raise ModelError(f"not a safetensors file: its header would have {length} bytes")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise ModelError("the header of the safetensors file is not valid JSON") from error
    if not isinstance(header, dict):
        raise ModelError("the header of the safetensors file is not an object")
    body = memoryview(data)[8 + length :]
    return {name: _tensor(name, entry, body) for name, entry in header.items() if name != "__metadata__"}


def _tensor(name: str, entry: Any, body: memoryview) -> np.ndarray:
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if kind in KINDS:
            dtype = np.dtype(KINDS[kind])
        case _:
            raise ModelError(f"tensor {name!r} of the safetensors file is described in a way that is not known")
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise ModelError(f"tensor {name!r} of the safetensors file has the shape {shape}")
    if not 0 <= begin <= end <= len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ModelError(f"tensor {name!r} of the safetensors file lies at {begin} to {end}, which does not fit it")
    return np.frombuffer(body[begin:end], dtype).reshape(shape)
