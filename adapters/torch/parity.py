"""Whether a twin computes what ONNX Runtime computes, and where it first does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...engine.errors import CapabilityError, printable
from .node import BLACK_BOX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...engine.model import Model


@dataclass(frozen=True)
class Tolerance:
    """How much two runtimes may differ: in proportion to an element, and to the largest element of its tensor."""

    relative: float = 1e-3
    scale: float = 1e-4

    def exceeded(self, found: np.ndarray, expected: np.ndarray) -> bool:
        """Whether a tensor differs more than this; integers may differ by one only where ``relative`` allows it."""
        if found.shape != expected.shape:
            return True
        if expected.dtype.kind not in "fc":
            return _apart(found, expected) > (1.0 if self.relative > 1e-2 else 0.0)
        wide, known = found.astype(np.float64), expected.astype(np.float64)
        finite = np.abs(known[np.isfinite(known)])
        floor = self.scale * float(finite.max(initial=0.0)) + 1e-6
        return not np.allclose(wide, known, rtol=self.relative, atol=floor, equal_nan=True)


EXACT = Tolerance()
HALF = Tolerance(2e-2, 2e-3)  # 16-bit floats have 11 or 8 binary digits
QUANTISED = Tolerance(5e-2, 2e-2)  # a number on the edge between two steps may fall on either side


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference of two float tensors; equal infinities and NaN do not count."""
    if found.shape != expected.shape:
        return float("inf")
    return _apart(found, expected)


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    wide, known = found.astype(np.float64), expected.astype(np.float64)
    same = (wide == known) | (np.isnan(wide) & np.isnan(known))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(wide - known))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))


def compared(
    model: Model,
    feeds: Mapping[str, np.ndarray],
    values: Callable[[Sequence[str]], Sequence[np.ndarray]],
    outputs: Sequence[str],
    inner: Mapping[str, str],
    tolerance: Tolerance,
) -> float:
    """Return the largest difference between a twin's float outputs and ONNX Runtime's.

    ``values`` gives tensors of the twin by ONNX name, batch axis first; ``inner`` maps the names of the tensors between
    inputs and outputs, in graph order, to the operators that make them. Raises ``CapabilityError`` above tolerance,
    and names the first tensor that differs.
    """
    expected = model.rows(feeds, tuple(outputs))
    found = values(outputs)
    if not any(tolerance.exceeded(f, e) for f, e in zip(found, expected, strict=True)):
        floats = [difference(f, e) for f, e in zip(found, expected, strict=True) if e.dtype.kind == "f"]
        return max(floats, default=0.0)
    name, operator, apart = _first_difference(model, feeds, values, inner, tolerance) or next(
        (n, inner.get(n, "?"), difference(f, e))
        for n, f, e in zip(outputs, found, expected, strict=True)
        if tolerance.exceeded(f, e)
    )
    worst = max(difference(f, e) for f, e in zip(found, expected, strict=True))
    raise CapabilityError(
        f"the torch twin of this model does not compute what ONNX Runtime does: tensor '{printable(name)}', made by "
        f"{operator}, is the first that differs (by {apart:.3g})",
        where=f"largest difference of an output: {worst:.3g}",
        tip=f"please report it with the model's file; {BLACK_BOX}",
    )


def _first_difference(
    model: Model,
    feeds: Mapping[str, np.ndarray],
    values: Callable[[Sequence[str]], Sequence[np.ndarray]],
    inner: Mapping[str, str],
    tolerance: Tolerance,
) -> tuple[str, str, float] | None:
    names = tuple(inner)
    expected = model.rows(feeds, names)
    for name, one, other in zip(names, values(names), expected, strict=True):
        if tolerance.exceeded(one, other):
            return name, inner[name], difference(one, other)
    return None
