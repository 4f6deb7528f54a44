"""Regions of interest: RoiAlign, MaxRoiPool, NonMaxSuppression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node


AT_ONCE = 64  # regions: bounds the memory


@dataclass(frozen=True)
class Samples:
    """Where the bins of regions read one axis: the two neighbours of each sample and their weights.

    Both of shape (regions, bins, samples, 2); of the samples of a bin only the first ``counts[region]`` count.
    """

    places: torch.Tensor
    weights: torch.Tensor
    counts: torch.Tensor

    def means(self, length: int) -> torch.Tensor:
        """Return the mean over the samples of each bin as matrices (regions, bins, length)."""
        regions, bins = self.places.shape[:2]
        sums = self.weights.new_zeros(regions, bins, length)
        sums = sums.scatter_add(2, self.places.flatten(2), self.weights.flatten(2))
        return sums / self.counts.clamp(min=1).view(-1, 1, 1)


def _samples(starts: torch.Tensor, extents: torch.Tensor, bins: int, ratio: int, length: int) -> Samples:
    """Spread ``ratio`` samples over each bin, or for 0 about one per pixel; beyond the image they weigh nothing."""
    starts, extents = starts.view(-1, 1, 1), extents.view(-1, 1, 1)
    adaptive = torch.ceil(extents.detach() / bins).clamp(min=0)
    counts = torch.full_like(adaptive, ratio) if ratio > 0 else adaptive
    steps = torch.arange(bins, dtype=starts.dtype, device=starts.device).view(1, -1, 1)
    sample = torch.arange(int(counts.max()), dtype=starts.dtype, device=starts.device)
    at = starts + (steps + (sample + 0.5) / counts.clamp(min=1)) * (extents / bins)
    inside = (at >= -1) & (at <= length) & (sample < counts)
    at = at.clamp(0, length - 1)
    low = at.detach().floor()
    high = (low + 1).clamp(max=length - 1)
    part = at - low
    places = torch.stack((low, high), dim=-1).to(torch.int64)
    weights = torch.stack((1 - part, part), dim=-1)
    return Samples(places, torch.where(inside.unsqueeze(-1), weights, 0.0), counts.view(-1))


@converter("RoiAlign")
def roi_align(node: Node) -> Converted:
    """Bins of each region, read between the pixels: the mean of the samples (He et al. 2017), or the maximum.

    The maximum is that of the four weighted neighbours of each sample, as the reference has it.
    """
    attributes = node.attributes
    height, width = attributes["output_height"], attributes["output_width"]
    ratio = attributes.get("sampling_ratio", 0)
    coordinates = attributes.get("coordinate_transformation_mode", "output_half_pixel")
    mode = attributes["mode"]
    if mode not in {"avg", "max"}:
        raise node.refusal("mode", mode)
    if coordinates not in {"half_pixel", "output_half_pixel"}:
        raise node.refusal("coordinate_transformation_mode", coordinates)
    shift = 0.5 if coordinates == "half_pixel" else 0.0
    read = _bin_means if mode == "avg" else _bin_maxima

    def align(x: torch.Tensor, rois: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        numbers = images.tolist()
        pooled, order = [x.new_zeros(0, x.shape[1], height, width)], []
        for image in sorted(set(numbers)):
            members = [k for k, number in enumerate(numbers) if number == image]
            order += members
            for start in range(0, len(members), AT_ONCE):
                chosen = rois[members[start : start + AT_ONCE]] * attributes["spatial_scale"] - shift
                extents = chosen[:, 2:] - chosen[:, :2]
                extents = extents if shift else extents.clamp(min=1)
                columns = _samples(chosen[:, 0], extents[:, 0], width, ratio, x.shape[3])
                rows = _samples(chosen[:, 1], extents[:, 1], height, ratio, x.shape[2])
                pooled.append(read(x[image], rows, columns))
        return torch.cat(pooled)[torch.argsort(torch.tensor(order, dtype=torch.int64, device=x.device))]

    return function_module(align, node)


def _bin_means(image: torch.Tensor, rows: Samples, columns: Samples) -> torch.Tensor:
    by_row = torch.einsum("rph,chw->rcpw", rows.means(image.shape[1]), image)
    return torch.einsum("rcpw,rqw->rcpq", by_row, columns.means(image.shape[2]))


def _bin_maxima(image: torch.Tensor, rows: Samples, columns: Samples) -> torch.Tensor:
    height, width = rows.places.shape[1], columns.places.shape[1]
    pooled = []
    for region in range(len(rows.counts)):
        tall, wide = int(rows.counts[region]), int(columns.counts[region])
        if not tall * wide:
            pooled.append(image.new_zeros(image.shape[0], height, width))
            continue
        down, across = rows.places[region, :, :tall], columns.places[region, :, :wide]
        read = image[:, down.reshape(-1)][:, :, across.reshape(-1)]
        read = read * rows.weights[region, :, :tall].reshape(-1, 1) * columns.weights[region, :, :wide].reshape(-1)
        pooled.append(read.view(-1, height, 2 * tall, width, 2 * wide).amax((2, 4)))
    return torch.stack(pooled)


@converter("MaxRoiPool")
def max_roi_pool(node: Node) -> Converted:
    """Largest pixel in each bin of each region, whose corners are rounded to pixels (Girshick 2015); 0 where empty."""
    height, width = node.attributes["pooled_shape"]
    scale = node.attributes["spatial_scale"]

    def pool(x: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        pooled = []
        for image, *corners in rois.tolist():
            left, top, right, bottom = (math.floor(abs(c * scale) + 0.5) * (1 if c >= 0 else -1) for c in corners)
            rows = _bins(top, max(bottom - top + 1, 1), height, x.shape[2])
            columns = _bins(left, max(right - left + 1, 1), width, x.shape[3])
            by_row = _maxima(x[int(image)], rows, 1)
            pooled.append(_maxima(by_row, columns, 2))
        return torch.stack(pooled) if pooled else x.new_zeros(0, x.shape[1], height, width)

    return function_module(pool, node)


def _bins(start: int, extent: int, bins: int, length: int) -> list[tuple[int, int]]:
    """Return the first pixel and the end of each bin, within the image."""
    edges = [(math.floor(k * extent / bins), math.ceil((k + 1) * extent / bins)) for k in range(bins)]
    return [(min(max(a + start, 0), length), min(max(b + start, 0), length)) for a, b in edges]


def _maxima(x: torch.Tensor, bins: list[tuple[int, int]], axis: int) -> torch.Tensor:
    parts = [
        x.narrow(axis, first, end - first).amax(axis) if end > first else torch.zeros_like(x.sum(axis))
        for first, end in bins
    ]
    return torch.stack(parts, axis)


@converter("NonMaxSuppression")
def non_max_suppression(node: Node) -> Converted:
    """Keep boxes from the highest score down, unless they overlap one kept before; rows (image, class, box)."""
    centred = bool(node.attributes.get("center_point_box", 0))

    def suppress(
        boxes: torch.Tensor,
        scores: torch.Tensor,
        most: torch.Tensor | None = None,
        overlap: torch.Tensor | None = None,
        threshold: torch.Tensor | None = None,
    ) -> torch.Tensor:
        limit = 0 if most is None else int(most)
        largest = 0.0 if overlap is None else float(overlap)
        kept = []
        for image in range(scores.shape[0]):
            corners = _corners(boxes[image].detach(), centred=centred)
            for kind in range(scores.shape[1]):
                order = _by_score(scores[image, kind].detach(), threshold)
                kept += [(image, kind, box) for box in _kept(corners, order, limit, largest)]
        return torch.tensor(kept, dtype=torch.int64, device=scores.device).view(-1, 3)

    return function_module(suppress, node)


def _corners(boxes: torch.Tensor, *, centred: bool) -> torch.Tensor:
    """Return boxes as (low, low, high, high), whichever corners they were given by."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if centred:
        return torch.cat((first - second / 2, first + second / 2), dim=1)
    return torch.cat((torch.minimum(first, second), torch.maximum(first, second)), dim=1)


def _by_score(scores: torch.Tensor, threshold: torch.Tensor | None) -> torch.Tensor:
    """Return the boxes above the threshold from the highest score down, equal scores in the order of the boxes."""
    if threshold is None:
        return torch.argsort(scores, descending=True, stable=True)
    above = torch.nonzero(scores > threshold.reshape(())).reshape(-1)
    return above[torch.argsort(scores[above], descending=True, stable=True)]


def _kept(boxes: torch.Tensor, order: torch.Tensor, limit: int, largest: float) -> list[int]:
    kept: list[int] = []
    while len(kept) < limit and order.numel():
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[_overlap(boxes[best], boxes[order]) <= largest]
    return kept


def _overlap(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the intersection of a box with others over their union; 0 where there is no area."""
    sides = torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])
    shared = sides.clamp(min=0).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return torch.where(union > 0, shared / union, 0.0)
