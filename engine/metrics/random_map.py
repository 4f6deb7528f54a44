"""The control that knows nothing: a random map. A metric that it does well on says nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ..explanation import Explanation
from ..masking.layout import masked_inputs
from ..registry import PREDICT, register
from ..settings import Range

if TYPE_CHECKING:
    from ..problem import Problem


@register("explainer", "random", needs=PREDICT, source="a control, as in Hooker et al. 2019, arXiv:1806.10758")
@dataclass(frozen=True)
class RandomMap:
    """A control, no explanation: uniform random numbers, drawn from the seed, for every pixel or element.

    All channels of a pixel get the same number from 0 to 1. ``salt`` gives other maps of the same seed: where it is
    evaluated as a control, each input gets a map of its own, which stays the same while the input is perturbed. An
    explanation that does no better than this by a metric of faithfulness knows no more of the model.
    """

    salt: Annotated[int, "another map of the same seed", Range(0)] = 0

    def explain(self, problem: Problem) -> Explanation:
        """Draw the numbers."""
        rng = problem.rng(self.salt)
        inputs = masked_inputs(problem.model, problem.sample)
        if any(entry.holds_text for entry in inputs.values()):
            return self._of_features(problem, rng)
        values = {}
        for name, entry in inputs.items():
            channels = entry.axes("C") if entry.is_image else ()
            shape = tuple(1 if axis in channels else n for axis, n in enumerate(entry.feed.shape))
            values[name] = np.broadcast_to(rng.random(shape), entry.feed.shape).copy()
        return control(problem, values)

    def _of_features(self, problem: Problem, rng: np.random.Generator) -> Explanation:
        """Draw a number per feature, where inputs hold text: the words of a string have no elements of their own."""
        features = problem.features
        drawn = rng.random(features.size)
        return dataclasses.replace(
            control(problem, features.scatter(drawn, problem.shapes)),
            feature_values=drawn,
            feature_names=tuple(features.names),
            feature_labels=dict(features.labels),
        )


def control(problem: Problem, values: dict[str, np.ndarray]) -> Explanation:
    """Make an Explanation of numbers that do not come from the model; the score is still the model's."""
    (row,) = problem.model.rows(problem.sample.feeds, (problem.target.tensor,))
    return Explanation(
        values=values,
        method=problem.method,
        settings={},
        target=problem.target.text,
        label=problem.target.label,
        score=float(problem.target.scores(row[:1])[0]),
        evaluations=1,
        sample=problem.sample,
        notes=("a control: it knows nothing of the model",),
    )
