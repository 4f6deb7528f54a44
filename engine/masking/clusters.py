"""Background rows in short: the centres of their clusters, weighted by how many rows each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from ..files import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .layout import MaskedInput

MOST_CLUSTERED = 20_000  # rows; of more, some are drawn first
STARTS = 10

Rows = dict[str, np.ndarray]
_latest: list[tuple[Rows, int, int, tuple[Rows, np.ndarray]]] = []  # of the same rows for the sample before


def centres(rows: Rows, inputs: Mapping[str, MaskedInput], count: int, seed: int) -> tuple[Rows, np.ndarray]:
    """Return at most ``count`` references by input name and their weights, the sizes of the clusters.

    k-means (Lloyd, ten starts) on the values as they are; each value of a centre is then replaced by the nearest that
    occurs in its column, so that whole numbers and codes stay what they are. Missing values count as their column's
    mean, and never occur in a centre. This is the convention of shap.kmeans. SettingError where an input holds text.
    """
    for entry in inputs.values():
        if entry.holds_text:
            raise SettingError(
                f"baseline 'kmeans' needs numbers; input {entry} holds text",
                tip="use 'background:10', which draws rows",
            )
    for kept, of, by, found in _latest:
        if of == count and by == seed and kept.keys() == rows.keys() and all(kept[n] is rows[n] for n in rows):
            return found
    found = _clustered(rows, count, seed)
    _latest[:] = [(dict(rows), count, seed, found)]
    return found


def _clustered(rows: Rows, count: int, seed: int) -> tuple[Rows, np.ndarray]:
    from sklearn.cluster import KMeans

    known = np.concatenate([a.reshape(len(a), -1).astype(np.float64) for a in rows.values()], axis=1)
    if np.isnan(known).all(axis=0).any():
        raise SettingError(
            "a column of the background data holds no value", tip="use 'background:10', which draws rows"
        )
    gaps = np.isnan(known)
    whole = np.where(gaps, np.nanmean(known, axis=0), known) if gaps.any() else known
    wanted = min(count, len(np.unique(whole, axis=0)))
    fitted = KMeans(n_clusters=wanted, n_init=STARTS, random_state=seed).fit(whole)
    found = np.empty_like(fitted.cluster_centers_)
    for column, centre in enumerate(fitted.cluster_centers_.T):
        values = np.unique(known[~gaps[:, column], column])
        found[:, column] = values[np.abs(values - centre[:, None]).argmin(axis=1)]
    sizes = np.bincount(fitted.labels_, minlength=wanted).astype(np.float64)
    references, start = {}, 0
    for name, array in rows.items():
        width = int(np.prod(array.shape[1:]))
        part = found[:, start : start + width].reshape(wanted, *array.shape[1:])
        references[name] = np.ascontiguousarray(part, dtype=array.dtype)
        start += width
    return references, sizes


def most_frequent(rows: np.ndarray) -> np.ndarray:
    """Return the text that each column holds most often (1, columns); of equals the first in order."""
    flat = rows.reshape(len(rows), -1)
    chosen = []
    for column in flat.T:
        values, counts = np.unique(column.astype(str), return_counts=True)
        chosen.append(str(values[counts.argmax()]))
    return np.array(chosen, dtype=object).reshape(1, *rows.shape[1:])


def clustered_note(total: int, used: int, centres_: int) -> str:
    """Say in words what was clustered."""
    drawn = f"{used:,} of {total:,} background rows, drawn and" if used < total else f"{total:,} background rows,"
    return f"baseline: {drawn} summarised by {excerpt(centres_)} weighted centres (k-means)"
