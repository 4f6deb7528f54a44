"""What is made of a map's signs before it is compared with a mask."""

from __future__ import annotations

from typing import Literal

import numpy as np

Signs = Literal["positive", "absolute", "signed"]


def signed(found: np.ndarray, signs: Signs) -> np.ndarray:
    """Return the positive part of a map, its magnitude, or the map itself."""
    if signs == "positive":
        return np.asarray(np.maximum(found, 0))
    return np.abs(found) if signs == "absolute" else found
