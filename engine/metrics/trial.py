"""Trial: what a metric is handed: the explanation, the model, and ways to mask, to score and to explain again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import CapabilityError, printable
from ..masking.background import Background
from ..masking.choose import resolve_features
from ..masking.layout import masked_inputs
from ..memory import Memories
from ..problem import Problem, Progress, Silence
from ..question import Question
from ..rows import has_rows
from ..scorer import Scorer
from .answers import Answers
from .attributions import Attributions, values_of
from .probability import probability_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..explanation import Explanation
    from ..game import Game
    from ..inputs.sample import Sample
    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..model import Model
    from ..target import Target
    from .boxes import Box

Of = Literal["auto", "score", "probability"]


class Ledger:
    """What a metric has cost: rows of the model."""

    def __init__(self) -> None:
        self.games: list[Game | Scorer] = []
        self.rows = 0

    @property
    def evaluations(self) -> int:
        """Model rows so far."""
        return self.rows + sum(game.evaluations for game in self.games)


@dataclass(frozen=True)
class Trial:
    """One explanation of one sample, on trial.

    ``target`` is what was explained. ``explainer`` makes the explanation again for (model, sample, target, seed); None
    where the attributions came as numbers. ``mask`` is True where the evidence is known to be, on the grid of ``map``;
    None where that is not known; ``boxes`` (x0, y0, x1, y1), the far ends excluded, are those that it was given as, if
    it was. ``beside`` holds other methods' explanations of the same sample by name, ``memories`` the scores that all
    methods of a sample need, ``answers`` the explanations that several metrics need.
    """

    model: Model
    sample: Sample
    target: Target
    explanation: Explanation
    explainer: Callable[[Model, Sample, Target, int], Explanation] | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Silence)
    mask: np.ndarray | None = None
    boxes: tuple[Box, ...] = ()
    beside: Mapping[str, Explanation] = field(default_factory=dict)
    metric: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    memories: Memories = field(default_factory=Memories)
    answers: Answers = field(default_factory=Answers)

    @cached_property
    def inputs(self) -> dict[str, MaskedInput]:
        """The inputs that can be masked, with what their axes mean."""
        return masked_inputs(self.model, self.sample)

    @cached_property
    def pictured(self) -> MaskedInput:
        """The input that maps are laid over: the one with the picture, else the first image, else the first."""
        order = sorted(self.inputs.values(), key=lambda e: (e.name != self.sample.image_input, not e.is_image))
        return next((e for e in order if e.name in self.values), order[0])

    @cached_property
    def attributed(self) -> Attributions:
        """The attributions, by element and by feature."""
        return Attributions.of(self.explanation, self.inputs, self.model, self.sample)

    @property
    def values(self) -> Mapping[str, np.ndarray]:
        """The attributions by input name, float64, batch axis first."""
        return self.attributed.values

    def features(self, setting: Any, image: str = "pixels") -> Features:
        """Return what is removed: ``auto`` is ``image`` for images, and what methods take by default for the rest.

        ``image`` is a word for features; of ``grid:14``, small images get as many cells as they have pixels.
        """
        if isinstance(setting, str) and setting == "auto" and any(e.is_image for e in self.inputs.values()):
            setting = self._fitting(image)
        return resolve_features(setting, self.model, self.sample)

    def _fitting(self, word: str) -> str:
        name, _, count = word.partition(":")
        if name != "grid" or not count.isdigit():
            return word
        height, width = (
            min(int(count), *sides) for sides in zip(*(e.grid for e in self.inputs.values() if e.is_image), strict=True)
        )
        return f"grid:{height}x{width}"

    def attributions(self, features: Features) -> np.ndarray:
        """Return the value of each feature (M,): the sum over its elements of their shares."""
        return self.attributed.summed(features)

    def levels(self, features: Features) -> np.ndarray:
        """Return how high the map is on each feature (M,), the mean over its elements; what rankings go by."""
        return self.attributed.averaged(features)

    @cached_property
    def map(self) -> np.ndarray:
        """The map of the pictured input: (height, width) of an image, else the values without the batch axis.

        Channels are added up, or taken once where they all carry the same number. Of a table with several inputs, it
        is the values of all columns; of a string, those of its words.
        """
        return self.map_of(self.explanation)

    def map_of(self, explanation: Explanation) -> np.ndarray:
        """Return the map of another explanation of a sample of the same shape."""
        entry = self.pictured
        values = values_of(explanation, self.model, self.sample)
        if entry.name not in values:
            raise CapabilityError(f"the explanation has no values for input '{printable(entry.name)}'")
        array = values[entry.name]
        if entry.holds_text and explanation.feature_values is not None:
            return np.asarray(explanation.feature_values, dtype=np.float64)
        if entry.is_table:
            columns = [values[n] for n, e in self.inputs.items() if e.is_table and n in values]
            return np.asarray(array[0]) if len(columns) == 1 else np.concatenate([c.ravel() for c in columns])
        if not entry.is_image:
            return np.asarray(array[0])
        height, width = entry.letters.index("H"), entry.letters.index("W")
        moved = np.moveaxis(array, (height, width), (-2, -1))
        stacked = moved.reshape(-1, *moved.shape[-2:])
        same = bool((stacked == stacked[:1]).all())
        found: np.ndarray = stacked[0] if same else stacked.sum(axis=0)
        return found

    def target_of(self, of: Of) -> Target:
        """Return what is measured: the explained score, or the probability of the explained class.

        ``auto`` is the probability where the model is a classifier, else the score. Raises ``CapabilityError`` where a
        probability is asked for and the model gives none.
        """
        if of == "score":
            return self.target
        found = probability_target(self.target, self.model, self.sample.feeds)
        if found is None and of == "probability":
            raise CapabilityError(
                f"{self.metric}: the target '{printable(self.target.text)}' is no class with a probability",
                tip=f"--set {self.metric}.of=score measures the explained score itself",
            )
        return found or self.target

    def limits_of(self, of: Of) -> tuple[float, float] | None:
        """Return the least and largest number there can be, 0 and 1 of a probability; None where none is known."""
        return (0.0, 1.0) if self.target_of(of).space == "probability" else None

    def game(
        self, features: Features, baseline: Any, of: Of = "score", expected: int = 0, *, shared: bool = False
    ) -> Game:
        """Return the game of ``features`` on ``baseline`` (a setting), which counts its rows for this metric.

        ``shared`` is for coalitions that do not depend on the explanation: for each method they would be the same, and
        are run for the first one only.
        """
        problem = Problem(
            model=self.model,
            sample=self.sample,
            target=self.target_of(of),
            method=self.metric,
            baseline_setting=baseline,
            seed=self.seed,
            progress=self.progress,
        )
        game = problem.game(features, expected, self.memories if shared else None)
        self.ledger.games.append(game)
        return game

    def scores(self, rows: Iterable[Mapping[str, np.ndarray]], of: Of = "score", expected: int = 0) -> np.ndarray:
        """Return the scores (B,) of changed inputs, streamed; each of ``rows`` holds arrays (b, ...) by input name.

        Inputs that are left out stay as they are. Raises ``ModelError`` where a score is not finite.
        """
        self.progress.start(self.metric, expected)
        feeds = self.sample.feeds
        scorer = Scorer(self.model, self.target_of(of), feeds, expected=expected, progress=self.progress.advance)
        self.ledger.games.append(scorer)
        found = [scores for scores, _ in scorer.stream((row, None) for row in self._whole(rows, scorer.batch))]
        return np.concatenate(found) if found else np.empty(0)

    def _whole(self, rows: Iterable[Mapping[str, np.ndarray]], batch: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches of all inputs, those that are left out as they are."""

        def part(name: str, feed: np.ndarray, changed: Mapping[str, np.ndarray], chosen: range) -> np.ndarray:
            if name in changed:
                return np.ascontiguousarray(changed[name][chosen.start : chosen.stop], dtype=feed.dtype)
            return np.repeat(feed, len(chosen), axis=0) if has_rows(name, self.model.inputs) else feed

        for changed in rows:
            count = len(next(iter(changed.values())))
            for start in range(0, count, batch):
                chosen = range(start, min(start + batch, count))
                yield {name: part(name, feed, changed, chosen) for name, feed in self.sample.feeds.items()}

    def again(
        self,
        *,
        model: Model | None = None,
        feeds: Mapping[str, np.ndarray] | None = None,
        target: Target | None = None,
        seed: int | None = None,
    ) -> Explanation:
        """Explain again with something changed: another model, input, target or seed.

        A changed input keeps its picture, so that features which are cut from it stay the same. What another metric
        has asked before is not made again, but counts as evaluations of this one all the same; the values are not for
        writing. Raises ``CapabilityError`` where the attributions came as numbers, without the method that made them.
        """
        explainer = self.explainer
        if explainer is None:
            raise CapabilityError(
                f"{self.metric} makes the explanation again, and these attributions came as numbers alone",
                tip="name a method, or give an Explanation that onnxplain made",
            )
        sample = self.sample if feeds is None else dataclasses.replace(self.sample, feeds=dict(feeds))
        aim, number = target or self.target, self.seed if seed is None else seed

        def make() -> Explanation:
            return explainer(model or self.model, sample, aim, number)

        made = make() if model is not None else self.answers.of(self.explanation.method, sample, aim, number, make)
        self.ledger.rows += made.evaluations
        return made

    def by(self, method: str) -> Explanation:
        """Explain the same by another method, as it is by default; what was asked before is not made again."""

        def make() -> Explanation:
            return Question.of(self.model, method, self.target, seed=self.seed).answer(self.sample)

        made = self.answers.of(f"{method}, as it is by default", self.sample, self.target, self.seed, make)
        self.ledger.rows += made.evaluations
        return made

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Return the metric's random numbers; each ``stream`` is independent of the others."""
        return np.random.default_rng([self.seed, stream])

    def floats(self) -> dict[str, np.ndarray]:
        """Return the feeds that can be changed a little: those of floating-point numbers that can be masked."""
        found = {n: self.sample.feeds[n] for n, e in self.inputs.items() if e.feed.dtype.kind == "f"}
        if not found:
            raise CapabilityError(
                f"{self.metric} changes inputs a little, and this model takes whole numbers or text only"
            )
        return found

    @cached_property
    def reaches(self) -> dict[str, np.ndarray]:
        """How far the numbers of each of ``floats`` reach, as arrays that broadcast to it.

        In general from the least to the largest number of the input. Columns of a table have units of their own: theirs
        is the reach of the background data, or the number's own size where there are none.
        """
        background = Background(self.model, self.inputs, self.seed)
        found = {}
        for name, feed in self.floats().items():
            if not self.inputs[name].is_table:
                found[name] = np.array(reach(feed))
                continue
            rows = background.rows.get(name) if background.is_known else None
            size = np.abs(feed) if rows is None else np.nanmax(rows, axis=0) - np.nanmin(rows, axis=0)
            found[name] = np.where(size > 0, size, 1.0)
        return found


def reach(feed: np.ndarray) -> float:
    """Return how far the numbers of an input reach, from the smallest to the largest; 1 where they are all equal."""
    spread = float(np.nanmax(feed)) - float(np.nanmin(feed))
    return spread if spread > 0 else 1.0
