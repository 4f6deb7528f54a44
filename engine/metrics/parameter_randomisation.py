"""Parameter randomisation: whether the explanation changes when the model forgets what it learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from ..errors import CapabilityError, ModelError
from ..graph import Layer, layers, randomised
from ..registry import PREDICT, register
from ..settings import Range
from .altered import altered
from .score import Reading, undefined
from .similarity import Likeness, is_constant, likeness

if TYPE_CHECKING:
    from .trial import Trial


@register("metric", "parameter-randomisation", needs=PREDICT, source="Adebayo et al. 2018, arXiv:1810.03292")
@dataclass(frozen=True)
class ParameterRandomisation:
    """Mean similarity between the explanation and that of the model with its weights randomised; it should be low.

    ``cascading`` randomises layers from the output down to the input, more at each stage; ``independent`` one layer at
    a time, the others as they were. At each stage the same target is explained again by the same method, settings and
    seed. Weights are drawn from a normal distribution with the mean and deviation of the tensor, or shuffled
    (``permute``), in the ONNX graph: so it works for every method. An explanation that looks the same all the way to a
    model without any knowledge is not about the model. The curve has the similarity by the number of randomised layers
    (cascading) or the layer's number from the output (independent); the part ``last`` is the last stage's.

    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim 2018, Sanity checks for saliency maps,
    arXiv:1810.03292, section 3; they look at Spearman's correlation with and without signs, SSIM and HOG.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    meaning: ClassVar[str] = "mean similarity to explanations of the model with randomised weights"
    cost: ClassVar[str] = "an explanation per stage"

    order: Annotated[Literal["cascading", "independent"], "from the output on, or one layer at a time"] = "cascading"
    stages: Annotated[int, "most stages; the layers are spread over them evenly", Range(1)] = 8
    similarity: Annotated[Likeness, "how maps are compared"] = "spearman"
    how: Annotated[Literal["normal", "permute"], "draw weights anew, or shuffle them"] = "normal"

    def score(self, trial: Trial) -> Reading:
        """Randomise, explain again, compare."""
        if is_constant(trial.map):
            return undefined("the map is constant: nothing can be compared with it")
        every = layers(trial.model.proto)[::-1]
        if not every:
            raise CapabilityError("this model has no weights that could be randomised")
        x = np.unique(np.rint(np.linspace(1, len(every), min(self.stages, len(every)))).astype(int))
        found: list[float] = []
        lost: list[str] = []
        for count in x.tolist():
            chosen = every[:count] if self.order == "cascading" else every[count - 1 : count]
            found.append(self._similarity(trial, chosen, lost))
        y = np.array(found)
        notes = tuple(dict.fromkeys(lost))
        if not np.isfinite(y).any():
            return Reading(math.nan, notes=("undefined: no stage has a similarity", *notes))
        known = np.isfinite(y)
        curve = (np.append(0, x[known]).astype(float), np.append(1.0, y[known]))
        parts = {"last": float(y[known][-1]), "layers": float(len(every))}
        return Reading(float(y[known].mean()), curve, parts=parts, notes=notes)

    def _similarity(self, trial: Trial, chosen: tuple[Layer, ...], lost: list[str]) -> float:
        proto = randomised(trial.model.proto, chosen, trial.seed, self.how, trial.model.folder)
        try:
            again = trial.again(model=altered(trial.model, proto))
        except ModelError as error:
            lost.append(f"a stage is left out: {error.message}")
            return math.nan
        found = likeness(trial.map, trial.map_of(again), self.similarity)
        if math.isnan(found):
            lost.append("a stage is left out: the randomised model's map is constant")
        return found
