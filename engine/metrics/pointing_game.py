"""Pointing game: whether the highest point of the map is where the evidence is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .masks import needed
from .score import Reading, undefined
from .similarity import is_constant

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "pointing-game", needs=PREDICT, source="Zhang et al. 2018, arXiv:1608.00507")
@dataclass(frozen=True)
class PointingGame:
    """1 where the map's highest value lies inside the mask; the mean over samples is the accuracy.

    Of tied maxima the first in reading order counts, or any, or the share of them inside (``ties``). ``tolerance``
    also takes a point within that many pixels of the mask for a hit (the paper: 15). Signed values: the highest is
    what speaks for the target most.

    Source: Zhang, Bargal, Lin, Brandt, Shen and Sclaroff 2018, Top-down neural attention by excitation backprop,
    arXiv:1608.00507, section 4.1; it does not say what becomes of ties.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of samples whose highest point lies inside the mask"
    cost: ClassVar[str] = "none"
    needs_mask: ClassVar[bool] = True

    ties: Annotated[Literal["first", "any", "share"], "which of several maxima counts"] = "first"
    tolerance: Annotated[int, "pixels around the mask that count as inside", Range(0, 10_000)] = 0

    @property
    def is_share(self) -> bool:
        """Say whether samples are 0 or 1: not where ties count by the share of them that is inside."""
        return self.ties != "share"

    def score(self, trial: Trial) -> Reading:
        """Look whether the maximum is inside."""
        mask, found = needed(trial), trial.map
        if is_constant(found):
            return undefined("the map is constant: it has no highest point")
        if self.tolerance:
            from scipy.ndimage import distance_transform_edt

            mask = np.asarray(distance_transform_edt(~mask)) <= self.tolerance
        inside = mask[found == found.max()]
        value = {"first": inside[0], "any": inside.any(), "share": inside.mean()}[self.ties]
        return Reading(float(value), parts={"maxima": float(inside.size)})
