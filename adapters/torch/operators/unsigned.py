"""Arithmetic on uint16, uint32 and uint64, which torch stores but hardly computes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ....engine.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable

# The signed type of the same width: a view of the bits.
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return a uint16, uint32 or uint64 tensor as int64, and any other tensor as it is.

    Raises ``CapabilityError`` for values of 2^63 and more.
    """
    if tensor.dtype not in SIGNED:
        return tensor
    values = tensor.to(torch.int64)
    if tensor.dtype == torch.uint64 and bool((values < 0).any()):
        raise CapabilityError("the torch twin cannot compute with integers of 2^63 and more")
    return values


def through_int64(fn: Callable[..., torch.Tensor], *, keep: bool = True) -> Callable[..., torch.Tensor]:
    """Return ``fn`` made to compute unsigned tensors in int64.

    With ``keep`` the result gets the type of the first argument again, modulo its range as in C; without, it stays as
    ``fn`` gives it (truth values, positions).
    """

    def wrapped(*tensors: torch.Tensor) -> torch.Tensor:
        dtype = tensors[0].dtype
        if dtype not in SIGNED:
            return fn(*tensors)
        result = fn(*(widened(tensor) for tensor in tensors))
        return result.to(dtype) if keep else result

    return wrapped
