"""Changes of the element type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from onnx import TensorProto

from ..dtypes import WIDENED, torch_dtype
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)


@converter("Cast")
def cast(node: Node) -> Converted:
    """Another element type; floats lose their fraction on the way to integers."""
    wanted = node.attributes["to"]
    if isinstance(wanted, str):  # as the first ONNX version wrote it
        wanted = TensorProto.DataType.Value(wanted)
    dtype, saturate = torch_dtype(wanted), bool(node.attributes.get("saturate", 1))
    return function_module(lambda x: converted(x, dtype, saturate=saturate), node)


@converter("CastLike")
def cast_like(node: Node) -> Converted:
    """Element type of the second input."""
    like = node.constant(1)
    if like is not None and like.dtype in WIDENED:
        raise node.refusal("a type", like.dtype.name)
    saturate = bool(node.attributes.get("saturate", 1))
    return function_module(lambda x, like: converted(x, like.dtype, saturate=saturate), node)


@converter("BitCast")
def bit_cast(node: Node) -> Converted:
    """Bits read as another element type of the same size; there is no gradient."""
    dtype = torch_dtype(node.attributes["to"])
    return function_module(lambda x: x.view(dtype), node)


def converted(x: torch.Tensor, dtype: torch.dtype, *, saturate: bool) -> torch.Tensor:
    """Return ``x`` in another type; what 8-bit floats cannot hold becomes their largest number if ``saturate``.

    Otherwise it becomes infinite, or NaN in types that have no infinity.
    """
    if dtype not in _FLOAT8 or not x.is_floating_point():
        return x.to(dtype)
    most = torch.finfo(dtype).max
    if saturate:
        return x.float().clamp(-most, most).to(dtype)
    half_step = torch.finfo(dtype).eps * 2 ** (math.frexp(most)[1] - 2)
    beyond = math.inf if dtype == torch.float8_e5m2 else math.nan
    return torch.where(x.abs() > most + half_step, beyond * x.sign(), x.float()).to(dtype)
