"""Insertion: how fast the score rises as the most important features are put into a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..registry import PREDICT, register
from .deletion import AreaUnderCurve


@register("metric", "insertion", needs=PREDICT, source="Petsiuk et al. 2018, arXiv:1806.07421")
@dataclass(frozen=True)
class Insertion(AreaUnderCurve):
    """Area under the score as the features with the highest values are put into the baseline first.

    ``AUC = integral over 0..1 of f(baseline with the first t M features of x) dt``, by trapezoids, from the baseline to
    the whole input. High is good: few features are enough. ``normalise`` as for ``deletion``.

    Source: Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421, section 4.2. They insert into a blurred image, which
    ``baseline=blur:3.1`` comes close to: their code asks for a sigma of 5 in a kernel of 11 pixels, which SciPy makes
    nearly flat, with a deviation of 3.1 pixels. Zeros are the default here so that deletion and insertion speak of the
    same baseline.
    """

    better: ClassVar[str | None] = "higher"
    meaning: ClassVar[str] = "mean score while the most important features are put in; 0 to 1 of a probability"
    inserts: ClassVar[bool] = True
