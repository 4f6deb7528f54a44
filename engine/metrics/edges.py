"""The control that sees the input alone: an edge detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CapabilityError
from ..masking.layout import masked_inputs
from ..registry import PREDICT, register
from .random_map import control

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..explanation import Explanation
    from ..problem import Problem


@register(
    "explainer",
    "edges",
    needs=PREDICT,
    modalities=("image",),
    source="a control, as in Adebayo et al. 2018, arXiv:1810.03292",
)
@dataclass(frozen=True)
class Edges:
    """A control, no explanation: how strong the edges of the picture are (Sobel magnitude of its grey values).

    It depends on the input alone: no sanity check of the model's weights can move it.
    """

    def explain(self, problem: Problem) -> Explanation:
        """Find the edges of each image input."""
        from skimage.filters import sobel

        magnitude: Callable[[np.ndarray], np.ndarray] = sobel
        inputs = {n: e for n, e in masked_inputs(problem.model, problem.sample).items() if e.is_image}
        if not inputs:
            raise CapabilityError("edges needs an image, and no input of this model is one")
        values = {}
        for name, entry in inputs.items():
            others = tuple(axis for axis, letter in enumerate(entry.letters) if letter not in "HW")
            grey = entry.feed.astype(np.float64).mean(axis=others)
            found = np.asarray(magnitude(grey), dtype=np.float64)
            shape = [1] * entry.feed.ndim
            for axis in (entry.letters.index("H"), entry.letters.index("W")):
                shape[axis] = entry.feed.shape[axis]
            values[name] = np.broadcast_to(found.reshape(shape), entry.feed.shape).copy()
        return control(problem, values)
