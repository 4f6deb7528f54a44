"""Baselines: what stands in for a feature that is absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..errors import SettingError, nearest, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

Reduce = Literal["mean", "largest-effect"]


@dataclass(frozen=True)
class Baseline:
    """Values that replace absent features.

    ``references`` holds, by input name, R stand-ins as rows: (R, *feed.shape[1:]). Inputs that are not there have no
    stand-in and stay as they are. Scores over the R references are averaged (``mean``, the interventional
    expectation), or the one whose score differs most from the full input's is kept (``largest-effect``). ``weights``
    (R,) say how much each counts in the mean, as the sizes of clusters do; they are scaled to add up to one. ``note``
    is what a reader of the result should know of them. ``across`` names series, each with its axis of time: there a gap
    is filled by the straight line between its ends, and the reference is used only where no step is left. ``removed``
    names texts whose absent tokens and words are taken out of them; references fill the places that become free.
    """

    name: str
    references: dict[str, np.ndarray]
    reduce: Reduce = "mean"
    weights: np.ndarray | None = None
    note: str = ""
    across: dict[str, int] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown way to put references together, and weights that do not fit; scale weights to one."""
        if self.reduce not in get_args(Reduce):
            raise SettingError(
                f"references cannot be put together by '{printable(self.reduce)}'",
                tip=nearest(self.reduce, get_args(Reduce)),
            )
        object.__setattr__(self, "removed", tuple(self.removed))
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

    def __str__(self) -> str:
        """Return name and number of references; the arrays themselves would be spelled out digit by digit."""
        return f"Baseline('{printable(self.name)}', {self.count} reference{'' if self.count == 1 else 's'})"

    @property
    def count(self) -> int:
        """The number of references, R."""
        return next((len(r) for r in self.references.values()), 1)


def together(parts: Mapping[str, Baseline]) -> Baseline:
    """Return the baselines of different inputs as one; single references are repeated.

    ``parts`` are by the name of an input. SettingError where their references cannot stand beside each other.
    """
    several = {name: part for name, part in parts.items() if part.count > 1}
    count = max(part.count for part in parts.values())
    if any(part.count != count for part in several.values()):
        counts = ", ".join(f"'{printable(name)}' {part.count}" for name, part in several.items())
        raise SettingError("the inputs have different numbers of references", where=counts)
    ways = {part.reduce for part in several.values()} or {"mean"}
    if len(ways) > 1:
        raise SettingError(
            "some references are to be averaged, of others the largest effect is to be taken",
            where=", ".join(f"'{printable(name)}' {part.name}" for name, part in several.items()),
            tip="use 'quantiles' for all inputs, or for none",
        )
    references = {
        name: array if len(array) == count else np.repeat(array, count, axis=0)
        for part in parts.values()
        for name, array in part.references.items()
    }
    label = ", ".join(f"{name}: {part.name}" for name, part in parts.items())
    across = {name: axis for part in parts.values() for name, axis in part.across.items()}
    weights = [part.weights for part in several.values() if part.weights is not None]
    if weights and len(several) > 1:
        raise SettingError("k-means centres of one input cannot stand beside several references of another")
    notes = "; ".join(dict.fromkeys(part.note for part in parts.values() if part.note))
    removed = tuple(name for part in parts.values() for name in part.removed)
    return Baseline(label, references, ways.pop(), weights[0] if weights else None, notes, across, removed)
