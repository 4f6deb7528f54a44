"""Baselines: what stands in for a feature that is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import SettingError, nearest, printable

if TYPE_CHECKING:
    import numpy as np

Reduce = Literal["mean", "largest-effect"]


@dataclass(frozen=True)
class Baseline:
    """Values that replace absent features.

    ``references`` holds, by input name, R stand-ins as rows: (R, *feed.shape[1:]). Inputs that are not there have no
    stand-in and stay as they are. Scores over the R references are averaged (``mean``, the interventional
    expectation), or the one whose score differs most from the full input's is kept (``largest-effect``).
    """

    name: str
    references: dict[str, np.ndarray]
    reduce: Reduce = "mean"

    def __post_init__(self) -> None:
        """Refuse an unknown way to put references together."""
        if self.reduce not in get_args(Reduce):
            raise SettingError(
                f"references cannot be put together by '{printable(self.reduce)}'",
                tip=nearest(self.reduce, get_args(Reduce)),
            )

    @property
    def count(self) -> int:
        """The number of references, R."""
        return next((len(r) for r in self.references.values()), 1)
