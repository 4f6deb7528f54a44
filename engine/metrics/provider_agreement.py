"""Provider agreement: whether the explanation is the same on another device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ..errors import CapabilityError
from ..model import load
from ..registry import PREDICT, register
from .altered import compared, difference, held
from .similarity import Comparing

if TYPE_CHECKING:
    from ..model import Model
    from .score import Reading
    from .trial import Trial

SAME_BITS = "map and score are the same to the last bit: the provider may have left all of the work to the processor"


@register("metric", "provider-agreement", needs=PREDICT, source="onnxplain")
@dataclass(frozen=True)
class ProviderAgreement(Comparing):
    """Similarity between the explanation and that of the same model on another device or execution provider.

    The same method, settings, seed and target. Where a provider cannot start that is an error, never a comparison of
    the processor with itself; a provider may still leave parts of a graph to the processor. The part ``relative
    difference`` is ``|phi' - phi| / |phi|``, ``score`` the score there.
    """

    better: ClassVar[str | None] = "higher"
    meaning: ClassVar[str] = "similarity to the explanation of the same model on another device"
    cost: ClassVar[str] = "1 explanation"

    device: Annotated[str, "the other device: cpu, cuda or cuda:N"] = "cpu"
    providers: Annotated[
        tuple[str, ...] | tuple[str | tuple[str, dict[str, Any]], ...] | None,
        "execution providers of ONNX Runtime instead, the first first; in Python also pairs of a name and its options",
    ] = None

    def score(self, trial: Trial) -> Reading:
        """Explain on the other device and compare."""
        mine = trial.model
        other = held(mine, ("device", self.device, repr(self.providers)), lambda: self._moved(mine))
        if other.device.providers == mine.device.providers:
            raise CapabilityError(
                f"the model runs on {mine.device.name} already: there is nothing to compare",
                tip="name another: --set provider-agreement.device=cuda, or .providers=OpenVINOExecutionProvider",
            )
        again = trial.again(model=other)
        apart = difference(trial, again)
        found = compared(trial, again, self.similarity, **{"relative difference": apart, "score": again.score})
        is_same = apart == 0 and again.score == trial.explanation.score
        return dataclasses.replace(found, notes=(*found.notes, SAME_BITS)) if is_same else found

    def _moved(self, model: Model) -> Model:
        source = model.path if model.path is not None else model.proto.SerializeToString()
        return load(source, model.spec, device=self.device, threads=model.threads, providers=self.providers)
