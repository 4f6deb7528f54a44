"""The score of the input seen through its own map: what average drop, increase and gain compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .similarity import is_constant, scaled

if TYPE_CHECKING:
    from .trial import Of, Trial

NO_CONTRAST = "the map is constant: seen through it the input does not change"


def kept(trial: Trial, features: Any, baseline: Any, of: Of, *, rescale: bool) -> tuple[float, float] | str:
    """Return Y, the score of the input, and O, its score times the map (0 to 1), the baseline where that is 0.

    With ``rescale`` the map is brought to 0..1 first, else it must lie there. Returns why there are none otherwise.
    """
    chosen = trial.features(features)
    levels = trial.levels(chosen)
    if is_constant(levels):
        return NO_CONTRAST
    if rescale:
        levels = scaled(levels)
    elif levels.min() < 0 or levels.max() > 1:
        return f"the map runs from {levels.min():.3g} to {levels.max():.3g}, not within 0 to 1"
    game = trial.game(chosen, baseline, of, expected=2)
    part = levels[None] if np.any((levels > 0) & (levels < 1)) else levels[None] > 0.5
    return game.full, float(game(part)[0])
