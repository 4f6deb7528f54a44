"""Method agreement: whether methods agree with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ..errors import CapabilityError, InputError, SettingError, printable
from ..explanation import Explanation
from ..masking.label_maps import as_array
from ..registry import PREDICT, register
from .score import Reading, undefined
from .similarity import Comparing, likeness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .trial import Trial


@register("metric", "method-agreement", needs=PREDICT, source="Krishna et al. 2024, arXiv:2202.01602")
@dataclass(frozen=True)
class MethodAgreement(Comparing):
    """Mean similarity between the explanation and those of other methods for the same input and target.

    The others are the other methods of the run, or those in ``others``: names of methods, Explanations or arrays. The
    parts have the similarity to each: over the methods of a run, the matrix of rank correlations. Agreement is no
    proof of truth; disagreement is a reason to ask.

    Source: Krishna, Han, Gu, Wu, Jabbari and Lakkaraju 2024, The disagreement problem in explainable machine learning,
    arXiv:2202.01602 (rank correlation).
    """

    meaning: ClassVar[str] = "mean similarity to the explanations of other methods"
    cost: ClassVar[str] = "none; an explanation per name in others"
    compares_methods: ClassVar[bool] = True

    others: Annotated[Any, "methods to compare with: names, or in Python arrays by name; none: those of the run"] = None

    def score(self, trial: Trial) -> Reading:
        """Compare with each of the others."""
        found = {}
        for name, other in self._others(trial):
            if other.shape != trial.map.shape:
                raise InputError(f"the map of {name} has the shape {other.shape}, not {trial.map.shape}")
            found[name] = likeness(trial.map, other, self.similarity)
        known = [value for value in found.values() if math.isfinite(value)]
        if not known:
            return undefined("a map is constant, or the others are", parts=found)
        lost = [printable(name) for name, value in found.items() if not math.isfinite(value)]
        notes = (f"left out, for their maps are constant: {', '.join(lost)}",) if lost else ()
        return Reading(float(np.mean(known)), parts=found, notes=notes)

    def _others(self, trial: Trial) -> Iterator[tuple[str, np.ndarray]]:
        """Yield names and maps."""
        if self.others is None:
            if not trial.beside:
                raise CapabilityError(
                    "method-agreement compares methods, and there is no other one",
                    tip="add one with -m, or name some: --set method-agreement.others=rise,occlusion",
                )
            yield from ((name, trial.map_of(one)) for name, one in trial.beside.items())
            return
        named = self.others.items() if isinstance(self.others, Mapping) else enumerate(_listed(self.others))
        for name, one in named:
            if isinstance(one, str):
                yield one, trial.map_of(trial.by(one))
            elif isinstance(one, Explanation):
                yield (one.method if isinstance(name, int) else str(name)), trial.map_of(one)
            else:
                array = as_array(one, "method-agreement.others")
                if array.dtype.kind not in "fiub":
                    raise SettingError(
                        "method-agreement.others are names of methods, Explanations or arrays of numbers"
                    )
                yield str(name), array.reshape(trial.map.shape) if array.size == trial.map.size else array


def _listed(others: Any) -> list[Any]:
    if isinstance(others, str):
        return [part.strip() for part in others.split(",")]
    return list(others) if isinstance(others, list | tuple) else [others]
