"""Region perturbation: how far the score falls on average as regions are perturbed in the order of the map (AOPC)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .removal import Order, Rank, ranked_curve
from .score import Reading, undefined
from .trial import Of, Trial


@register("metric", "region-perturbation", needs=PREDICT, source="Samek et al. 2017, arXiv:1509.06321")
@dataclass(frozen=True)
class RegionPerturbation:
    """Area over the perturbation curve: the mean fall of the score while regions are perturbed, most relevant first.

    ``AOPC = 1 / (L + 1) sum_(k=0..L) (f(x_0) - f(x_k))``, x_k being the input with the first k regions perturbed
    (MoRF), or the last (LeRF, ``order=least``). A region's relevance is the mean of the map over it. Regions are
    squares of ``pixels`` pixels, replaced by noise around the channel's mean; ``divisor=L`` leaves out the term of
    k = 0, which is always 0, as some libraries do.

    Source: Samek, Binder, Montavon, Lapuschkin and Mueller 2017, Evaluating the visualization of what a deep neural
    network has learned, arXiv:1509.06321, eq. 12; they perturb 100 regions of 9 x 9 pixels, by uniform noise.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    meaning: ClassVar[str] = "mean fall of the score while the most relevant regions are perturbed"
    cost: ClassVar[str] = "steps + 2"

    features: Annotated[Any, "the regions; auto: squares of images, what methods take by default elsewhere"] = "auto"
    baseline: Annotated[Any, "what perturbed regions become; auto: noise in images"] = "auto"
    pixels: Annotated[int, "side of a square region of an image", Range(1)] = 9
    steps: Annotated[int, "most regions that are perturbed, L", Range(1)] = 100
    order: Annotated[Order, "the most (MoRF) or the least relevant first (LeRF)"] = "most"
    divisor: Annotated[Literal["L+1", "L"], "what the sum is divided by"] = "L+1"
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    of: Annotated[Of, "what falls: the explained score, or the class's probability"] = "score"

    @property
    def direction(self) -> str:
        """Which end is good: the score should fall far, or little where the least relevant regions go first."""
        return "higher" if self.order == "most" else "lower"

    def score(self, trial: Trial) -> Reading:
        """Perturb one region after the other."""
        entry = trial.pictured
        words = "pixels"
        if entry.is_image:
            words = "grid:{}x{}".format(*(max(1, side // self.pixels) for side in entry.grid))
        still_image = entry.is_image and isinstance(self.baseline, str) and self.baseline == "auto"
        regions = trial.features(self.features, words).size
        baseline = "noise" if still_image else self.baseline
        settings = dataclasses.replace(self, baseline=baseline, steps=min(self.steps, regions))
        found = ranked_curve(trial, settings, order=self.order, share=min(1.0, self.steps / regions), image=words)
        if isinstance(found, str):
            return undefined(found)
        x, y, full, _ = found
        drops = full - y
        length = len(drops) - 1 if self.divisor == "L" else len(drops)
        falls = np.maximum(x * regions, 0)
        return Reading(float(drops.sum()) / length, (falls, drops), parts={"score": full, "regions": float(len(x) - 1)})
