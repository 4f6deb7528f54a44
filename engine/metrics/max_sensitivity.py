"""Max-sensitivity: how far the explanation moves when the input moves a little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ..registry import PREDICT, register
from ..settings import Range
from .altered import joined
from .attributions import values_of
from .infidelity import given_changes
from .score import Reading, undefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .trial import Trial


STILL_MAP = "the map did not move at all: what does not look at the input is stable too"
NO_CHANGE = "every change was zero in the precision of the input"


@register("metric", "max-sensitivity", needs=PREDICT, source="Yeh et al. 2019, arXiv:1901.09392")
@dataclass(frozen=True)
class MaxSensitivity:
    """Largest change of the explanation over small changes of the input, relative to the explanation itself.

    ``max_d |phi(x + d) - phi(x)|`` over random d with every entry at most ``radius`` (in parts of the input's range),
    divided by ``|phi(x)|``, by ``|x|`` (``relative=input``) or by nothing, as in the paper; Euclidean norms over all
    inputs. The same target, settings and seed explain each changed input. Low is stable, but a map that never changes
    has 0 as well.

    Source: Yeh, Hsieh, Suggala, Inouye and Ravikumar 2019, arXiv:1901.09392, definition 3.1; the mean instead of the
    largest: Bhatt et al. 2020, arXiv:2005.00631, definition 2.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "largest relative change of the explanation when the input changes a little"
    cost: ClassVar[str] = "samples explanations"

    samples: Annotated[int, "number of changed inputs", Range(1)] = 10
    radius: Annotated[
        float, "largest change, in parts of the input's range, a column's own in tables", Range(0, open_low=True)
    ] = 0.02
    relative: Annotated[Literal["explanation", "input", "none"], "what the change is divided by"] = "explanation"
    reduce: Annotated[Literal["max", "mean"], "the largest change, or the mean"] = "max"
    perturbations: Annotated[Any, "changes d to use instead: an array (K, ...) shaped like the input"] = None

    def score(self, trial: Trial) -> Reading:
        """Change the input, explain again, measure."""
        first = joined(trial.values)
        away, moves = np.array(list(changes(self, trial, first))).T
        size = {"explanation": float(np.linalg.norm(first)), "input": input_norm(trial), "none": 1.0}[self.relative]
        found = float(moves.max() if self.reduce == "max" else moves.mean())
        parts = {"largest": float(moves.max()), "mean": float(moves.mean())}
        if not away.any():
            return undefined(NO_CHANGE)
        if size == 0:
            return undefined(f"the {self.relative} is zero: nothing to be relative to", parts=parts)
        return Reading(found / size, parts=parts, notes=() if moves.any() else (STILL_MAP,))


def changes(metric: Any, trial: Trial, first: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield, per changed input, how far it is from the input and how far its explanation is from ``first``.

    What counts is how far the numbers are that the model gets: half precision, for instance, rounds changes off.
    """
    feeds = trial.floats()
    for moved in _moved(metric, trial, feeds):
        changed = {name: (feeds[name] + d).astype(feeds[name].dtype) for name, d in moved.items()}
        away = _norm(found.astype(np.float64) - feeds[name] for name, found in changed.items())
        again = trial.again(feeds={**trial.sample.feeds, **changed})
        found = joined(values_of(again, trial.model, trial.sample))
        yield away, float(np.linalg.norm(found - first))


def _moved(metric: Any, trial: Trial, feeds: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    if metric.perturbations is not None:
        given = given_changes(metric.perturbations, feeds, trial.metric)
        for k in range(len(next(iter(given.values())))):
            yield {name: rows[k : k + 1] for name, rows in given.items()}
        return
    rng = trial.rng()
    for _ in range(metric.samples):
        yield {n: metric.radius * trial.reaches[n] * rng.uniform(-1, 1, f.shape) for n, f in feeds.items()}


def input_norm(trial: Trial) -> float:
    """Return the Euclidean norm of the inputs that can be changed."""
    return _norm(feed.astype(np.float64) for feed in trial.floats().values())


def _norm(arrays: Iterable[np.ndarray]) -> float:
    """Return the Euclidean norm over all arrays; missing values have no part in it."""
    return math.sqrt(sum(float(np.nansum(array**2)) for array in arrays))
