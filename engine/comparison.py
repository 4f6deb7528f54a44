"""Comparison: many inputs, methods and metrics, one result at a time; what ``onnxplain evaluate`` runs."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import CapabilityError, OnnxplainError
from .evaluate import CONTROLS, Chosen, Maker, control, has_picture, measured, written
from .metrics.score import Reading, Score
from .settings import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .explanation import Explanation
    from .inputs.sample import Sample
    from .journal import Journal
    from .metrics.trial import Trial
    from .model import Model
    from .problem import Progress


@dataclass(frozen=True)
class Failure:
    """What could not be done for one input, method and metric (empty: the method itself failed), and why."""

    source: str
    method: str
    metric: str
    error: OnnxplainError


class Comparison:
    """Explanations of several methods, and of controls, judged by several metrics over any number of samples.

    An explanation is made once per sample and method, and only where a metric still needs it. With a journal each
    result is written as it comes, and those that are there already are not computed again.
    """

    def __init__(
        self,
        model: Model,
        methods: Mapping[str, Mapping[str, Any]],
        metrics: Sequence[Chosen],
        *,
        target: str = "top",
        seed: int = 0,
        mask: Any = None,
        journal: Journal | None = None,
    ) -> None:
        """Take methods with their settings by name, and metrics; the controls come by themselves."""
        self.model = model
        self.metrics = list(metrics)
        self.failures: list[Failure] = []
        self.reused = 0
        self._makers = {name: Maker(name, dict(given)) for name, given in methods.items()}
        for name in CONTROLS:
            self._makers.setdefault(name, Maker(name, {}))
        self.controls = [name for name in CONTROLS if name not in methods]
        self._target, self._seed, self._mask = target, seed, mask
        self._journal = journal
        self._readings: dict[tuple[str, str], list[Reading]] = {}

    @property
    def methods(self) -> list[str]:
        """Names of the methods, controls last."""
        return list(self._makers)

    def add(self, sample: Sample, progress: Progress | None = None) -> None:
        """Judge the explanations of one more sample by all metrics; what fails is put into ``failures``."""
        key = _key(sample, self._mask)
        trials = _Trials(self, sample, progress)
        with self.model.remembering():
            for name in self._makers:
                if name == "edges" and name in self.controls and not has_picture(self.model, sample):
                    continue
                for chosen in self.metrics:
                    self._one(f"{key}/{name}/{chosen.name}", name, chosen, trials)

    def _one(self, key: str, name: str, chosen: Chosen, trials: _Trials) -> None:
        reading = self._recalled(key)
        if reading is None:
            try:
                trial = trials.judged(name, chosen)
            except OnnxplainError as error:
                self._failed(Failure(trials.sample.source, name, "", error))
                return
            try:
                reading = measured(trial, chosen)
            except OnnxplainError as error:
                self._failed(Failure(trials.sample.source, name, chosen.name, error))
                return
            if self._journal is not None:
                self._journal.add(key, {"reading": reading.to_json(), "source": trials.sample.source})
        self._readings.setdefault((chosen.name, name), []).append(reading)

    def _failed(self, failure: Failure) -> None:
        """Keep a failure; a method that fails does so once, and what controls cannot have is no failure."""
        is_control = failure.method in self.controls and isinstance(failure.error, CapabilityError)
        if not is_control and not any(failure.error is other.error for other in self.failures):
            self.failures.append(failure)

    def _recalled(self, key: str) -> Reading | None:
        kept = self._journal.known.get(key) if self._journal is not None else None
        if kept is None:
            return None
        try:
            reading = Reading.from_json(kept["reading"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return None  # damaged: computed again
        self.reused += 1
        return reading

    def trial(self, name: str, sample: Sample, progress: Progress | None) -> Trial:
        """Explain a sample by one of the methods."""
        maker = control(name, sample) if name in self.controls else self._makers[name]
        return maker.trial(self.model, sample, self._target, seed=self._seed, mask=self._mask, progress=progress)

    def scores(self) -> list[Score]:
        """Return a Score per metric and method that gave any reading: by metric, the best method first."""
        found = []
        for chosen in self.metrics:
            mine = [
                chosen.gathered(name, self._readings[chosen.name, name])
                for name in self._makers
                if (chosen.name, name) in self._readings
            ]
            found += ranked(mine)
        return found


def ranked(scores: Sequence[Score]) -> list[Score]:
    """Return the scores of one metric, the best first; those without a value last, all in order where none is good."""

    def place(score: Score) -> tuple[bool, float]:
        sign = {True: -1.0, False: 1.0, None: 0.0}[score.higher_is_better]
        known = bool(np.isfinite(score.value))
        return not known, sign * score.value if known else 0.0

    return sorted(scores, key=place)


def identity_of(
    model: Model,
    methods: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[Chosen],
    *,
    target: str,
    seed: int,
    version: str,
) -> dict[str, Any]:
    """Return what must be equal for results of an earlier run to be used again; inputs and masks are in the keys."""
    return {
        "model": model.digest,
        "spec": plain(dataclasses.asdict(model.spec)),
        "methods": {name: plain(dict(given)) for name, given in methods.items()},
        "metrics": {chosen.name: plain(chosen.settings) for chosen in metrics},
        "target": target,
        "seed": seed,
        "version of onnxplain": version,
    }


class _Trials:
    """The explanations of one sample by method, made when they are first needed."""

    def __init__(self, comparison: Comparison, sample: Sample, progress: Progress | None) -> None:
        self.sample = sample
        self._comparison = comparison
        self._progress = progress
        self._made: dict[str, Trial | OnnxplainError] = {}

    def of(self, name: str) -> Trial:
        """Return the trial of a method; raises what its making raised, each time it is asked for."""
        if name not in self._made:
            try:
                self._made[name] = self._comparison.trial(name, self.sample, self._progress)
            except OnnxplainError as error:
                self._made[name] = error
        found = self._made[name]
        if isinstance(found, OnnxplainError):
            raise found
        return found

    def judged(self, name: str, chosen: Chosen) -> Trial:
        """Return the trial of a method, with the other methods' explanations beside it where the metric needs them."""
        trial = self.of(name)
        if not getattr(chosen.metric, "compares_methods", False):
            return trial
        others = [n for n in self._comparison.methods if n != name and n not in self._comparison.controls]
        beside: dict[str, Explanation] = {n: self.of(n).explanation for n in others}
        return dataclasses.replace(trial, beside=beside)


def _key(sample: Sample, mask: Any) -> str:
    """Return a digest of what a sample feeds the model, and of the mask."""
    digest = hashlib.sha256()
    for part in _parts(sample, mask):
        digest.update(part)
    return digest.hexdigest()[:32]


def _parts(sample: Sample, mask: Any) -> Iterator[bytes]:
    for name, feed in sorted(sample.feeds.items()):
        yield f"{name}:{feed.dtype.str}:{feed.shape};".encode()
        yield written(feed)
    if sample.image is not None:
        yield np.ascontiguousarray(sample.image).tobytes()
    array = mask if isinstance(mask, np.ndarray) else None
    yield repr(mask).encode() if array is None else array.tobytes()
