"""Class activation maps: channels weighted and added up, enlarged to the input, with a box around what stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, SettingError, printable
from ..explanation import Explanation
from .view import view_of

if TYPE_CHECKING:
    from ..problem import Problem
    from .layer import Layer
    from .view import View

BOX_ABOVE = 0.15  # of the maximum, Selvaraju et al. 2017, section 4.1


def weighted(A: np.ndarray, alpha: np.ndarray, *, relu: bool) -> np.ndarray:
    """Return ``sum_k alpha_k A_k`` (B, *grid) of activations (B, K, *grid), its positive part with ``relu``.

    ``alpha`` is a weight per channel (B, K), or one per channel and position (B, K, *grid).
    """
    alpha = alpha.reshape(*alpha.shape, *[1] * (A.ndim - alpha.ndim))
    found: np.ndarray = (alpha * A).sum(axis=1)
    return np.maximum(found, 0) if relu else found


def box_of(found: np.ndarray) -> np.ndarray | None:
    """Return x0, y0, x1, y1 (the far ends excluded) around the largest region above 15 % of a map's maximum.

    Pixels that share an edge are of one region; of equal ones the first is taken. None where nothing is positive.
    Source: Selvaraju et al. 2017, Grad-CAM, section 4.1.
    """
    if found.ndim != 2 or not found.size or found.max() <= 0:
        return None
    from scipy import ndimage

    regions, count = ndimage.label(found > BOX_ABOVE * found.max())
    largest = 1 + int(np.argmax(ndimage.sum_labels(np.ones_like(found), regions, np.arange(1, count + 1))))
    rows, columns = ndimage.find_objects(regions)[largest - 1]
    return np.array([columns.start, rows.start, columns.stop, rows.stop])


def explanation_of(
    problem: Problem,
    layer: Layer,
    found: np.ndarray,
    *,
    score: float,
    upsample: bool,
    evaluations: int = 1,
    weights: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Explanation:
    """Make an Explanation of a map (*grid) at a layer.

    With ``upsample`` the values are the map enlarged to the input, the same in all of its channels; else the map itself
    under the tensor's name, with a batch axis and a channel axis of one. ``extras`` hold the map as it is (``map``),
    the weights of the channels where each has one (``weights``), and the box in pixels of the input (``box``, see
    ``box_of``). Where layer and input have no grid in common nothing can be enlarged, and a note says so.
    """
    if not np.isfinite(found).all():
        raise ModelError(
            f"the map at tensor '{printable(layer.tensor)}' is not finite",
            where=f"target '{printable(problem.target.text)}'",
            tip="the activations or gradients overflow for this input; check the preprocessing",
        )
    view = view_of(problem)
    large = enlarged(found, layer, view)
    values, told = _values(layer, found, view, large if upsample else None)
    extras = {"map": found} | ({} if weights is None else {"weights": weights})
    box = None if large is None else box_of(large)
    if not np.any(found):
        told = (*told, f"the map is zero everywhere: nothing at '{printable(layer.tensor)}' has the sign asked for")
    if upsample and large is None:
        told = (*told, f"not enlarged: '{printable(layer.tensor)}' has no grid in common with an input")
    return Explanation(
        values=values,
        method=problem.method,
        settings={},
        target=problem.target.text,
        label=problem.target.label,
        score=score,
        evaluations=evaluations,
        sample=problem.sample,
        notes=(*told, *notes),
        extras=extras | ({} if box is None else {"box": box}),
        **fields,
    )


def enlarged(found: np.ndarray, layer: Layer, view: View | None) -> np.ndarray | None:
    """Return a map (*grid) enlarged to the input's positions, or None where it has other axes than these."""
    if view is None or not layer.grid or len(layer.grid) != len(view.size):
        return None
    large: np.ndarray = view.enlarged(found[None])[0]
    return large


def _values(
    layer: Layer, found: np.ndarray, view: View | None, large: np.ndarray | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    if view is None or large is None:
        return {layer.tensor: layer.shaped(found)}, (f"map of {_sizes(found)} at '{printable(layer.tensor)}'",)
    note = f"map of {_sizes(found)} at '{printable(layer.tensor)}', enlarged to {_sizes(large)}"
    return {view.name: view.spread(large)}, (note,)


def _sizes(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "one number"


def scores_of(problem: Problem, rows: np.ndarray) -> float:
    """Return the target's score of the sample from its tensor's row; ``ModelError`` where it is not finite."""
    scores = problem.target.scores(rows[:1])
    return float(problem.target.finite(scores, "the model overflows on this input; check the preprocessing")[0])


def activations_of(problem: Problem, layer: Layer) -> tuple[np.ndarray, float]:
    """Return the row (1, ...) of a layer and the score, by one run on ONNX Runtime."""
    names = (layer.tensor, problem.target.tensor)
    rows = problem.model.rows(problem.sample.feeds, tuple(dict.fromkeys(names)))
    if rows[0].shape != layer.shape:
        raise SettingError(
            f"tensor '{printable(layer.tensor)}' has the shape {list(rows[0].shape)} for this input, "
            f"not {list(layer.shape)}"
        )
    return rows[0], scores_of(problem, rows[-1])
