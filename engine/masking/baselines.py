"""Baselines: what stands in for a feature that is absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ..errors import SettingError, nearest, printable

Reduce = Literal["mean", "largest-effect"]


@dataclass(frozen=True)
class Baseline:
    """Values that replace absent features.

    ``references`` holds, by input name, R stand-ins as rows: (R, *feed.shape[1:]). Inputs that are not there have no
    stand-in and stay as they are. Scores over the R references are averaged (``mean``, the interventional
    expectation), or the one whose score differs most from the full input's is kept (``largest-effect``). ``weights``
    (R,) say how much each counts in the mean, as the sizes of clusters do; they are scaled to add up to one. ``note``
    is what a reader of the result should know of them. ``across`` names series, each with its axis of time: there a gap
    is filled by the straight line between its ends, and the reference is used only where no step is left. With
    ``removed``, absent tokens and words of a text are taken out of it; references fill the places that become free.
    """

    name: str
    references: dict[str, np.ndarray]
    reduce: Reduce = "mean"
    weights: np.ndarray | None = None
    note: str = ""
    across: dict[str, int] = field(default_factory=dict)
    removed: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown way to put references together, and weights that do not fit; scale weights to one."""
        if self.reduce not in get_args(Reduce):
            raise SettingError(
                f"references cannot be put together by '{printable(self.reduce)}'",
                tip=nearest(self.reduce, get_args(Reduce)),
            )
        if self.weights is not None:
            object.__setattr__(self, "weights", self._scaled(np.asarray(self.weights, dtype=np.float64)))

    def _scaled(self, weights: np.ndarray) -> np.ndarray:
        if weights.shape != (self.count,) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
            raise SettingError(
                f"the weights of the baseline '{printable(self.name)}' must be {self.count} numbers from 0 on",
                tip="and not all of them 0",
            )
        if self.reduce != "mean":
            raise SettingError(f"weights are for references that are averaged, not for '{self.reduce}'")
        return np.asarray(weights / weights.sum())

    @property
    def count(self) -> int:
        """The number of references, R."""
        return next((len(r) for r in self.references.values()), 1)
