"""Shapes: tensors laid out anew, joined, cut, repeated and padded, and what is calculated from shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..dtypes import to_tensor
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..node import Node

Tensors = tuple[torch.Tensor, ...]
_OPEN = {2**31 - 1, 2**63 - 1}


def listed(node: Node, attribute: str, position: int) -> list[int] | None:
    """Return integers that old versions give as an attribute and new ones as a constant input; None if neither."""
    if attribute in node.attributes:
        return list(node.attributes[attribute])
    value = node.constant(position)
    return None if value is None else [int(n) for n in np.asarray(value).reshape(-1)]


def by_integers(
    node: Node, attribute: str, apply: Callable[[torch.Tensor, list[int] | None], Any], position: int = 1
) -> Converted:
    """Convert an operator with one list of integers, known now or computed while running; None where it is left out."""
    known = listed(node, attribute, position)
    if known is not None or not node.given(position):
        return function_module(lambda x: apply(x, known), node, (0,))
    return function_module(lambda x, integers: apply(x, integers.reshape(-1).tolist()), node, (0, position))


@converter("Reshape")
def reshape(node: Node) -> Converted:
    """Another shape: 0 keeps an axis (unless ``allowzero``), -1 takes what is left."""
    keep = not node.attributes.get("allowzero", 0)

    def apply(x: torch.Tensor, shape: list[int] | None) -> torch.Tensor:
        wanted = shape or []
        return x.reshape([x.shape[k] if n == 0 and keep else n for k, n in enumerate(wanted)])

    return by_integers(node, "shape", apply)


@converter("Flatten")
def flatten(node: Node) -> Converted:
    """Matrix of the axes before ``axis`` by the rest."""
    axis = node.attributes["axis"]

    def apply(x: torch.Tensor) -> torch.Tensor:
        first = axis if axis >= 0 else axis + x.dim()
        return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:]))

    return function_module(apply, node)


@converter("Transpose")
def transpose(node: Node) -> Converted:
    """Axes in another order; reversed where none is given."""
    order = node.attributes.get("perm")
    if order is None:
        return function_module(lambda x: x.permute(tuple(reversed(range(x.dim())))), node)
    return function_module(lambda x: x.permute(order), node)


@converter("Squeeze")
def squeeze(node: Node) -> Converted:
    """Axes of length one left out: those given, else all."""

    def apply(x: torch.Tensor, axes: list[int] | None) -> torch.Tensor:
        if axes is None:
            return x.squeeze()
        for axis in axes:
            if x.shape[axis] != 1:
                raise ValueError(f"Squeeze of axis {axis}, whose length is {x.shape[axis]}")
        return x.squeeze(tuple(axes))

    return by_integers(node, "axes", apply)


@converter("Unsqueeze")
def unsqueeze(node: Node) -> Converted:
    """Axes of length one put in, at places counted in the result."""

    def apply(x: torch.Tensor, axes: list[int] | None) -> torch.Tensor:
        places = axes or []
        rank = x.dim() + len(places)
        for axis in sorted(a % rank for a in places):
            x = x.unsqueeze(axis)
        return x

    return by_integers(node, "axes", apply)


@converter("Slice", until=9)
def slice_by_attributes(node: Node) -> Converted:
    """Parts of axes by constant beginnings and ends."""
    starts, ends = node.attributes["starts"], node.attributes["ends"]
    axes = node.attributes.get("axes") or range(len(starts))
    return function_module(lambda x: sliced(x, starts, ends, axes, [1] * len(starts)), node)


@converter("Slice", since=10)
def slice_by_inputs(node: Node) -> Converted:
    """Parts of axes by beginnings, ends and steps, which may be negative."""
    known = [listed(node, "", k) for k in range(1, 5)]
    if all(value is not None or not node.given(k) for k, value in enumerate(known, 1)):
        starts, ends = known[0] or [], known[1] or []
        axes = known[2] if known[2] is not None else list(range(len(starts)))
        steps = known[3] if known[3] is not None else [1] * len(starts)
        return function_module(lambda x: sliced(x, starts, ends, axes, steps), node, (0,))

    def apply(
        x: torch.Tensor,
        starts: torch.Tensor,
        ends: torch.Tensor,
        axes: torch.Tensor | None = None,
        steps: torch.Tensor | None = None,
    ) -> torch.Tensor:
        count = range(len(starts))
        places = list(count) if axes is None else axes.tolist()
        return sliced(
            x, starts.tolist(), ends.tolist(), places, [1 for _ in count] if steps is None else steps.tolist()
        )

    return function_module(apply, node)


def sliced(
    x: torch.Tensor, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> torch.Tensor:
    """Return parts of axes; a negative step counts down, which torch cannot do itself.

    Downwards a beginning before the first element means the first element, where Python would take nothing, and the
    largest integer is an end that is open (ONNX Runtime's reading).
    """
    cut: list[slice] = [slice(None)] * x.dim()
    backwards = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        part = slice(start, end, step)
        if step < 0:
            part = slice(max(start, -x.shape[axis]), None if end in _OPEN else end, step)
        places = range(*part.indices(x.shape[axis]))
        if step < 0:
            backwards.append(axis)
            places = places[::-1]
        cut[axis] = slice(places.start, max(places.stop, places.start), places.step)
    taken = x[tuple(cut)]
    return taken.flip(backwards) if backwards else taken


@converter("Split")
def split(node: Node) -> Converted:
    """Consecutive parts of an axis: of the lengths given, else as equal as can be."""
    axis = node.attributes.get("axis", 0)
    count = node.attributes.get("num_outputs") or len(node.outputs)

    def apply(x: torch.Tensor, lengths: list[int] | None) -> Tensors | torch.Tensor:
        if lengths is None:
            size = x.shape[axis]
            step = math.ceil(size / count)
            lengths = [max(0, min(step, size - k * step)) for k in range(count)]
        parts = torch.split(x, lengths, axis)
        return parts if len(node.outputs) > 1 else parts[0]

    return by_integers(node, "split", apply)


@converter("Concat")
def concat(node: Node) -> Converted:
    """Tensors joined along an axis."""
    axis = node.attributes.get("axis", 1)
    return function_module(lambda *tensors: torch.cat(tensors, axis), node)


@converter("Expand")
def expand(node: Node) -> Converted:
    """Tensor broadcast together with a shape."""

    def apply(x: torch.Tensor, shape: list[int] | None) -> torch.Tensor:
        return torch.broadcast_to(x, tuple(broadcast(x.shape, shape or [])))

    return by_integers(node, "", apply)


def broadcast(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Return the shape that two shapes have together by NumPy's rules."""
    rank = max(len(one), len(other))
    pairs = zip([1] * (rank - len(one)) + list(one), [1] * (rank - len(other)) + list(other), strict=True)
    return [b if a == 1 else a for a, b in pairs]


@converter("Tile", until=5)
def tile_one_axis(node: Node) -> Converted:
    """Repeat an axis."""

    def apply(x: torch.Tensor, tiles: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
        times = [1] * x.dim()
        times[int(axis)] = int(tiles)
        return x.repeat(times)

    return function_module(apply, node)


@converter("Tile", since=6)
def tile(node: Node) -> Converted:
    """Each axis repeated so many times."""
    return by_integers(node, "", lambda x, times: x.repeat(times or []))


class Embedding(nn.Module):
    """Rows of a constant table by their numbers; negative ones count from the end."""

    weight: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        """``weight`` is (rows, width)."""
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        """Return (..., width) for numbers (...)."""
        return nn.functional.embedding(counted(index, len(self.weight)), self.weight)


@converter("Gather")
def gather(node: Node) -> Converted:
    """Elements of an axis by their numbers; the axis gives way to those of the index."""
    axis = node.attributes["axis"]
    table, index = node.constant(0), node.constant(1)
    if table is not None and table.ndim == 2 and axis in {0, -2} and index is None:
        return Converted(Embedding(to_tensor(table)), (1,))
    if index is not None and index.ndim == 0:
        place = int(index)
        return function_module(lambda x: x.select(axis, place), node, (0,))

    settled = index is not None and int(index.min(initial=0)) >= 0

    def apply(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        at = axis % x.dim()
        flat = places.reshape(-1) if settled else counted(places.reshape(-1), x.shape[at])
        return x.index_select(at, flat).reshape((*x.shape[:at], *places.shape, *x.shape[at + 1 :]))

    return function_module(apply, node)


def counted(index: torch.Tensor, size: int) -> torch.Tensor:
    """Return indices with negative ones counted from the end."""
    wide = index.long()
    return torch.where(wide < 0, wide + size, wide)


@converter("Shape")
def shape(node: Node) -> Converted:
    """Lengths of the axes from ``start`` to before ``end``."""
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return function_module(lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64, device=x.device), node)


@converter("Size")
def size(node: Node) -> Converted:
    """Count the elements."""
    return function_module(lambda x: torch.tensor(x.numel(), device=x.device), node)


@converter("ConstantOfShape")
def constant_of_shape(node: Node) -> Converted:
    """One value in every element of a given shape."""
    value = to_tensor(np.asarray(node.attributes.get("value", np.zeros(1, np.float32)))).reshape(())

    def apply(wanted: torch.Tensor) -> torch.Tensor:
        return value.to(wanted.device).expand(wanted.tolist()).clone()

    return function_module(apply, node)


@converter("Range")
def arange(node: Node) -> Converted:
    """``start + k delta`` for all k that stay before ``limit``."""

    def apply(start: torch.Tensor, limit: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        start, limit, delta = (t.reshape(()) for t in (start, limit, delta))
        count = max(0, math.ceil((limit.item() - start.item()) / delta.item()))
        return start + torch.arange(count, device=start.device).to(start.dtype) * delta

    return function_module(apply, node)


@converter("Identity")
def identity(node: Node) -> Converted:
    """Hand the input on."""
    return function_module(lambda x: x, node) if 0 in node.constants else Converted(nn.Identity(), (0,))


@converter("Pad")
def pad(node: Node) -> Converted:
    """Elements added before and after axes (cut where negative): a constant, or the input's own ones again."""
    mode, value = node.attributes["mode"], node.attributes.get("value", 0.0)
    if mode not in {"constant", "reflect", "edge", "wrap"}:
        raise node.refusal("mode", mode)
    known = listed(node, "paddings" if "paddings" in node.attributes else "pads", 1)

    def apply(
        x: torch.Tensor,
        pads: torch.Tensor | None,
        fill: torch.Tensor | None = None,
        axes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        amounts = known if known is not None else pads.reshape(-1).tolist() if pads is not None else []
        places = range(x.dim()) if axes is None else [int(a) % x.dim() for a in axes.reshape(-1).tolist()]
        half = len(amounts) // 2
        around = {axis: (amounts[k], amounts[k + half]) for k, axis in enumerate(places)}
        if mode == "constant":
            return _filled(x, around, value if fill is None else fill)
        return _continued(x, around, mode)

    takes = (0, *((1,) if known is None else ()), *(k for k in (2, 3) if node.given(k)))
    if known is None:
        return function_module(apply, node)
    rest = [k for k in (2, 3) if node.given(k)]

    def apply_known(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        named = dict(zip(rest, others, strict=True))
        return apply(x, None, named.get(2), named.get(3))

    return function_module(apply_known, node, takes)


def _filled(x: torch.Tensor, around: dict[int, tuple[int, int]], fill: torch.Tensor | float) -> torch.Tensor:
    widths = [n for axis in reversed(range(x.dim())) for n in around.get(axis, (0, 0))]
    if not isinstance(fill, torch.Tensor) or not fill.requires_grad:
        return nn.functional.pad(x, widths, value=float(fill) if x.is_floating_point() else int(fill))
    inside = nn.functional.pad(torch.ones_like(x, dtype=torch.bool), widths)
    return torch.where(inside, nn.functional.pad(x, widths), fill.to(x.dtype))


def _continued(x: torch.Tensor, around: dict[int, tuple[int, int]], mode: str) -> torch.Tensor:
    """Pad each axis by taking its elements in the order in which NumPy would pad their numbers."""
    for axis, (before, after) in around.items():
        kept = np.arange(x.shape[axis])[max(0, -before) : x.shape[axis] + min(0, after)]
        order = np.pad(kept, (max(0, before), max(0, after)), mode=mode)  # type: ignore[call-overload]
        if len(order) != x.shape[axis] or before or after:
            x = x.index_select(axis, torch.from_numpy(order).to(x.device))
    return x
