"""Resize and Upsample, in all modes of all versions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .interpolation import COORDINATES, NEAREST, Axis, Interpolation
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ..node import Node


def _scaled(shape: Sequence[int], axes: Sequence[int], scales: Sequence[float], roi: Sequence[float]) -> list[Axis]:
    """Return the axes for given scales; new lengths are rounded down, products in float32 as in ONNX Runtime."""
    found = []
    for place, (axis, scale) in enumerate(zip(axes, scales, strict=True)):
        width = float(np.float32(scale) * np.float32(shape[axis]))
        found.append(Axis(axis, shape[axis], int(width), scale, width, *_part(roi, place)))
    return found


def _sized(
    shape: Sequence[int], axes: Sequence[int], sizes: Sequence[int], roi: Sequence[float], policy: str
) -> list[Axis]:
    """Return the axes for given sizes, or the closest sizes with one ratio for all axes."""
    ratios = [size / shape[axis] for axis, size in zip(axes, sizes, strict=True)]
    if policy != "stretch":
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(ratios)
        sizes = [math.floor(ratio * shape[axis] + 0.5) for axis in axes]
    return [
        Axis(axis, shape[axis], size, ratio, size, *_part(roi, place))
        for place, (axis, size, ratio) in enumerate(zip(axes, sizes, ratios, strict=True))
    ]


def _part(roi: Sequence[float], place: int) -> tuple[float, float]:
    """Return start and end of the part of an axis that counts; ``roi`` holds all starts, then all ends."""
    return (roi[place], roi[len(roi) // 2 + place]) if roi else (0.0, 1.0)


@converter("Resize", since=11)
def resize(node: Node) -> Converted:
    """Resize to given sizes, or by given scales."""
    attributes = node.attributes
    how = Interpolation(
        mode=attributes["mode"],
        coordinates=attributes["coordinate_transformation_mode"],
        nearest=attributes["nearest_mode"],
        cubic_a=attributes["cubic_coeff_a"],
        antialias=bool(attributes.get("antialias", 0)),
        exclude_outside=bool(attributes.get("exclude_outside", 0)),
        extrapolation=attributes.get("extrapolation_value", 0.0),
    )
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    _check(node, how, policy)
    if not node.given(2) and not node.given(3):
        raise node.refusal("sizes", "left out, as are the scales")
    known = {k: v.reshape(-1).tolist() for k in (1, 2, 3) if (v := node.constant(k)) is not None}
    computed = [k for k in (1, 2, 3) if node.given(k) and k not in known]

    def interpolate(x: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        given = known | {k: t.tolist() for k, t in zip(computed, tensors, strict=True)}
        axes = [axis % x.ndim for axis in attributes.get("axes") or range(x.ndim)]
        roi = given.get(1, []) if how.coordinates == "tf_crop_and_resize" else []
        if given.get(3):
            return how(x, _sized(x.shape, axes, given[3], roi, policy))
        return how(x, _scaled(x.shape, axes, given[2], roi))

    return function_module(interpolate, node, takes=(0, *computed))


def _check(node: Node, how: Interpolation, policy: str) -> None:
    if how.mode not in {"nearest", "linear", "cubic"}:
        raise node.refusal("mode", how.mode)
    if how.coordinates not in COORDINATES:
        raise node.refusal("coordinate_transformation_mode", how.coordinates)
    if how.nearest not in NEAREST:
        raise node.refusal("nearest_mode", how.nearest)
    if policy not in {"stretch", "not_larger", "not_smaller"}:
        raise node.refusal("keep_aspect_ratio_policy", policy)


@converter("Upsample")
@converter("Resize", until=10)
def upsample(node: Node) -> Converted:
    """Resize by scales given as attribute or input.

    Coordinates are ``x / scale``, rounded down when nearest; but up where an axis shrinks, as ONNX Runtime does.
    """
    mode = node.attributes["mode"]
    if mode not in {"nearest", "linear", "bilinear"}:
        raise node.refusal("mode", mode)
    up = Interpolation("nearest" if mode == "nearest" else "linear", "asymmetric", "floor")
    down = Interpolation(up.mode, "asymmetric", "ceil")

    def by(x: torch.Tensor, scales: Sequence[float]) -> torch.Tensor:
        axes = _scaled(x.shape, range(x.ndim), scales, ())
        return down(up(x, [a for a in axes if a.scale >= 1]), [a for a in axes if a.scale < 1])

    known = node.constant(1)
    if node.given(1) and known is None:
        return function_module(lambda x, scales: by(x, scales.tolist()), node)
    fixed = known.tolist() if known is not None else _attribute_scales(node)
    return function_module(lambda x: by(x, fixed), node, takes=(0,))


def _attribute_scales(node: Node) -> list[float]:
    attributes = node.attributes
    if "scales" in attributes:
        return list(attributes["scales"])
    return [1.0, 1.0, attributes["height_scale"], attributes["width_scale"]]
