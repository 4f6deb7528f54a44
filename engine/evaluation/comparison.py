"""Comparison: many inputs, methods and metrics, one result at a time; what ``onnxplain evaluate`` runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, OnnxplainError
from ..memory import Memories
from ..metrics.answers import Answers, parts_of
from ..metrics.chosen import measured
from ..metrics.masks import check_mask, mask_for
from ..metrics.score import Reading, Score, undefined
from ..results.manifest import Recipe
from ..settings import plain
from .journal import Identity
from .maker import CONTROLS, Maker, Saved, control, has_picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..explanation import Explanation
    from ..inputs.sample import Sample
    from ..metrics.chosen import Chosen
    from ..metrics.masks import Mask
    from ..metrics.trial import Trial
    from ..model import Model
    from ..problem import Progress
    from ..target import Target
    from .journal import Journal


LONGEST_NAME = 4096  # of a file


@dataclass(frozen=True)
class Failure:
    """What could not be done for one input, method and metric (empty: the method itself failed), and why."""

    source: str
    method: str
    metric: str
    error: OnnxplainError

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "input": self.source,
            "method": self.method,
            "metric": self.metric,
            "kind": type(self.error).__name__,
            "message": self.error.message,
            "where": self.error.where,
            "tip": self.error.tip,
        }


class Comparison:
    """Explanations of several methods, and of controls, judged by several metrics over any number of samples.

    An explanation is made once per sample and method, and only where a metric still needs it. With a journal each
    result is written as it comes, and those that are there already are not computed again.
    """

    def __init__(
        self,
        model: Model,
        methods: Mapping[str, Mapping[str, Any] | Saved],
        metrics: Sequence[Chosen],
        *,
        target: str = "top",
        seed: int = 0,
        mask: Mask | None = None,
        journal: Journal | None = None,
    ) -> None:
        """Take methods by name, with their settings or as saved explanations; the controls come by themselves.

        Raises ``CapabilityError`` where a metric needs a mask and there is none.
        """
        check_mask(metrics, mask)
        self.model = model
        self.metrics = list(metrics)
        self.failures: list[Failure] = []
        self.reused = 0
        self._makers = makers_of(methods)
        self.controls = [name for name in CONTROLS if name not in methods]
        self._target, self._seed, self._mask = target, seed, mask
        self._journal = journal
        self._readings: dict[tuple[str, str], dict[str, Reading]] = {}  # by metric and method, then by sample
        self._seen: dict[str, None] = {}  # the samples, in order

    @property
    def methods(self) -> list[str]:
        """Names of the methods, controls last."""
        return list(self._makers)

    def add(self, sample: Sample, progress: Progress | None = None) -> bool:
        """Judge the explanations of one more sample by all metrics; what fails is put into ``failures``.

        Returns False where the same sample was there before: counted twice, it would make intervals narrower than
        they are.
        """
        try:
            mask = mask_for(self._mask, sample)
        except OnnxplainError as error:
            self._failed(Failure(sample.source, "", "", error))
            return True
        key = key_of(sample, mask)
        if key in self._seen:
            return False
        self._seen[key] = None
        trials = _Trials(self, sample, mask, progress)
        with self.model.remembering():
            for name in self._makers:
                if name == "edges" and name in self.controls and not has_picture(self.model, sample):
                    continue
                for chosen in self.metrics:
                    self._one(key, name, chosen, trials)
        return True

    def _one(self, key: str, name: str, chosen: Chosen, trials: _Trials) -> None:
        reading = self._recalled(key, name, chosen.name)
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
                found = {"reading": reading.to_json(), "source": trials.sample.source}
                self._journal.add(key, name, chosen.name, found)
        self._readings.setdefault((chosen.name, name), {})[key] = reading

    def _failed(self, failure: Failure) -> None:
        """Keep a failure; a method that fails does so once, and what controls cannot have is no failure."""
        is_control = failure.method in self.controls and isinstance(failure.error, CapabilityError)
        if not is_control and not any(failure.error is other.error for other in self.failures):
            self.failures.append(failure)

    def _recalled(self, key: str, method: str, metric: str) -> Reading | None:
        kept = self._journal.find(key, method, metric) if self._journal is not None else None
        if kept is None:
            return None
        try:
            reading = Reading.from_json(kept["reading"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return None  # damaged: computed again
        self.reused += 1
        return reading

    def trial(self, name: str, sample: Sample, mask: Any, progress: Progress | None) -> Trial:
        """Explain a sample by one of the methods."""
        maker = control(name, sample) if name in self.controls else self._makers[name].for_sample(sample)
        aim = self._aim(sample)
        return maker.trial(self.model, sample, aim, seed=self._seed, mask=mask, progress=progress)

    def _aim(self, sample: Sample) -> str | Target:
        """Return the target: that of a saved explanation where none was asked for, so that all have the same."""
        saved = [maker for maker in self._makers.values() if isinstance(maker, Saved)]
        for one in saved if self._target == "top" else ():
            made = one.for_sample(sample).ready
            if made is not None:
                return Recipe.read(made).target
        return self._target

    def scores(self) -> list[Score]:
        """Return a Score per metric and method that gave any reading: by metric, the best method first.

        All have the same samples in the same order; one on which a method failed has no value for it.
        """
        failed = undefined("it could not be evaluated on an input; the error says why")
        found = []
        for chosen in self.metrics:
            known = {name: self._readings.get((chosen.name, name)) for name in self._makers}
            mine = {name: [by.get(key, failed) for key in self._seen] for name, by in known.items() if by}
            found += ranked([chosen.gathered(name, readings) for name, readings in mine.items()])
        return found


def makers_of(methods: Mapping[str, Mapping[str, Any] | Saved]) -> dict[str, Maker | Saved]:
    """Return where the explanations of each method come from, the controls' last."""
    found: dict[str, Maker | Saved] = {
        name: given if isinstance(given, Saved) else Maker(name, dict(given)) for name, given in methods.items()
    }
    return found | {name: Maker(name, {}) for name in CONTROLS if name not in found}


