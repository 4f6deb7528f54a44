"""The layer that a class activation map is made at: its channels, and the grid of positions that they lie on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, nearest, printable
from .flow import Flow
from .view import View, view_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..graph import TensorInfo
    from ..problem import Problem

MAPS = frozenset({
    "ablation-cam", "counterfactual-grad-cam", "eigen-cam", "grad-cam", "grad-cam++", "guided-grad-cam", "hires-cam",
    "layer-cam", "score-cam", "xgrad-cam",
})  # fmt: skip
AT_ONCE = 16  # tensors of unknown shape that are looked at in one run
EXTRA_TOKENS = (0, 1, 2, 4, 5, 8)  # class token, distillation token and registers that stand before the patches


@dataclass(frozen=True)
class Layer:
    """A tensor (N, ...) seen as channels on a grid.

    ``channel`` is the axis of the channels, ``grid`` the size of the grid: (height, width), (length,), or () for a
    dense layer. Where positions are tokens, ``extra`` of them stand before those of the grid and belong to none.
    """

    tensor: str
    shape: tuple[int, ...]
    channel: int
    grid: tuple[int, ...]
    extra: int = 0

    def channels(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (B, ...) of the tensor, or of its gradient, as float64 (B, channels, *grid)."""
        first = np.moveaxis(rows, self.channel, 1)[(slice(None), slice(None), *self._places)]
        return first.reshape(*first.shape[:2], *self.grid).astype(np.float64)

    def without(self, row: np.ndarray, dropped: np.ndarray) -> np.ndarray:
        """Return copies of a row (1, ...) of the tensor, one per channel in ``dropped``, with that channel zero."""
        copies = np.repeat(np.moveaxis(row, self.channel, 1), len(dropped), axis=0)
        for copy, channel in zip(copies, dropped, strict=True):
            copy[(channel, *self._places)] = 0
        return np.ascontiguousarray(np.moveaxis(copies, 1, self.channel))

    def shaped(self, found: np.ndarray) -> np.ndarray:
        """Give a map (*grid) the batch axis, and a channel axis of one where the tensor has its channels."""
        return found[None, None] if self.channel == 1 else found[None, ..., None]

    @property
    def _places(self) -> tuple[slice, ...]:
        return (slice(self.extra, None),) if self.extra else ()


def layer_of(problem: Problem) -> Layer:
    """Return the layer named by ``wrt``, else the last one with spatial extent before the target.

    Shapes are those of the activations for this sample. Where a class token stands beside the patches, it is the last
    point that all of the image passes before the last attention: what is behind it may reach the target by the
    class token alone. Raises ``SettingError`` for a tensor that is not there or that the target does not depend on, and
    where nothing has spatial extent.
    """
    flow, view = Flow(problem.model.proto, problem.target.tensor), view_of(problem)
    if problem.wrt is not None:
        return _named(problem, flow, view, problem.wrt)
    found = next(_spatial(problem, flow, view, flow.tensors), None)
    if found is not None and found.extra:
        earlier = [t for t in flow.tensors if t in flow.before_mixing]
        narrow = [t for t in flow.bottlenecks if t in flow.before_mixing]
        candidates = (la for names in (narrow, earlier) for la in _spatial(problem, flow, view, names))
        found = next((la for la in candidates if (la.grid, la.extra) == (found.grid, found.extra)), found)
    if found is None:
        whole = _in_integers(problem, flow)
        raise SettingError(
            f"no tensor before the target '{printable(problem.target.tensor)}' has positions: there is no map to make",
            where=whole or "a map needs activations (rows, channels, height, width), or tokens of an image or a series",
            tip="name a layer with --wrt (onnxplain inspect MODEL --tensors), or use a method that explains inputs"
            if not whole
            else "quantise in the QDQ format, whose tensors are floating-point, or explain inputs by another method",
        )
    return found


def check_reached(problem: Problem, flow: Flow, name: str) -> None:
    """Raise ``SettingError`` for a tensor that is not there, or that the flow's target does not depend on."""
    if name not in problem.model.tensor_names:
        raise SettingError(
            f"there is no tensor '{printable(name)}' in this model", tip=nearest(name, problem.model.tensor_names)
        )
    if not flow.reaches(name):
        before = [info.name for info in problem.model.tensors() if info.name in set(flow.tensors)]
        raise SettingError(
            f"the target '{printable(flow.target)}' does not depend on tensor '{printable(name)}'",
            tip=nearest(name, before) or "name a tensor that comes before the target",
        )


def channel_axis(problem: Problem, name: str, shape: tuple[int, ...]) -> int | None:
    """Return which axis of a tensor (rows, ...) with three axes or more holds channels, None where nothing tells.

    That is the axis that a map would take at this tensor, else the one that its operators tell, as for words.
    """
    if len(shape) < 3:
        return None
    flow, view = Flow(problem.model.proto, problem.target.tensor), view_of(problem)
    axis = _traced(flow, view, name, shape, problem.model.variant((name,), problem.sample.feeds).axes[0])
    found = _fitted(name, shape, axis, view) or _guessed(name, shape, view)
    return (axis or None) if found is None else found.channel


def _named(problem: Problem, flow: Flow, view: View | None, name: str) -> Layer:
    check_reached(problem, flow, name)
    (row,) = problem.model.rows(problem.sample.feeds, (name,))
    batch = problem.model.variant((name,), problem.sample.feeds).axes[0]
    if row.dtype.kind != "f" or not row.size:
        raise SettingError(
            f"tensor '{printable(name)}' holds {row.dtype}, shape {list(row.shape)}: no activations to weigh",
            tip="name a tensor of floating-point numbers (onnxplain inspect MODEL --tensors)",
        )
    axis = _traced(flow, view, name, row.shape, batch)
    found = _fitted(name, row.shape, axis, view) or _guessed(name, row.shape, view)
    if found is None:
        raise SettingError(
            f"tensor '{printable(name)}' of shape {list(row.shape)} cannot be seen as channels on a grid",
            tip="name one of shape (rows, channels, height, width), (rows, height, width, channels) or (rows, tokens, "
            "channels)",
        )
    return found


