"""Box error: whether a box around what stands out of the map misses the object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from ..errors import CapabilityError
from ..internals.maps import box_of
from ..registry import PREDICT, register
from ..settings import Range
from .boxes import box_round, iou_of
from .masks import needed
from .score import Reading, undefined
from .similarity import is_constant

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "box-error", needs=PREDICT, modalities=("image",), source="Selvaraju et al. 2017, arXiv:1610.02391")
@dataclass(frozen=True)
class BoxError:
    """1 where the box around the largest region above 15 % of the map's maximum misses the object.

    The mean over samples is the localisation error. It misses where the intersection over union is below ``overlap``
    with each of the boxes that were given, of which it need find one only; of a mask, with the box round all of it.

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
        if is_constant(found):
            return undefined("the map is constant: nothing stands out")
        box = box_of(found)
        if box is None:
            return undefined("nothing in the map is positive: there is no box")
        x0, y0, x1, y1 = (int(v) for v in box)
        best = max(iou_of((x0, y0, x1, y1), true) for true in trial.boxes or (box_round(mask),))
        return Reading(float(best < self.overlap), parts={"iou": best})
