"""Trial: what a metric is handed: the explanation, the model, and ways to mask, to score and to explain again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import CapabilityError, InputError, ModelError, SettingError, printable
from ..masking.choose import resolve_features
from ..masking.layout import masked_inputs
from ..problem import Problem, Progress, Silence
from ..rows import leading
from .probability import probability_target
from .similarity import is_constant, pearson, spearman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..explanation import Explanation
    from ..game import Game
    from ..inputs.sample import Sample
    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..model import Model
    from ..target import Target

Of = Literal["auto", "score", "probability"]
Correlation = Literal["pearson", "spearman"]


class Ledger:
    """What a metric has cost: rows of the model."""

    def __init__(self) -> None:
        self.games: list[Game] = []
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
    None where that is not known. ``beside`` holds other methods' explanations of the same sample by name.
    """

    model: Model
    sample: Sample
    target: Target
    explanation: Explanation
    explainer: Callable[[Model, Sample, Target, int], Explanation] | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Silence)
    mask: np.ndarray | None = None
    beside: Mapping[str, Explanation] = field(default_factory=dict)
    metric: str = ""
    ledger: Ledger = field(default_factory=Ledger)

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
    def values(self) -> dict[str, np.ndarray]:
        """The attributions by input name, float64, batch axis first."""
        return values_of(self.explanation, self.model, self.sample)

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """The attributions of elements such that those of a feature add up to the feature's own value.

        A method that gives features one value each writes it to all elements of the feature; here each gets its part.
        Where all channels of an image carry the same number it is the pixel's, and each channel gets its part.
        """
        labels = {n: a for n, a in self._labels.items() if a.ndim == self.values[n].ndim}
        if labels:
            return self._parted(labels)
        return {name: self._per_channel(name, array) for name, array in self.values.items()}

    @cached_property
    def _labels(self) -> dict[str, np.ndarray]:
        """The features of the explanation itself, batch axis first; the words of a string have an axis more."""
        found = {n: a for n, a in self.explanation.feature_labels.items() if n in self.values}
        return {
            n: leading({n: a}, self.model.inputs)[n] if a.ndim <= self.values[n].ndim else a for n, a in found.items()
        }

    def _own(self, features: Features) -> np.ndarray | None:
        """Return the explanation's own value of each feature (M,), where these are its own features."""
        found = self.explanation.feature_values
        if found is None or len(found) != features.size or self._labels.keys() != features.labels.keys():
            return None
        same = all(np.array_equal(self._labels[name], labels) for name, labels in features.labels.items())
        return np.asarray(found, dtype=np.float64) if same else None

    def _parted(self, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        whole = {n: np.broadcast_to(a, self.values[n].shape) for n, a in labels.items()}
        most = max(int(a.max()) for a in whole.values()) + 1
        counts = sum(np.bincount(a[a >= 0].ravel(), minlength=most) for a in whole.values())
        sizes = np.append(counts, 1)  # label -1, always present, has the value 0
        return {n: self.values[n] / sizes[whole[n]] if n in whole else a for n, a in self.values.items()}

    def _per_channel(self, name: str, array: np.ndarray) -> np.ndarray:
        axes = self.inputs[name].axes("C") if name in self.inputs and self.inputs[name].is_image else ()
        if not axes or array.shape[axes[0]] < 2:
            return array
        first = np.take(array, [0], axis=axes[0])
        return np.asarray(array / array.shape[axes[0]] if bool((array == first).all()) else array)

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
        own = self._own(features)
        return _summed(features, self.shares) if own is None else own

    def levels(self, features: Features) -> np.ndarray:
        """Return how high the map is on each feature (M,), the mean over its elements; what rankings go by."""
        own = self._own(features)
        if own is not None:
            return own
        ones = {name: np.ones_like(array) for name, array in self.values.items()}
        found: np.ndarray = _summed(features, self.values) / np.maximum(_summed(features, ones), 1)
        return found

    @cached_property
    def map(self) -> np.ndarray:
        """The map of the pictured input: (height, width) of an image, else the values without the batch axis.

        Channels are added up, or taken once where they all carry the same number. Of a string, it is the values of
        its words.
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
        if not entry.is_image:
            return np.asarray(array[0])
        height, width = entry.letters.index("H"), entry.letters.index("W")
        moved = np.moveaxis(array, (height, width), (-2, -1))
        stacked = moved.reshape(-1, *moved.shape[-2:])
        same = bool((stacked == stacked[:1]).all())
        found: np.ndarray = stacked[0] if same else stacked.sum(axis=0)
        return found

    @property
    def is_constant(self) -> bool:
        """Say whether the map is the same everywhere, so that it ranks nothing."""
        return all(is_constant(v) for v in self.values.values()) and len({float(v.flat[0]) for v in self._some()}) < 2

    def _some(self) -> list[np.ndarray]:
        return [v for v in self.values.values() if v.size]

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

    def game(self, features: Features, baseline: Any, of: Of = "score", expected: int = 0) -> Game:
        """Return the game of ``features`` on ``baseline`` (a setting), which counts its rows for this metric."""
        problem = Problem(
            model=self.model,
            sample=self.sample,
            target=self.target_of(of),
            method=self.metric,
            baseline_setting=baseline,
            seed=self.seed,
            progress=self.progress,
        )
        game = problem.game(features, expected)
        self.ledger.games.append(game)
        return game

    def scores(self, rows: Iterable[Mapping[str, np.ndarray]], of: Of = "score", expected: int = 0) -> np.ndarray:
        """Return the scores (B,) of changed inputs, streamed; each of ``rows`` holds arrays (b, ...) by input name.

        Inputs that are left out stay as they are. Raises ``ModelError`` where a score is not finite.
        """
        target = self.target_of(of)
        runner = self.model.runner(target, self.sample.feeds, expected=expected)
        self.progress.start(self.metric, expected)
        found: list[np.ndarray] = []
        for scores, count in runner.stream(self._whole(rows, runner.variant.has_rows, runner.batch)):
            if scores is None or not np.isfinite(scores).all():
                raise ModelError(
                    f"the score of target '{printable(target.text)}' is not finite on an input of {self.metric}",
                    tip="the model overflows on changed inputs; choose smaller changes",
                )
            self.ledger.rows += count
            self.progress.advance(count)
            found.append(scores)
        return np.concatenate(found) if found else np.empty(0)

    def _whole(
        self, rows: Iterable[Mapping[str, np.ndarray]], has_rows: Callable[[str], bool], batch: int
    ) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        feeds = self.sample.feeds
        for changed in rows:
            count = len(next(iter(changed.values())))
            for start in range(0, count, batch):
                size = min(batch, count - start)
                yield (
                    {
                        name: np.ascontiguousarray(changed[name][start : start + size], dtype=feed.dtype)
                        if name in changed
                        else np.repeat(feed, size, axis=0)
                        if has_rows(name)
                        else feed
                        for name, feed in feeds.items()
                    },
                    size,
                )

    def again(
        self,
        *,
        model: Model | None = None,
        feeds: Mapping[str, np.ndarray] | None = None,
        target: Target | None = None,
        seed: int | None = None,
    ) -> Explanation:
        """Explain again with something changed: another model, input, target or seed.

        A changed input keeps its picture, so that features which are cut from it stay the same. Raises
        ``CapabilityError`` where the attributions came as numbers, without the method that made them.
        """
        if self.explainer is None:
            raise CapabilityError(
                f"{self.metric} makes the explanation again, and these attributions came as numbers alone",
                tip="name a method, or give an Explanation that onnxplain made",
            )
        sample = self.sample if feeds is None else dataclasses.replace(self.sample, feeds=dict(feeds))
        made = self.explainer(model or self.model, sample, target or self.target, self.seed if seed is None else seed)
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


def values_of(explanation: Explanation, model: Model, sample: Sample) -> dict[str, np.ndarray]:
    """Return an explanation's values by input name, batch axis first.

    Raises ``CapabilityError`` where it is of other tensors, ``InputError`` where shapes differ or numbers are not
    finite.
    """
    known = {i.name for i in model.inputs}
    other = next((name for name in explanation.values if name not in known), None)
    if other is not None or not explanation.values:
        raise CapabilityError(
            f"this explanation is of the tensor '{printable(other)}', not of the inputs",
            tip="metrics mask inputs; for class activation maps leave upsample=true",
        )
    found = {}
    for name, array in explanation.values.items():
        try:
            placed = leading({name: np.asarray(array, dtype=np.float64)}, model.inputs)[name]
        except (IndexError, ValueError):
            placed = np.asarray(array, dtype=np.float64)
        if placed.shape != sample.feeds[name].shape:
            raise InputError(
                f"the explanation has the shape {array.shape} for input '{printable(name)}', "
                f"which is {sample.feeds[name].shape}",
                tip="explanation and input must belong together",
            )
        if not np.isfinite(placed).all():
            raise InputError(f"the explanation of input '{printable(name)}' holds numbers that are not finite")
        found[name] = placed
    return found


def correlation_of(kind: Correlation, x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear or rank correlation; NaN where it is undefined."""
    return pearson(x, y) if kind == "pearson" else spearman(x, y)


def _summed(features: Features, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Add up arrays by input name over the elements of each feature (M,)."""
    total = np.zeros(features.size)
    missing = [n for n in features.labels if n not in arrays]
    if missing:
        raise SettingError(
            f"the explanation has no values for input '{printable(missing[0])}', which the features include",
            tip="give features of the inputs that were explained",
        )
    for name, labels in features.labels.items():
        array = arrays[name]
        if labels.ndim > array.ndim:
            raise CapabilityError(
                f"the parts of the string in input '{printable(name)}' are not those that were explained",
                tip="give the metric the features of the method, or attributions by word from a method of onnxplain",
            )
        where = np.broadcast_to(labels, array.shape).ravel()
        kept = where >= 0
        total += np.bincount(where[kept], weights=array.ravel()[kept], minlength=features.size)
    return total
