"""Local Lipschitz estimate: how steep the explanation is around the input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..registry import PREDICT, register
from ..settings import Range
from .altered import joined
from .max_sensitivity import NO_CHANGE, STILL_MAP, changes
from .score import Reading, undefined
from .sparseness import NOTHING

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "local-lipschitz", needs=PREDICT, source="Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049")
@dataclass(frozen=True)
class LocalLipschitz:
    """Largest ratio of the explanation's change to the input's change, near the input.

    ``max_d |phi(x + d) - phi(x)| / |d|`` over random d with every entry at most ``radius`` (in parts of the input's
    range); Euclidean norms. It has the unit of the attributions divided by that of the input: compare it between
    inputs, and between methods of the same unit.

    Source: Alvarez-Melis and Jaakkola 2018, On the robustness of interpretability methods, arXiv:1806.08049, eq. 2.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "largest ratio of the explanation's change to the input's change"
    cost: ClassVar[str] = "samples explanations"

    samples: Annotated[int, "number of changed inputs", Range(1)] = 10
    radius: Annotated[
        float, "largest change, in parts of the input's range, a column's own in tables", Range(0, open_low=True)
    ] = 0.02
    perturbations: Annotated[Any, "changes d to use instead: an array (K, ...) shaped like the input"] = None

    def score(self, trial: Trial) -> Reading:
        """Change the input, explain again, measure."""
        phi = joined(trial.values)
        found = [moved / away for away, moved in changes(self, trial, phi) if away > 0]
        if not found:
            return undefined(NO_CHANGE)
        if not phi.any() and not any(found):
            return undefined(f"{NOTHING}, and stays so")
        return Reading(max(found), notes=() if any(found) else (STILL_MAP,))
