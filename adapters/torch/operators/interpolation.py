"""Interpolation along one axis after the other: where to read and with which weights, or by torch where it is equal."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from .unsigned import through_int64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COORDINATES = {
    "align_corners",
    "asymmetric",
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "tf_crop_and_resize",
}
NEAREST: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "ceil": torch.ceil,
    "floor": torch.floor,
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
}
# From these lengths on torch's own interpolation is faster, forward and backward together, than products with matrices.
NATIVE_FROM = {"nearest": 0, "linear": 128, "cubic": 256}
SHORT = 512  # up to this length a product with a matrix, though mostly zeros, beats reading the taps one by one


@dataclass(frozen=True)
class Axis:
    """One axis, resized from ``length`` to ``resized``, by ``scale``; ``start`` to ``end`` is the part that counts.

    ``width`` is the new length that align_corners goes by: before it was rounded down where scales are given.
    """

    axis: int
    length: int
    resized: int
    scale: float
    width: float
    start: float = 0.0
    end: float = 1.0

    @property
    def exact(self) -> bool:
        """Whether the new length is the old one times the scale, and not rounded."""
        return math.isclose(self.length * self.scale, self.resized, rel_tol=1e-6) and self.width == self.resized

    @property
    def unchanged(self) -> bool:
        """Whether nothing is to be done."""
        return self.resized == self.length and self.exact and (self.start, self.end) == (0.0, 1.0)


@dataclass(frozen=True)
class Taps:
    """For each place on the new axis, the places on the old one and their weights, both of shape (resized, taps).

    ``outside`` marks the places that get the extrapolation value.
    """

    places: torch.Tensor
    weights: torch.Tensor
    outside: torch.Tensor | None

    def matrix(self, length: int) -> torch.Tensor:
        """Return the weights as a matrix (resized, length)."""
        return self.weights.new_zeros(len(self.places), length).scatter_add(1, self.places, self.weights)


@dataclass(frozen=True)
class Interpolation:
    """How values between the elements are found; attributes as in ONNX."""

    mode: str
    coordinates: str
    nearest: str = "floor"
    cubic_a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolation: float = 0.0

    @functools.lru_cache(maxsize=512)  # noqa: B019  # settings are few and small, and compare by value
    def taps(self, axis: Axis) -> Taps:
        """Return the taps of an axis, in float64."""
        with torch.inference_mode(mode=False):  # what is kept must be of use to calls with gradients too
            return self._taps(axis)

    def _taps(self, axis: Axis) -> Taps:
        at = self._coordinates(axis)
        outside = None
        if self.coordinates == "tf_crop_and_resize":
            outside = (at < 0) | (at > axis.length - 1)
        if self.mode == "nearest":
            places = NEAREST[self.nearest](at).unsqueeze(1)
            weights = torch.ones_like(places)
        else:
            places, weights = self._kernel(at, min(axis.scale, 1.0) if self.antialias else 1.0)
        if self.exclude_outside:
            weights = weights.masked_fill((places < 0) | (places > axis.length - 1), 0.0)
            weights = weights / weights.sum(1, keepdim=True)
        return Taps(places.clamp(0, axis.length - 1).to(torch.int64), weights, outside)

    def _coordinates(self, axis: Axis) -> torch.Tensor:
        """Return where on the old axis the elements of the new one lie; in float32, so that ties are the runtime's."""
        x = torch.arange(axis.resized, dtype=torch.float32)
        last = axis.length - 1
        match self.coordinates:
            case "asymmetric":
                at = x / axis.scale
            case "align_corners":
                at = x * last / (axis.width - 1) if axis.width != 1 else x * 0
            case "tf_crop_and_resize" if axis.resized == 1:
                at = x + (axis.start + axis.end) * last / 2
            case "tf_crop_and_resize":
                at = axis.start * last + x * (axis.end - axis.start) * last / (axis.resized - 1)
            case "pytorch_half_pixel" if axis.resized == 1:
                at = x * 0
            case "half_pixel_symmetric":
                adjustment = np.float32(axis.resized) / (np.float32(axis.scale) * np.float32(axis.length))
                offset = np.float32(axis.length / 2) * (np.float32(1) - adjustment)
                at = float(offset) + (x + 0.5) / axis.scale - 0.5
            case _:
                at = (x + 0.5) / axis.scale - 0.5
        return at.to(torch.float64)

    def _kernel(self, at: torch.Tensor, shrink: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return places and weights of the linear or cubic kernel, stretched by ``1 / shrink`` to smooth."""
        linear = self.mode == "linear"
        reach = math.ceil((1 if linear else 2) / shrink)
        floor = at.floor()
        places = floor.unsqueeze(1) + torch.arange(1 - reach, reach + 1, dtype=torch.float64)
        distance = ((places - at.unsqueeze(1)) * shrink).abs()
        if linear:
            weights = (1 - distance).clamp(min=0)
        else:
            a, d = self.cubic_a, distance
            near = ((a + 2) * d - (a + 3)) * d * d + 1
            far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            weights = torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
        return places, weights / weights.sum(1, keepdim=True)

    def __call__(self, x: torch.Tensor, axes: Sequence[Axis]) -> torch.Tensor:
        """Resize ``x`` along the axes."""
        # Shrinking first, and the last axes before the others, keeps what lies between small.
        changed = sorted((a for a in axes if not a.unchanged), key=lambda a: (a.resized > a.length, -a.axis))
        if not changed:
            return x
        native = self._native(x, changed)
        if native is not None:
            return native
        if self.mode == "nearest" and self.coordinates != "tf_crop_and_resize":
            return functools.reduce(self._picked, changed, x)
        wide = x if x.dtype in {torch.float32, torch.float64} else x.float()
        result = functools.reduce(self._mixed, changed, wide)
        if not x.is_floating_point():
            limits = torch.iinfo(x.dtype)
            result = result.round().clamp(limits.min, limits.max)
        return result.to(x.dtype)

    def _native(self, x: torch.Tensor, axes: Sequence[Axis]) -> torch.Tensor | None:
        """Return what torch's own interpolation gives where it is the same and faster, else None."""
        exact = all(axis.exact and axis.axis >= 2 for axis in axes)
        long = max(axis.length for axis in axes) >= NATIVE_FROM[self.mode]
        if not 3 <= x.ndim <= 5 or not exact or not long or not x.is_floating_point():
            return None
        size = list(x.shape[2:])
        for axis in axes:
            size[axis.axis - 2] = axis.resized
        if self.mode == "nearest":
            if not all(axis.scale in {2.0, 4.0, 8.0} and self._repeats(axis) for axis in axes):
                return None
            return functional.interpolate(x, size)
        pixels = {"align_corners": True, "half_pixel": False, "pytorch_half_pixel": False}.get(self.coordinates)
        single = self.coordinates == "pytorch_half_pixel" and any(axis.resized == 1 for axis in axes)
        if pixels is None or single or self.antialias or self.exclude_outside:
            return None
        if self.mode == "linear":
            name = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
        elif x.ndim == 4 and self.cubic_a == -0.75:
            name = "bicubic"
        else:
            return None
        return functional.interpolate(x, size, mode=name, align_corners=pixels)

    @functools.lru_cache(maxsize=512)  # noqa: B019  # as above
    def _repeats(self, axis: Axis) -> bool:
        """Whether each element is taken a whole number of times in turn."""
        if axis.resized % axis.length:
            return False
        repeated = torch.arange(axis.resized) // (axis.resized // axis.length)
        return torch.equal(self.taps(axis).places[:, 0], repeated)

    def _picked(self, x: torch.Tensor, axis: Axis) -> torch.Tensor:
        if self._repeats(axis):
            count = axis.resized // axis.length
            shape = (*x.shape[: axis.axis + 1], count, *x.shape[axis.axis + 1 :])
            return x.unsqueeze(axis.axis + 1).expand(shape).flatten(axis.axis, axis.axis + 1)
        places = self.taps(axis).places[:, 0].to(x.device)
        if axis.axis == x.ndim - 1:  # several times as fast there as index_select
            places = places.expand(*x.shape[:-1], axis.resized)
            return through_int64(lambda values: values.gather(-1, places))(x)
        return through_int64(lambda values: values.index_select(axis.axis, places))(x)

    def _mixed(self, x: torch.Tensor, axis: Axis) -> torch.Tensor:
        taps = self.taps(axis)
        last = (-1, *(1,) * (x.ndim - 1 - axis.axis))
        if axis.length <= SHORT or taps.places.shape[1] > SHORT:
            matrix = taps.matrix(axis.length).to(x)
            if axis.axis == x.ndim - 2:
                result = matrix @ x
            else:
                result = functional.linear(x.movedim(axis.axis, -1), matrix).movedim(-1, axis.axis)
        else:
            places, weights = taps.places.to(x.device).unbind(1), taps.weights.to(x).unbind(1)
            parts = [x.index_select(axis.axis, p) * w.view(last) for p, w in zip(places, weights, strict=True)]
            result = functools.reduce(torch.add, parts)
        if taps.outside is None:
            return result
        return result.masked_fill(taps.outside.to(x.device).view(last), self.extrapolation)
