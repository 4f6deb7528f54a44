"""View: the input that a map is laid over, an image or a series, and how a map is enlarged to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..masking.layout import masked_inputs
from .flow import Flow

if TYPE_CHECKING:
    from ..masking.layout import MaskedInput
    from ..problem import Problem


@dataclass(frozen=True)
class View:
    """An input (1, ...) with positions: ``size`` is (height, width) or (length,), along the axes ``positions``."""

    name: str
    shape: tuple[int, ...]
    positions: tuple[int, ...]
    channel: int | None

    @property
    def size(self) -> tuple[int, ...]:
        """Positions along each axis of the grid."""
        return tuple(self.shape[axis] for axis in self.positions)

    @property
    def rank(self) -> int:
        """Number of axes, the batch axis included."""
        return len(self.shape)

    def enlarged(self, maps: np.ndarray) -> np.ndarray:
        """Enlarge maps (B, *grid) linearly to (B, *size): half-pixel centres, the edges continued.

        This is ONNX's Resize in mode linear with half_pixel, and torch's bilinear with ``align_corners=False``.
        """
        for place, size in enumerate(self.size):
            axis = maps.ndim - len(self.size) + place
            maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ _enlargement(maps.shape[axis], size).T, -1, axis)
        return maps

    def spread(self, found: np.ndarray) -> np.ndarray:
        """Give a map (*size) the shape of the input, with the same number in all channels."""
        shape = [1] * self.rank
        for axis in self.positions:
            shape[axis] = self.shape[axis]
        turned = found if list(self.positions) == sorted(self.positions) else found.T
        return np.broadcast_to(turned.reshape(shape), self.shape).copy()


def view_of(problem: Problem) -> View | None:
    """Return the input that maps are laid over: the one with the picture, else the first image or series.

    What neither the spec nor the input's shape tells about its axes, the first convolution does. None where no input
    has positions.
    """
    flow = Flow(problem.model.proto, problem.target.tensor)
    entries = masked_inputs(problem.model, problem.sample)
    pictured = problem.sample.image_input
    ordered = sorted(entries.values(), key=lambda entry: (entry.name != pictured, not entry.is_image))
    return next((view for entry in ordered if (view := _view(entry, flow)) is not None), None)


def _view(entry: MaskedInput, flow: Flow) -> View | None:
    shape = entry.feed.shape
    if entry.feed.dtype.kind not in "fiu" or len(shape) not in {3, 4} or not entry.feed.size:
        return None
    if entry.is_image:
        positions = (entry.letters.index("H"), entry.letters.index("W"))
        channel = entry.letters.find("C")
        return View(entry.name, shape, positions, channel if channel > 0 else None)
    if entry.is_series and entry.feed.ndim == 3:
        time = entry.letters.index("T")
        return View(entry.name, shape, (time,), 3 - time)
    axis = flow.input_channel_axis(entry.name, len(shape)) if not entry.batch_axis else None
    if axis is None:
        axis = 1 if len(shape) == 4 else 2
    if axis == 0:
        return None
    return View(entry.name, shape, tuple(k for k in range(1, len(shape)) if k != axis), axis)


def _enlargement(cells: int, size: int) -> np.ndarray:
    """Return the matrix (size, cells) that interpolates linearly between the centres of cells."""
    place = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    low = np.minimum(place.astype(int), max(cells - 2, 0))
    matrix = np.zeros((size, cells))
    rows = np.arange(size)
    matrix[rows, low] = 1 - (place - low)
    if cells > 1:
        matrix[rows, low + 1] += place - low
    return matrix
