"""Superpixels: regions of an image that look alike, as labels (height, width) numbered from 0 without gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layout import MaskedInput

COMPACTNESS = (10.0, 100.0, 1000.0)


def picture_of(entry: MaskedInput) -> np.ndarray | None:
    """Return the uint8 picture (height, width, 3) in an input's feed, None if its preprocessing is not known."""
    unnamed = entry.axes(".")
    if entry.spec.preprocessing is None or any(entry.feed.shape[axis] != 1 for axis in unnamed):
        return None
    from ..inputs.image import to_view

    layout = "N" + entry.letters.replace(".", "")
    try:
        return to_view(entry.feed.squeeze(unnamed)[None], entry.spec.preprocessing, layout)
    except InputError:
        return None


def slic(image: np.ndarray, count: int) -> np.ndarray:
    """Cut into about ``count`` compact regions by k-means in CIELAB colour and position (Achanta et al. 2012).

    The image is smoothed with a Gaussian of one pixel first. Compactness is 10, and ten times that, then a hundred
    times, as long as regions scatter so much (as in noise) that joining the scraps leaves less than half of ``count``.
    """
    from skimage.segmentation import slic as segment

    for compactness in COMPACTNESS:
        labels = _numbered(segment(image, n_segments=count, compactness=compactness, sigma=1, start_label=0))
        if 2 * (labels.max() + 1) >= count:
            break
    return labels


def quickshift(image: np.ndarray, kernel_size: float) -> np.ndarray:
    """Cut by mode seeking in colour and position (Vedaldi and Soatto 2008), as LIME does.

    ``kernel_size`` is the width in pixels of the Gaussian that the density is estimated with. As in LIME's code,
    regions reach up to 200 and colour counts 0.2 times as much as position. Ties are broken by a fixed seed.
    """
    from skimage import segmentation

    segment: Callable[..., np.ndarray] = segmentation.quickshift
    return _numbered(segment(image, kernel_size=kernel_size, max_dist=200, ratio=0.2, rng=0))


def felzenszwalb(image: np.ndarray, scale: float) -> np.ndarray:
    """Cut the graph of neighbouring pixels (Felzenszwalb and Huttenlocher 2004); larger ``scale``, larger regions.

    The image is smoothed with a Gaussian of 0.8 pixels first; regions have at least 20 pixels.
    """
    from skimage.segmentation import felzenszwalb as segment

    return _numbered(segment(image, scale=scale, sigma=0.8, min_size=20))


def _numbered(labels: np.ndarray) -> np.ndarray:
    _, numbered = np.unique(labels, return_inverse=True)
    return numbered.reshape(labels.shape).astype(np.int64)