def _spatial(problem: Problem, flow: Flow, view: View | None, names: Sequence[str]) -> Iterator[Layer]:
    """Yield the tensors with spatial extent, the last first; those whose layout the operators tell before others."""
    if view is None:
        return
    unclear = []
    for name, shape, batch in _shapes(problem, names):
        axis = _traced(flow, view, name, shape, batch)
        found = _guessed(name, shape, view) if axis is None else _fitted(name, shape, axis, view)
        if found is None or len(found.grid) != len(view.size) or min(found.grid) < 2:
            continue
        if axis is None and not _is_only_way(name, shape, view):
            unclear.append(found)
        else:
            yield found
    yield from unclear


def _shapes(problem: Problem, names: Sequence[str]) -> Iterator[tuple[str, tuple[int, ...], int | None]]:
    """Yield names, shapes (batch axis first) and batch axes of float tensors of rank 3 and 4, the last first.

    What the file does not tell is found by running the model, a few tensors at a time.
    """
    wanted = set(names)
    listed = [info for info in reversed(problem.model.tensors()) if info.name in wanted and _may_be_spatial(info)]
    looked_up: dict[str, tuple[tuple[int, ...], int | None]] = {}
    for place, info in enumerate(listed):
        shape = info.shape or ()
        inner = tuple(n for n in shape[1:] if isinstance(n, int))
        if shape and len(inner) == len(shape) - 1 and (not isinstance(shape[0], int) or shape[0] == 1):
            yield info.name, (1, *inner), 0
            continue
        if info.name not in looked_up:
            chunk = tuple(i.name for i in listed[place : place + AT_ONCE])
            rows = problem.model.rows(problem.sample.feeds, chunk)
            axes = problem.model.variant(chunk, problem.sample.feeds).axes
            looked_up |= {
                n: (row.shape if row.dtype.kind == "f" else (), axis)
                for n, row, axis in zip(chunk, rows, axes, strict=True)
            }
        yield info.name, *looked_up[info.name]


def _in_integers(problem: Problem, flow: Flow) -> str:
    """Return words for a tensor that has positions but holds integers, as in quantised graphs; empty for none."""
    wanted = set(flow.tensors)
    for info in problem.model.tensors():
        if info.name in wanted and info.dtype in {"int8", "uint8"} and info.shape and len(info.shape) == 4:
            return f"'{printable(info.name)}' and others hold {info.dtype}: this graph computes in quantised numbers"
    return ""


def _may_be_spatial(info: TensorInfo) -> bool:
    is_float = not info.dtype or info.dtype.startswith(("float", "bfloat"))
    return is_float and (info.shape is None or len(info.shape) in {3, 4})


def _traced(flow: Flow, view: View | None, name: str, shape: tuple[int, ...], batch: int | None) -> int | None:
    """Return the channel axis of a tensor whose batch axis was put first; None where its operators do not tell."""
    axis = flow.channel_axis(name)
    if isinstance(axis, str):
        return view.channel if view is not None and view.name == axis and view.rank == len(shape) else None
    if axis is None or axis >= len(shape):
        return None
    axis %= len(shape)
    if not batch:
        return axis
    order = [batch, *(k for k in range(len(shape)) if k != batch)]
    return order.index(axis)


def _fitted(name: str, shape: tuple[int, ...], axis: int | None, view: View | None) -> Layer | None:
    """Return the layer, if the axes other than batch and channels can be a grid."""
    if len(shape) == 2:
        return Layer(name, shape, 1, ())
    if not axis:
        return None
    inner = tuple(n for k, n in enumerate(shape) if k not in {0, axis})
    if len(shape) == 4 and axis in {1, 3}:
        return Layer(name, shape, axis, inner)
    if len(shape) != 3 or view is None:
        return None
    if len(view.size) == 1:
        return Layer(name, shape, axis, inner)
    found = patches(inner[0], view.size)
    return None if found is None else Layer(name, shape, axis, found[1], found[0])


def _guessed(name: str, shape: tuple[int, ...], view: View | None) -> Layer | None:
    """Return the layer by its shape alone: channels where the input has them, or tokens that make up a grid."""
    if len(shape) == 4:
        last = view is not None and view.rank == 4 and view.channel == 3
        return _fitted(name, shape, 3 if last else 1, view)
    return next((found for axis in (2, 1) if (found := _fitted(name, shape, axis, view)) is not None), None)


def _is_only_way(name: str, shape: tuple[int, ...], view: View) -> bool:
    """Say whether the shape of a tensor (1, tokens, channels), or (1, channels, tokens), can be read in one way."""
    return len(shape) == 3 and sum(_fitted(name, shape, axis, view) is not None for axis in (1, 2)) == 1


def patches(count: int, size: tuple[int, ...]) -> tuple[int, tuple[int, int]] | None:
    """Return how many tokens stand before those of square patches, and the grid of the patches."""
    height, width = size
    for extra in EXTRA_TOKENS:
        if count - extra < 4:
            return None
        side = math.sqrt(height * width / (count - extra))
        for patch in {math.floor(side), math.ceil(side)} - {0}:
            grid = (height // patch, width // patch)
            if min(grid) > 1 and grid[0] * grid[1] == count - extra:
                return extra, grid
    return None
