"""ROAD: the score as pixels are removed and filled in from their neighbours, so that no mask's edge shows."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..errors import CapabilityError, SettingError
from ..registry import PREDICT, register
from ..settings import Range
from .imputation import imputed
from .removal import FLAT, Order, Rank, is_still, order_of
from .score import Reading, undefined
from .similarity import is_constant
from .trial import Of, Trial, reach

if TYPE_CHECKING:
    from collections.abc import Iterator


@register("metric", "road", needs=PREDICT, modalities=("image",), source="Rong et al. 2022, arXiv:2202.00449")
@dataclass(frozen=True)
class Road:
    """Mean score over shares of removed pixels, each filled in by noisy linear imputation, most relevant first.

    A removed pixel is the weighted mean of its neighbours, 1/6 for those that share an edge and 1/12 for those that
    share a corner, removed neighbours included: a sparse linear system, solved per share; at the border the weights
    that fall outside are left out and the others brought to a sum of 1. Normal noise is put on top. Low is good for
    ``order=most``, high for ``order=least``; the curve has the score by share.

    Source: Rong, Leemann, Borisov, Kasneci and Kasneci 2022, A consistent and efficient evaluation strategy for
    attribution methods, arXiv:2202.00449, section 4.2; the shares are those of their figures. They report the accuracy
    over a data set; here it is the probability of the class, which a single sample has too.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    meaning: ClassVar[str] = "mean score while the most relevant pixels are replaced by what surrounds them"
    cost: ClassVar[str] = "shares + 1"

    shares: Annotated[tuple[float, ...], "shares of removed pixels", Range(0.0001, 0.9999)] = (
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.7,
        0.9,
    )
    noise: Annotated[float, "standard deviation of the noise, in parts of the input's range", Range(0)] = 0.01
    order: Annotated[Order, "the most or the least relevant first"] = "most"
    rank: Annotated[Rank, "order by value, or by magnitude"] = "signed"
    of: Annotated[Of, "what falls; auto: the probability where there is one"] = "auto"

    @property
    def direction(self) -> str:
        """Which end is good: the score should fall fast, or slowly where the least relevant pixels go first."""
        return "lower" if self.order == "most" else "higher"

    def score(self, trial: Trial) -> Reading:
        """Remove, fill in, score."""
        if not self.shares:
            raise SettingError("road.shares holds no share of pixels to remove")
        entry = trial.pictured
        if not entry.is_image or entry.feed.dtype.kind != "f":
            raise CapabilityError(
                "road fills in pixels from their neighbours, and this input is no image of floating-point numbers",
                tip="use deletion or pixel-flipping",
            )
        if is_constant(trial.map):
            return undefined(FLAT)
        if round(max(self.shares) * trial.map.size) < 1:
            return undefined(f"no share amounts to one of {trial.map.size} pixels")
        order = order_of(trial.map.ravel(), self.rank, self.order)
        x = np.unique(self.shares)
        scores = trial.scores(({entry.name: row} for row in self._rows(trial, order, x)), self.of, len(x))
        full = trial.scores([{entry.name: entry.feed}], self.of)[0]
        if is_still(scores, np.array([full])):
            return undefined("the score does not move when pixels are removed")
        curve = (np.append(0.0, x), np.append(full, scores))
        return Reading(float(scores.mean()), curve, parts={"score": float(full)}, limits=trial.limits_of(self.of))

    def _rows(self, trial: Trial, order: np.ndarray, shares: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the input (1, ...) with each share of its pixels filled in; several are filled in at a time."""
        entry, rng = trial.pictured, trial.rng()
        at = (entry.letters.index("H"), entry.letters.index("W"))
        image = np.moveaxis(entry.feed.astype(np.float64), at, (0, 1))
        deviation = self.noise * reach(entry.feed)

        def filled(share: float) -> tuple[np.ndarray, np.ndarray]:
            removed = np.zeros(order.size, dtype=bool)
            removed[order[: min(order.size - 1, round(share * order.size))]] = True
            where = removed.reshape(entry.grid)
            return imputed(image.reshape(*entry.grid, -1), where), where

        with ThreadPoolExecutor(max_workers=trial.model.threads) as solvers:
            for pixels, where in solvers.map(filled, shares.tolist()):
                pixels[where] += rng.normal(0, deviation, (int(where.sum()), pixels.shape[2]))
                yield np.moveaxis(pixels.reshape(image.shape), (0, 1), at)
