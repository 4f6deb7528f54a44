"""Box error: whether a box around what stands out of the map misses the object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..errors import CapabilityError
from ..internals.maps import box_of
from ..registry import PREDICT, register
from ..settings import Range
from .masks import needed
from .score import Reading, undefined

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "box-error", needs=PREDICT, modalities=("image",), source="Selvaraju et al. 2017, arXiv:1610.02391")
@dataclass(frozen=True)
class BoxError:
    """1 where the box around the largest region above 15 % of the map's maximum misses the object.

    The mean over samples is the localisation error. It misses where the intersection over union with the box around
    the mask is below ``overlap``.

    Source: Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391, section 4.1 (ILSVRC's localisation error).
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of samples whose box (15 % of the maximum) misses the object"
    cost: ClassVar[str] = "none"
    needs_mask: ClassVar[bool] = True
    is_share: ClassVar[bool] = True

    overlap: Annotated[float, "intersection over union that is enough", Range(0.01, 1)] = 0.5

    def score(self, trial: Trial) -> Reading:
        """Draw both boxes and compare."""
        mask, found = needed(trial), trial.map
        if found.ndim != 2:
            raise CapabilityError("box-error is for images", tip="use relevance-mass or pointing-game")
        box = box_of(found)
        if box is None:
            return undefined("nothing in the map is positive: there is no box")
        rows, columns = np.nonzero(mask)
        true = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        share = _iou([int(v) for v in box], [int(v) for v in true])
        return Reading(float(share < self.overlap), parts={"iou": share})


def _iou(a: list[int], b: list[int]) -> float:
    wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return wide * high / (sum(areas) - wide * high)
