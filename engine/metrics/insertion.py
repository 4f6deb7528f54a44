"""Insertion: how fast the score rises as the most important features are put into a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..registry import PREDICT, register
from ..settings import Range
from .deletion import area_of
from .removal import Area, Rank
from .trial import Of, Trial

if TYPE_CHECKING:
    from .score import Reading


@register("metric", "insertion", needs=PREDICT, source="Petsiuk et al. 2018, arXiv:1806.07421")
@dataclass(frozen=True)
class Insertion:
    """Area under the score as the features with the highest values are put into the baseline first.

    ``AUC = integral over 0..1 of f(baseline with the first t M features of x) dt``, by trapezoids, from the baseline to
    the whole input. High is good: few features are enough. ``normalise`` as for ``deletion``.

    Source: Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421, section 4.2. They insert into a blurred image (a
    kernel of 11 pixels, sigma 5), to which ``baseline=blur:5`` comes close; zeros are the default here so that
    deletion and insertion speak of the same baseline.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    meaning: ClassVar[str] = "mean score while the most important features are put in; 0 to 1 of a probability"
    cost: ClassVar[str] = "steps + 1"

    features: Annotated[Any, "what is put in; auto: pixels of images, what methods take by default elsewhere"] = "auto"
    baseline: Annotated[Any, "what they are put into: a number, array or name (blur:5, as in the paper)"] = "auto"
    steps: Annotated[int, "most steps; features are put in in groups of equal size", Range(1, 100_000)] = 224
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    of: Annotated[Of, "what rises: the explained score, or the probability of the class where there is one"] = "auto"
    area: Annotated[Area, "trapezoid, or the plain mean of the points"] = "trapezoid"
    normalise: Annotated[bool, "scale so that f(x) is 1 and f(baseline) is 0"] = False

    def score(self, trial: Trial) -> Reading:
        """Put in, score, and take the area."""
        return area_of(self, trial, insert=True)
