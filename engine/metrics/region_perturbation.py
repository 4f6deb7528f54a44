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
    squares of ``pixels`` pixels, cut off at the far edges, that become uniform noise between the least and the largest
    number of their channel; ``divisor=L`` leaves out the term of k = 0, which is always 0, as some libraries do.

    Source: Samek, Binder, Montavon, Lapuschkin and Mueller 2017, Evaluating the visualization of what a deep neural
    network has learned, arXiv:1509.06321, eq. 12; they perturb 100 regions of 9 x 9 pixels, by uniform noise.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    meaning: ClassVar[str] = "mean fall of the score while the most relevant regions are perturbed"
    cost: ClassVar[str] = "steps + 2"

    features: Annotated[Any, "the regions; auto: squares of images, what methods take by default elsewhere"] = "auto"
    baseline: Annotated[Any, "what perturbed regions become; auto: uniform noise in images"] = "auto"
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
        squares = _squares(trial, self.pixels) if _is_auto(self.features) else {}
        features = trial.features(squares or self.features)
        if squares and features.size == 1:
            return undefined(f"one square of {self.pixels} pixels covers all; region-perturbation.pixels sets another")
        baseline = _noise(trial) if _is_auto(self.baseline) else self.baseline
        settings = dataclasses.replace(self, features=features, baseline=baseline, steps=min(self.steps, features.size))
        found = ranked_curve(trial, settings, order=self.order, share=min(1.0, self.steps / features.size))
        if isinstance(found, str):
            return undefined(found)
        x, y, full, _ = found
        drops = full - y
        length = len(drops) - 1 if self.divisor == "L" else len(drops)
        parts = {"score": full, "regions": float(len(x) - 1)}
        return Reading(float(drops.sum()) / length, (x * features.size, drops), parts=parts)


def _is_auto(setting: Any) -> bool:
    return isinstance(setting, str) and setting == "auto"


def _squares(trial: Trial, side: int) -> dict[str, np.ndarray]:
    """Return a label map of squares for each image."""
    labels: dict[str, np.ndarray] = {}
    first = 0
    for name, entry in trial.inputs.items():
        if entry.is_image:
            down, across = (np.arange(length) // side for length in entry.grid)
            labels[name] = entry.on_grid(first + down[:, None] * (across[-1] + 1) + across)
            first = int(labels[name].max()) + 1
    return labels


def _noise(trial: Trial) -> Any:
    """Return uniform noise for each image of floating-point numbers, and what methods take by default for the rest."""
    rng, found = trial.rng(), dict[str, Any]()
    for name, entry in trial.inputs.items():
        if entry.is_image and entry.feed.dtype.kind == "f":
            others = tuple(axis for axis in range(entry.feed.ndim) if axis not in entry.axes("C"))
            low, high = (end(entry.feed, axis=others, keepdims=True) for end in (np.min, np.max))
            found[name] = rng.uniform(low, high, entry.feed.shape).astype(entry.feed.dtype)
    return {name: found.get(name, "auto") for name in trial.inputs} if found else "auto"
