"""Infidelity: how far the attributions are from saying what perturbations do to the score."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ..errors import SettingError, nearest, printable
from ..inputs.array_file import read_given
from ..masking.choose import resolve_baseline
from ..masking.label_maps import as_array
from ..registry import PREDICT, register
from ..settings import Range
from .score import Reading, undefined
from .subsets import CONSTANT_DROPS, Effects, effects
from .trial import Of, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 64  # perturbations at a time
OTHER_UNIT = 2.0  # a best factor above this, or below its inverse, is told
OTHER_UNITS = "the attributions are not in the unit of the score (see 'factor'); infidelity.scaled=true leaves it out"
NO_GAP = 1e-4  # of the score: smaller completeness gaps are rounding
GAP_ALONE = (
    "no more than the square of the method's own completeness gap: it may be the error of its sampling or quadrature "
    "alone"
)


@register("metric", "infidelity", needs=PREDICT, source="Yeh et al. 2019, arXiv:1901.09392")
@dataclass(frozen=True)
class Infidelity:
    """Mean squared gap between what the attributions say a perturbation does to the score and what it does.

    ``INFD = E_I (I . phi - (f(x) - f(x - I)))^2``. By default I removes a random half of the features (``removal``:
    ``I . phi`` is then the sum of the removed features' attributions, and ``f(x - I)`` the score with the baseline in
    their place), which is right for attributions that are contributions to the score: Shapley values, integrated
    gradients, occlusion, LRP. For attributions that are gradients (``values=gradient``) the entries of I are
    differences of the input, ``x - baseline`` where it is removed or normal noise (``noise``).

    ``scaled`` puts the best single factor ``beta = sum(a d) / sum(a^2)`` on the attributions first, with
    ``a = I . phi`` and ``d = f(x) - f(x - I)``; both are among the parts. 0 is perfect; linear functions with exact
    attributions reach it up to rounding.

    Source: Yeh, Hsieh, Suggala, Inouye and Ravikumar 2019, On the (in)fidelity and sensitivity of explanations,
    arXiv:1901.09392, definition 2.1; the factor: their experiments.
    """

    better: ClassVar[str | None] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    meaning: ClassVar[str] = "mean squared gap between predicted and real effects of perturbations"
    cost: ClassVar[str] = "samples + 1"

    features: Annotated[Any, "what is removed together; auto: a grid of 9 by 9 cells of images"] = "auto"
    baseline: Annotated[Any, "what replaces removed features: a number, array or name"] = "auto"
    perturbation: Annotated[Literal["removal", "noise"], "remove random features, or add normal noise"] = "removal"
    values: Annotated[
        Literal["contributions", "gradient"], "what the attributions are: shares of the score, or its slope"
    ] = "contributions"
    samples: Annotated[int, "number of random perturbations", Range(2)] = 256
    probability: Annotated[float, "that a feature is removed", Range(0.001, 0.999)] = 0.5
    deviation: Annotated[
        float, "standard deviation of noise, in parts of the input's range", Range(0, open_low=True)
    ] = 0.1
    perturbations: Annotated[
        Any, "perturbations I to use instead: an array (K, ...) shaped like the input, or a file"
    ] = None
    scaled: Annotated[bool, "put the best single factor on the attributions first"] = False
    of: Annotated[Of, "what is predicted: the explained score, or the class's probability"] = "score"

    def score(self, trial: Trial) -> Reading:
        """Perturb and compare."""
        found = self._effects(trial)
        a, d = found.sums, found.drops
        if not found.moves:
            return undefined(CONSTANT_DROPS)
        squares = float(a @ a)
        if squares == 0:
            return undefined(
                "the attributions of all that was perturbed add up to 0", parts={"raw": float((d**2).mean())}
            )
        beta = float(a @ d) / squares
        gaps, best = (a - d) ** 2, (beta * a - d) ** 2
        parts = {"raw": float(gaps.mean()), "scaled": float(best.mean()), "factor": beta}
        chosen = best if self.scaled else gaps
        error = float(chosen.std(ddof=1) / math.sqrt(len(chosen))) if len(chosen) > 1 else None
        notes = self._doubts(trial, parts) if self.values == "contributions" else ()
        return Reading(float(chosen.mean()), standard_error=error, parts=parts, notes=notes)

    def _doubts(self, trial: Trial, parts: Mapping[str, float]) -> tuple[str, ...]:
        """Say where the figure tells of something else than of the explanation's fidelity."""
        gap = trial.explanation.gap
        is_gap = gap is not None and abs(gap) > NO_GAP * abs(trial.explanation.score) and parts["raw"] <= gap**2
        is_other_unit = not self.scaled and not 1 / OTHER_UNIT < parts["factor"] < OTHER_UNIT
        return (*([OTHER_UNITS] if is_other_unit else []), *([GAP_ALONE] if is_gap else []))

    def _effects(self, trial: Trial) -> Effects:
        if self.values == "contributions":
            if self.perturbation == "noise" or self.perturbations is not None:
                raise SettingError(
                    "infidelity of noise or of given perturbations is for attributions that are gradients",
                    tip="--set infidelity.values=gradient, or leave perturbation=removal",
                )
            features = trial.features(self.features, "grid:9")
            sets = self._sets(trial, features.size)
            return effects(trial, features, self.baseline, self.of, sets, self.samples)
        return self._of_gradient(trial)

    def _sets(self, trial: Trial, size: int) -> Iterator[np.ndarray]:
        """Yield random sets of features, none of them empty."""
        rng = trial.rng()
        for start in range(0, self.samples, BLOCK):
            rows = rng.random((min(BLOCK, self.samples - start), size)) < self.probability
            rows[~rows.any(axis=1), rng.integers(size)] = True
            yield rows

    def _of_gradient(self, trial: Trial) -> Effects:
        """Return ``I . phi`` and ``f(x) - f(x - I)`` of perturbations that are differences of the input."""
        feeds = trial.floats()
        sums: list[np.ndarray] = []

        def rows() -> Iterator[dict[str, np.ndarray]]:
            for block in self._perturbations(trial, feeds):
                sums.append(_dotted(block, trial.values))
                yield {name: feeds[name] - i for name, i in block.items()}

        full = trial.scores([dict(feeds)], self.of)[0]
        scores = trial.scores(rows(), self.of, self.samples)
        return Effects(np.concatenate(sums), full - scores, float(full))

    def _perturbations(self, trial: Trial, feeds: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield blocks of perturbations I by input name (k, ...), float64."""
        if self.perturbations is not None:
            yield given_changes(self.perturbations, feeds, trial.metric)
            return
        rng = trial.rng(1)
        if self.perturbation == "noise":
            reaches = trial.reaches
            for start in range(0, self.samples, BLOCK):
                k = min(BLOCK, self.samples - start)
                yield {n: rng.normal(0, self.deviation * reaches[n], (k, *f.shape[1:])) for n, f in feeds.items()}
            return
        features = trial.features(self.features, "grid:9")
        baseline = resolve_baseline(self.baseline, trial.model, trial.sample, seed=trial.seed)
        away = {n: feeds[n].astype(np.float64) - baseline.references[n][:1] for n in features.labels if n in feeds}
        for chosen in self._sets(trial, features.size):
            masks = features.expand(~chosen)
            yield {name: np.where(masks[name], 0.0, gap) for name, gap in away.items()}


def _dotted(block: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return ``I . phi`` (k,) over all inputs."""
    parts = [i.reshape(len(i), -1) @ values[name].ravel() for name, i in block.items()]
    found: np.ndarray = np.sum(parts, axis=0)
    return found


def given_changes(given: Any, feeds: Mapping[str, np.ndarray], metric: str) -> dict[str, np.ndarray]:
    """Return changes of the input, by input name (K, ...), float64: arrays, or those of a .npy or .npz file."""
    where = f"{metric}.perturbations"
    if isinstance(given, str | os.PathLike):
        given = read_given(Path(given), feeds)
    by_name = given if isinstance(given, Mapping) else {next(iter(feeds)): given}
    found = {}
    for name, array in ((str(n), a) for n, a in by_name.items()):
        if name not in feeds:
            raise SettingError(
                f"{where} name an input '{printable(name)}', which cannot be changed a little",
                tip=nearest(name, feeds),
            )
        rows = as_array(array, where)
        if rows.shape[1:] == feeds[name].shape:
            rows = rows[:, 0]  # each with the axis of rows that inputs have
        if rows.shape[1:] != feeds[name].shape[1:] or rows.dtype.kind not in "fiub":
            raise SettingError(
                f"{where} have the shape {rows.shape}",
                tip=f"numbers, in rows shaped like the input: (K, {', '.join(map(str, feeds[name].shape[1:]))})",
            )
        found[name] = rows.astype(np.float64)
    return found