def ranked(scores: Sequence[Score]) -> list[Score]:
    """Return the scores of one metric, the best first; those without a value last, all in order where none is good."""

    def place(score: Score) -> tuple[bool, float]:
        sign = {True: -1.0, False: 1.0, None: 0.0}[score.higher_is_better]
        known = bool(np.isfinite(score.value))
        return not known, sign * score.value if known else 0.0

    return sorted(scores, key=place)


def identity_of(
    model: Model,
    methods: Mapping[str, Mapping[str, Any] | Saved],
    metrics: Sequence[Chosen],
    *,
    target: str,
    seed: int,
    version: str,
) -> Identity:
    """Return what must be equal for results of an earlier run to be used again; inputs and masks are in their keys.

    A metric that compares methods depends on the settings of them all. Files that settings name count by what they
    hold.
    """
    makers = {name: maker.identity() for name, maker in makers_of(methods).items()}
    others = {name: given for name, given in makers.items() if name not in CONTROLS}
    judges = {
        chosen.name: [plain(chosen.settings), others if getattr(chosen.metric, "compares_methods", False) else None]
        for chosen in metrics
    }
    common = {
        "model": model.digest,
        "spec": plain(dataclasses.asdict(model.spec)),
        "target": target,
        "seed": seed,
        "version of onnxplain": version,
    }
    return Identity(*map(_with_files, (common, makers, judges)))


def _with_files(value: Any) -> Any:
    """Return a JSON document with a digest beside each text that is the name of a file."""
    if isinstance(value, dict):
        return {name: _with_files(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_with_files(v) for v in value]
    path = Path(value) if isinstance(value, str) and value and len(value) < LONGEST_NAME else None
    if path is None or "\0" in value or not path.is_file():
        return value
    with path.open("rb") as file:
        return [value, hashlib.file_digest(file, "sha256").hexdigest()]


class _Trials:
    """The explanations of one sample by method, made when they are first needed."""

    def __init__(self, comparison: Comparison, sample: Sample, mask: Any, progress: Progress | None) -> None:
        self.sample = sample
        self._comparison = comparison
        self._mask = mask
        self._progress = progress
        self._made: dict[str, Trial | OnnxplainError] = {}
        self._memories, self._answers = Memories(), Answers()

    def of(self, name: str) -> Trial:
        """Return the trial of a method; raises what its making raised, each time it is asked for."""
        if name not in self._made:
            try:
                made = self._comparison.trial(name, self.sample, self._mask, self._progress)
                self._made[name] = dataclasses.replace(made, memories=self._memories, answers=self._answers)
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


def key_of(sample: Sample, mask: Any = None) -> str:
    """Return a digest of what a sample feeds the model, and of the mask."""
    digest = hashlib.sha256()
    for part in _parts(sample, mask):
        digest.update(part)
    return digest.hexdigest()[:32]


def _parts(sample: Sample, mask: Any) -> Iterator[bytes]:
    yield from parts_of(sample.feeds)
    if sample.image is not None:
        yield np.ascontiguousarray(sample.image).tobytes()
    if isinstance(mask, np.ndarray):
        yield f"{mask.dtype.str}:{mask.shape};".encode() + mask.tobytes()
    else:
        yield json.dumps(_with_files(plain(mask))).encode()
