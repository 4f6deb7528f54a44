"""What all gradient-weighted maps share: a layer's activations and gradients, weighed, added up and enlarged."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ....engine.internals.layer import layer_of
from ....engine.internals.maps import explanation_of, weighted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ....engine.explanation import Explanation
    from ....engine.internals.layer import Layer
    from ....engine.problem import Problem
    from ..gradient.slopes import Slopes

MODALITIES = ("image", "series", "array")


@dataclass(frozen=True)
class GradientMap(abc.ABC):
    """``L = relu(sum_k alpha_k A_k)`` over the channels k of a layer; a method says what ``alpha`` is."""

    relu: Annotated[bool, "keep positive parts of the map only"] = True
    upsample: Annotated[bool, "enlarge the map to the input; else the map as it is, under the layer's name"] = True

    @abc.abstractmethod
    def alpha(self, A: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Return weights (B, K), or (B, K, *grid), from activations and gradients (B, K, *grid)."""

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain samples of equal shapes; those with one target tensor go through the twin together."""
        from ..gradient.slopes import together

        # Before the twin is built: what is wrong with the layer is said first.
        layers = {p.target.tensor: layer_of(p) for p in {p.target.tensor: p for p in problems}.values()}
        return together(problems, lambda slopes: self._explained(slopes, layers[slopes.problems[0].target.tensor]))

    def _explained(self, slopes: Slopes, layer: Layer) -> list[Explanation]:
        import torch

        from ..gradient.slopes import Slopes

        step = Slopes.of(slopes.problems, taps=(layer.tensor,)).at_samples()
        A = layer.channels(step.activations[layer.tensor].cpu().numpy())
        alpha = self.alpha(A, layer.channels(step.gradients[layer.tensor].cpu().numpy()))
        maps = weighted(A, alpha, relu=self.relu)
        return [
            explanation_of(
                problem,
                layer,
                found,
                score=score,
                upsample=self.upsample,
                weights=weights if weights.ndim == 1 else None,
                manifest={"twin_difference": slopes.twin.difference, "torch": torch.__version__},
            )
            for problem, found, score, weights in zip(slopes.problems, maps, step.scores.tolist(), alpha, strict=True)
        ]


def over_grid(values: np.ndarray) -> tuple[int, ...]:
    """Return the axes of (B, K, *grid) that are the grid's."""
    return tuple(range(2, values.ndim))
