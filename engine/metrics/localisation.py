"""Localisation: whether the map lies where the evidence is, by any of the metrics that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ..registry import PREDICT, register
from .box_error import BoxError
from .iou import Iou
from .pointing_game import PointingGame
from .relevance_mass import RelevanceMass
from .relevance_rank import RelevanceRank

if TYPE_CHECKING:
    from .score import Reading
    from .trial import Trial

_BY: dict[str, Any] = {
    "mass": RelevanceMass(),
    "rank": RelevanceRank(),
    "pointing": PointingGame(),
    "iou": Iou(),
    "box": BoxError(),
}


@register("metric", "localisation", needs=PREDICT, source="Arras et al. 2022, arXiv:2003.07258")
@dataclass(frozen=True)
class Localisation:
    """How well the map lies inside the mask: its mass there, or another of the metrics of localisation.

    ``mass`` is ``relevance-mass``, ``rank`` ``relevance-rank``, ``pointing`` ``pointing-game``, ``iou`` ``iou`` and
    ``box`` ``box-error`` (where low is good), each as it is by default; under their own names they have settings.

    Source: Arras, Osman and Samek 2022, CLEVR-XAI, arXiv:2003.07258, for ``mass``; the others name theirs.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    meaning: ClassVar[str] = "share of the map's values inside the mask, or as chosen"
    cost: ClassVar[str] = "none"
    needs_mask: ClassVar[bool] = True

    by: Annotated[Literal["mass", "rank", "pointing", "iou", "box"], "which of them"] = "mass"

    @property
    def direction(self) -> str | None:
        """Which end is good."""
        better: str | None = _BY[self.by].better
        return better

    @property
    def is_share(self) -> bool:
        """Say whether samples are 0 or 1."""
        return getattr(_BY[self.by], "is_share", False)

    def score(self, trial: Trial) -> Reading:
        """Ask the metric that was chosen."""
        found: Reading = _BY[self.by].score(trial)
        return found
