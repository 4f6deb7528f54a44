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
from .altered import altered, held
from .score import UNDEFINED, Reading, undefined
from .similarity import DISTANCES, LEAST_SIDE, Comparing, Likeness, is_constant, likeness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import Model
    from .trial import Trial


@register("metric", "parameter-randomisation", needs=PREDICT, source="Adebayo et al. 2018, arXiv:1810.03292")
@dataclass(frozen=True)
class ParameterRandomisation(Comparing):
    """Mean similarity between the explanation and that of the model with its weights randomised; it should be low.

    ``cascading`` randomises layers from the output down to the input, more at each stage; ``independent`` one layer at
    a time, the others as they were. At each stage the same target is explained again by the same method, settings and
    seed. Weights are drawn from a normal distribution with the mean and deviation of the tensor, or shuffled
    (``permute``), in the ONNX graph: so it works for every method. An explanation that looks the same all the way to a
    model without any knowledge is not about the model. The curve has the similarity by the number of randomised layers
    (cascading) or the layer's number from the output (independent). The parts have the last stage's (``last``) and the
    mean by all four likenesses of the paper: Spearman's correlation with and without signs, SSIM and HOG.

    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim 2018, Sanity checks for saliency maps,
    arXiv:1810.03292, section 3.
    """

    better: ClassVar[str | None] = "lower"
    meaning: ClassVar[str] = "mean similarity to explanations of the model with randomised weights"
    cost: ClassVar[str] = "an explanation per stage"

    order: Annotated[Literal["cascading", "independent"], "from the output on, or one layer at a time"] = "cascading"
    stages: Annotated[int, "most stages; the layers are spread over them evenly", Range(1)] = 8
    how: Annotated[Literal["normal", "permute"], "draw weights anew, or shuffle them"] = "normal"

    def score(self, trial: Trial) -> Reading:
        """Randomise, explain again, compare."""
        if is_constant(trial.map):
            return undefined("the map is constant: nothing can be compared with it")
        every = layers(trial.model.proto)[::-1]
        if not every:
            raise CapabilityError("this model has no weights that could be randomised")
        x = np.unique(np.rint(np.linspace(1, len(every), min(self.stages, len(every)))).astype(int))
        maps: list[np.ndarray | None] = []
        notes: list[str] = []
        for count in x.tolist():
            chosen = every[:count] if self.order == "cascading" else every[count - 1 : count]
            maps.append(self._map(trial, chosen, notes))
        y = _likenesses(trial.map, maps, self.similarity)
        known = np.isfinite(y)
        if not known.all() and len(notes) < (~known).sum():
            notes.append("a stage is left out: the randomised model's map is constant")
        if not known.any():
            return Reading(math.nan, notes=(f"{UNDEFINED}no stage has a similarity", *dict.fromkeys(notes)))
        start = 0.0 if self.similarity in DISTANCES else 1.0
        curve = (np.append(0, x[known]).astype(float), np.append(start, y[known]))
        parts = {"last": float(y[known][-1]), "layers": float(len(every))} | _by_all(trial.map, maps)
        return Reading(float(y[known].mean()), curve, parts=parts, notes=tuple(dict.fromkeys(notes)))

    def _map(self, trial: Trial, chosen: tuple[Layer, ...], notes: list[str]) -> np.ndarray | None:
        """Return the map of the model with these layers randomised; None, and a note, where there is none."""
        mine = trial.model

        def forgetful() -> Model:
            return altered(mine, randomised(mine.proto, chosen, trial.seed, self.how, mine.folder))

        try:
            return trial.map_of(trial.again(model=held(mine, (*chosen, trial.seed, self.how), forgetful)))
        except ModelError as error:
            notes.append(f"a stage is left out: {error.message}")
            return None


def _likenesses(first: np.ndarray, maps: Sequence[np.ndarray | None], kind: Likeness) -> np.ndarray:
    return np.array([math.nan if other is None else likeness(first, other, kind) for other in maps])


def _by_all(first: np.ndarray, maps: Sequence[np.ndarray | None]) -> dict[str, float]:
    """Return the mean over stages by each of the paper's likenesses that these maps have."""
    is_large = first.ndim == 2 and min(first.shape) >= LEAST_SIDE
    kinds: tuple[Likeness, ...] = ("spearman", "absolute-spearman", "ssim", *(("hog",) if is_large else ()))
    found = {kind: _likenesses(first, maps, kind) for kind in kinds}
    known = {kind: values[np.isfinite(values)] for kind, values in found.items()}
    return {kind: float(values.mean()) for kind, values in known.items() if values.size}
