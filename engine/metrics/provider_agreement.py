"""Provider agreement: whether the explanation is the same on another device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from ..errors import CapabilityError
from ..model import load
from ..registry import PREDICT, register
from .altered import compared, difference, held
from .similarity import Comparing

if TYPE_CHECKING:
    from ..model import Model
    from .score import Reading
    from .trial import Trial


@register("metric", "provider-agreement", needs=PREDICT, source="onnxplain")
@dataclass(frozen=True)
class ProviderAgreement(Comparing):
    """Similarity between the explanation and that of the same model on another device or execution provider.

    The same method, settings, seed and target. The part ``relative difference`` is ``|phi' - phi| / |phi|``, ``score``
    the score there.
    """

    better: ClassVar[str | None] = "higher"
    meaning: ClassVar[str] = "similarity to the explanation of the same model on another device"
    cost: ClassVar[str] = "1 explanation"

    device: Annotated[str, "the other device: cpu, cuda or cuda:N"] = "cpu"
    providers: Annotated[tuple[str, ...] | None, "execution providers of ONNX Runtime instead, the first first"] = None

    def score(self, trial: Trial) -> Reading:
        """Explain on the other device and compare."""
        mine = trial.model
        other = held(mine, ("device", self.device, self.providers), lambda: self._moved(mine))
        if other.device.providers == mine.device.providers:
            raise CapabilityError(
                f"the model runs on {mine.device.name} already: there is nothing to compare",
                tip="name another device: --set provider-agreement.device=cuda, or --device cuda for the model",
            )
        again = trial.again(model=other)
        parts = {"relative difference": difference(trial, again), "score": again.score}
        return compared(trial, again, self.similarity, **parts)

    def _moved(self, model: Model) -> Model:
        source = model.path if model.path is not None else model.proto.SerializeToString()
        return load(source, model.spec, device=self.device, threads=model.threads, providers=self.providers)
