"""The score of the input seen through its own map: what average drop, gain and increase are made of."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ..errors import CapabilityError
from .removal import STILL, is_still
from .score import Reading, undefined
from .similarity import is_constant, scaled
from .trial import Of, Trial  # noqa: TC001 - settings are read from annotations

NO_CONTRAST = "the map is constant: seen through it the input does not change"


@dataclass(frozen=True)
class SeenThrough:
    """What the three have in common: their settings, and Y, the score of the input, beside O, that through its map.

    ``O = f(map * x + (1 - map) * baseline)``, the map from 0 to 1.
    """

    cost: ClassVar[str] = "3"

    features: Annotated[Any, "what the map is laid on; auto: pixels of images"] = "auto"
    baseline: Annotated[Any, "what shows where the map is 0: a number, array or name"] = "auto"
    rescale: Annotated[bool, "bring the map to 0..1 first"] = True
    of: Annotated[Of, "what is compared; auto: the probability where there is one"] = "auto"

    @abstractmethod
    def worth(self, full: float, shown: float) -> float | str:
        """Return the metric's value for Y and O, or why it has none."""

    def score(self, trial: Trial) -> Reading:
        """Show the input through its map."""
        features = trial.features(self.features)
        levels = trial.levels(features)
        if is_constant(levels):
            return undefined(NO_CONTRAST)
        if self.rescale:
            levels = scaled(levels)
        elif levels.min() < 0 or levels.max() > 1:
            return undefined(f"the map is not within 0 to 1, and {trial.metric}.rescale=false leaves it so")
        game = trial.game(features, self.baseline, self.of, expected=3)
        is_partial = bool(np.any((levels > 0) & (levels < 1)))
        if is_partial and any(trial.sample.feeds[name].dtype.kind != "f" for name in features.labels):
            raise CapabilityError(
                f"{trial.metric} shows features in part, and not all inputs are floating-point numbers",
                tip="deletion and insertion show them whole or not at all",
            )
        part = levels[None] if is_partial else levels[None] > 0.5
        full, shown = game.full, float(game(part)[0])
        if is_still(np.array([full, shown, game.empty])):
            return undefined(STILL)
        found = self.worth(full, shown)
        parts = {"score": full, "seen through the map": shown}
        return undefined(found, parts=parts) if isinstance(found, str) else Reading(found, parts=parts)
