"""The windows of pooling: how they move over an input, and what is added around it so that they fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ..node import Node


@dataclass(frozen=True)
class Margin:
    """What is added to an axis: padding at both ends, and in ceil mode what the last window reaches beyond that.

    Negative numbers take away: a window that would start in the padding in ceil mode; and with SAME padding, as in
    ONNX Runtime, what lies beyond windows that are smaller than their stride.
    """

    begin: int
    end: int
    overhang: int


@dataclass(frozen=True)
class Geometry:
    """Size and way of a window, one number per spatial axis; ``pads`` are all begins, then all ends."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)


@dataclass(frozen=True)
class Window(Geometry):
    """Geometry of a pooling window."""

    ceil: bool

    @property
    def symmetric(self) -> bool:
        """Whether the padding is known, equal at both ends and at most half a window, as torch's own pooling wants."""
        begins, ends = self.pads[: self.rank], self.pads[self.rank :]
        small = all(2 * begin <= size for begin, size in zip(begins, self.kernel, strict=True))
        return not self.auto_pad.startswith("SAME") and begins == ends and small

    def margins(self, sizes: Sequence[int]) -> list[Margin]:
        """Return the margin of each axis of these sizes."""
        return [self._margin(axis, size) for axis, size in enumerate(sizes)]

    def _margin(self, axis: int, size: int) -> Margin:
        stride, extent = self.strides[axis], (self.kernel[axis] - 1) * self.dilations[axis] + 1
        if self.auto_pad.startswith("SAME"):
            total = (math.ceil(size / stride) - 1) * stride + extent - size
            begin = int((total if self.auto_pad == "SAME_UPPER" else total + 1) / 2)
            return Margin(begin, total - begin, 0)
        begin, end = self.pads[axis], self.pads[self.rank + axis]
        if not self.ceil:
            return Margin(begin, end, 0)
        count = math.ceil((size + begin + end - extent) / stride) + 1
        if (count - 1) * stride >= size + begin:
            count -= 1
        return Margin(begin, end, (count - 1) * stride + extent - size - begin - end)

    def even(self, sizes: Sequence[int]) -> tuple[int, ...] | None:
        """Return the padding of each axis if torch's pooling can add it: equal at both ends, at most half a window."""
        margins = self.margins(sizes)
        for margin, size in zip(margins, self.kernel, strict=True):
            if margin.begin != margin.end or margin.overhang or not 0 <= 2 * margin.begin <= size:
                return None
        return tuple(margin.begin for margin in margins)

    def padded(self, x: torch.Tensor, value: float) -> torch.Tensor:
        """Add the margins to the spatial axes."""
        amounts = [n for m in reversed(self.margins(x.shape[2:])) for n in (m.begin, m.end + m.overhang)]
        return functional.pad(x, amounts, value=value) if any(amounts) else x

    def views(self, x: torch.Tensor) -> torch.Tensor:
        """Return the windows of a padded tensor: (batch, channels, places.., positions in the window..), no copy."""
        for axis, (size, stride, dilation) in enumerate(zip(self.kernel, self.strides, self.dilations, strict=True)):
            x = x.unfold(2 + axis, (size - 1) * dilation + 1, stride)[..., ::dilation]
        return x

    @property
    def inside(self) -> tuple[int, ...]:
        """The axes of ``views`` that lie in the window."""
        return tuple(range(-self.rank, 0))


def window_of(node: Node) -> Window:
    """Read kernel, strides, dilations, padding and rounding of a pooling node."""
    attributes = node.attributes
    kernel = tuple(attributes["kernel_shape"])
    ones = (1,) * len(kernel)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    if auto_pad not in {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}:
        raise node.refusal("auto_pad", auto_pad)
    explicit = auto_pad == "NOTSET"
    return Window(
        kernel=kernel,
        strides=tuple(attributes.get("strides") or ones),
        dilations=tuple(attributes.get("dilations") or ones),
        pads=tuple((attributes.get("pads") if explicit else None) or (0,) * (2 * len(kernel))),
        auto_pad=auto_pad,
        ceil=bool(attributes.get("ceil_mode", 0)) and explicit,
    )
