"""Provider agreement: whether the explanation is the same on another device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ..errors import CapabilityError
from ..model import load
from ..registry import PREDICT, register
from .altered import gap, joined
from .score import Reading, undefined
from .similarity import Likeness, likeness
from .trial import Trial, values_of


@register("metric", "provider-agreement", needs=PREDICT, source="onnxplain")
@dataclass(frozen=True)
class ProviderAgreement:
    """Similarity between the explanation and that of the same model on another device or execution provider.

    The same method, settings, seed and target. The part ``relative difference`` is ``|phi' - phi| / |phi|``.
    """

    better: ClassVar[str | None] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "similarity to the explanation of the same model on another device"
    cost: ClassVar[str] = "1 explanation"

    device: Annotated[str, "the other device: cpu, cuda or cuda:N"] = "cpu"
    similarity: Annotated[Likeness, "how maps are compared"] = "spearman"

    def score(self, trial: Trial) -> Reading:
        """Explain on the other device and compare."""
        mine = trial.model
        source = mine.path if mine.path is not None else mine.proto.SerializeToString()
        other = load(source, mine.spec, device=self.device, threads=mine.threads)
        if other.device.name == mine.device.name:
            raise CapabilityError(
                f"the model runs on {mine.device.name} already: there is nothing to compare",
                tip="name another device: --set provider-agreement.device=cuda, or --device cuda for the model",
            )
        again = trial.again(model=other)
        found = likeness(trial.map, trial.map_of(again), self.similarity)
        difference = gap(joined(trial.values), joined(values_of(again, mine, trial.sample)))
        parts = {"relative difference": difference}
        return (
            undefined("one of the two maps is constant", parts=parts)
            if math.isnan(found)
            else Reading(found, parts=parts)
        )
