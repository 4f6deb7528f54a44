"""Noisy linear imputation without its noise: removed pixels become the weighted means of their neighbours."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

DIRECT, DIAGONAL = 1 / 6, 1 / 12  # weights of neighbours that share an edge, and a corner
LEAF = 16  # pixels of a block that is not cut further


def imputed(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) whose removed pixels (H, W) are the weighted means of their neighbours.

    Removed neighbours count too, so it is a sparse linear system: ``x_u sum_v w_uv - sum_(v removed) w_uv x_v =
    sum_(v left) w_uv x_v``, neighbours outside the image left out. All channels are solved with one factorisation.
    What is left must hold a pixel at least.
    """
    if not removed.any():
        return image.copy()
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import splu

    height, width, _ = image.shape
    unknown = _dissection(height, width)
    unknown = unknown[removed.ravel()[unknown]]
    number = np.full((height + 2, width + 2), -1, dtype=np.int32)
    rows, columns = np.divmod(unknown, width)
    number[rows + 1, columns + 1] = np.arange(len(unknown))
    places, weights = _neighbours(width + 2)
    near = number.ravel()[((rows + 1) * (width + 2) + columns + 1)[:, None] + places]
    total = _around(np.ones((height, width)))[rows, columns]
    entries = np.where(np.arange(len(weights)) == len(weights) // 2, total[:, None], -weights)
    held = near >= 0
    ends = np.append(0, np.cumsum(held.sum(axis=1))).astype(np.int32)
    system = csc_array((entries[held], near[held], ends), shape=(len(unknown),) * 2)  # symmetric: rows are columns
    known = _around(np.where(removed[..., None], 0.0, image))[rows, columns]
    # The order is the best already, and single columns are quicker than blocks on so sparse a system.
    factors = splu(
        system, permc_spec="NATURAL", diag_pivot_thresh=0.0, relax=1, panel_size=1, options={"SymmetricMode": True}
    )
    found = image.copy()
    found[rows, columns] = factors.solve(known)
    return found


def _around(image: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the neighbours of each pixel (H, W, ...), zero outside: ``[1 2 1]`` along both sides.

    The weights are 1/12 of that product, but for the pixel itself.
    """
    down = 2 * image
    down[1:] += image[:-1]
    down[:-1] += image[1:]
    both = 2 * down
    both[:, 1:] += down[:, :-1]
    both[:, :-1] += down[:, 1:]
    return np.asarray((both - 4 * image) * DIAGONAL)


def _neighbours(stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far off the nine pixels around one are in C order, and their weights; the middle one has none."""
    down, right = np.mgrid[-1:2, -1:2].reshape(2, 9)
    weights = np.where(down * right == 0, DIRECT, DIAGONAL)
    return down * stride + right, weights


@lru_cache(maxsize=8)
def _dissection(height: int, width: int) -> np.ndarray:
    """Return the pixels of a grid in an order in which few numbers fill in: both halves, then the line between them.

    The order of any part of the grid is as good. Source: George 1973, Nested dissection of a regular finite element
    mesh.
    """
    place = np.empty((height, width), dtype=np.intp)
    blocks = [(0, height, 0, width, height * width)]  # the last is where its places end
    while blocks:
        top, bottom, left, right, end = blocks.pop()
        high, wide = bottom - top, right - left
        if high * wide <= LEAF:
            place[top:bottom, left:right] = np.arange(end - high * wide, end).reshape(high, wide)
        elif wide >= high:
            middle = (left + right) // 2
            place[top:bottom, middle] = np.arange(end - high, end)
            second = end - high - high * (right - middle - 1)
            blocks += [(top, bottom, middle + 1, right, end - high), (top, bottom, left, middle, second)]
        else:
            middle = (top + bottom) // 2
            place[middle, left:right] = np.arange(end - wide, end)
            second = end - wide - wide * (bottom - middle - 1)
            blocks += [(middle + 1, bottom, left, right, end - wide), (top, middle, left, right, second)]
    return np.argsort(place.ravel())
