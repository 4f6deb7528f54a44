"""Game: coalitions of features -> scores of the target; the one loop that streams batches to the model.

Every perturbation method, and the deletion and insertion metrics, are a choice of coalitions plus an estimator over a
Game. Coalitions are masked and scored batch by batch: the next batch is prepared while the runtime works on the last
ones, and memory does not grow with the number of coalitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .masking.maskers import maskers_of
from .memory import Memory

if TYPE_CHECKING:
    from .inputs.sample import Sample
    from .masking.baselines import Baseline
    from .masking.features import Features
    from .model import Model
    from .target import Target

Progress = Callable[[int], None]
REMEMBERED = 1 << 16  # scores of binary coalitions that are kept, so that equal coalitions are evaluated once


class Game:
    """Scores of a target when only some features are present.

    A score of coalition z is the target at ``x * z + reference * (1 - z)``, averaged over the baseline's references,
    by their weights where it has any.
    Boolean coalitions are remembered: equal ones are evaluated once. ``evaluations`` counts model rows.
    """

    def __init__(
        self,
        model: Model,
        sample: Sample,
        target: Target,
        features: Features,
        baseline: Baseline,
        *,
        progress: Progress | None = None,
        expected: int = 0,
    ) -> None:
        """Prepare the game; ``expected`` is the number of coalitions to come, if known, for choosing the layout."""
        self.features = features
        self.baseline = baseline
        self.target = target
        self.evaluations = 0
        self._progress = progress
        self._feeds = sample.feeds
        self._model = model
        self._maskers = maskers_of(features, baseline, sample)
        self._runner = model.runner(target, sample.feeds, expected=expected * baseline.count)
        self._chunk = max(1, self._runner.batch // baseline.count)
        self._known = Memory()
        self._full: float | None = None
        self._empty: float | None = None

    @property
    def size(self) -> int:
        """The number of features, M."""
        return self.features.size

    @property
    def batch(self) -> int:
        """Coalitions that fit one run of the model; a good number to hand over at a time."""
        return self._chunk

    @property
    def full(self) -> float:
        """The score of the input as it is."""
        if self._full is None:
            place, _ = self._known.find(np.ones((1, self.size), dtype=bool))
            if np.isnan(self._known.scores(place)[0]):
                self.evaluations += 1
                (row,) = self._model.rows(self._feeds, (self.target.tensor,))
                self._known.put(place, self._finite(self.target.scores(row[:1])))
            self._full = float(self._known.scores(place)[0])
        return self._full

    @property
    def empty(self) -> float:
        """The score with every feature absent."""
        if self._empty is None:
            self._empty = float(self(np.zeros((1, self.size), dtype=bool))[0])
        return self._empty

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the scores (B,) of coalitions (B, M): booleans, or numbers in [0, 1] for partly present features."""
        return np.concatenate([scores for _, scores in self.stream([coalitions])]) if len(coalitions) else np.empty(0)

    def stream(self, coalitions: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(chunk, scores)`` for chunks of coalitions in the order they come.

        ``coalitions`` is drawn from lazily, a few batches ahead of what has been yielded; arrays of any length are
        cut into chunks of at most ``batch`` rows.
        """
        chunks = (c[start : start + self._chunk] for c in coalitions for start in range(0, len(c), self._chunk))
        if self.baseline.reduce == "largest-effect":
            _ = self.full  # the reference value of the effect, before the stream is under way
        for rows, tag in self._runner.stream(self._batches(chunks)):
            scores = self._reduced(rows, tag.fresh) if rows is not None else np.empty(0)
            result = tag.recall(scores)
            if self._progress is not None:
                self._progress(len(tag.chunk))
            yield tag.chunk, result

    def _batches(self, chunks: Iterable[np.ndarray]) -> Iterator[tuple[dict[str, np.ndarray] | None, _Turn]]:
        ring = [self._buffers() for _ in range(self._runner.depth)]
        self._known = self._remembered()
        for turn, chunk in enumerate(chunks):
            self._check(chunk)
            if chunk.dtype != np.bool_:
                yield self._fill(chunk, ring[turn % len(ring)]), _Turn(chunk, len(chunk))
                continue
            if len(self._known) >= REMEMBERED:
                self._known = self._remembered()
            places, fresh = self._known.find(chunk)
            part = chunk if len(fresh) == len(chunk) else chunk[fresh]
            feeds = self._fill(part, ring[turn % len(ring)]) if len(fresh) else None
            yield feeds, _Turn(chunk, len(fresh), places, places[fresh], self._known)

    def _remembered(self) -> Memory:
        """Return what is known from before; when that is too much, the two ends only."""
        memory = self._known.settled(REMEMBERED - 1)
        for present, score in ((True, self._full), (False, self._empty)):
            if score is not None:
                place, _ = memory.find(np.full((1, self.size), present))
                memory.put(place, np.array([score]))
        return memory

    def _buffers(self) -> dict[str, np.ndarray]:
        rows = self._chunk * self.baseline.count
        has_rows = self._runner.variant.has_rows
        return {name: np.repeat(feed, rows, axis=0) if has_rows(name) else feed for name, feed in self._feeds.items()}

    def _fill(self, coalitions: np.ndarray, buffers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Write the masked rows of ``coalitions`` into ``buffers``; row k * R + r is coalition k on reference r."""
        rows = len(coalitions) * self.baseline.count
        masks = self.features.expand(coalitions)
        for masker in self._maskers:
            masker.write(masks, buffers, len(coalitions))
        self.evaluations += rows
        return self._runner.variant.part(buffers, 0, rows)

    def _reduced(self, rows: np.ndarray, count: int) -> np.ndarray:
        scores = self._finite(rows).reshape(count, self.baseline.count)
        if self.baseline.weights is not None:
            return np.asarray((scores * self.baseline.weights).sum(axis=1))
        if self.baseline.reduce == "mean":
            return np.asarray(scores.mean(axis=1))
        furthest = np.abs(scores - self.full).argmax(axis=1)
        return np.asarray(scores[np.arange(count), furthest])

    def _finite(self, rows: np.ndarray) -> np.ndarray:
        return self.target.finite(
            rows, "the model overflows on masked inputs; try another baseline, or check the preprocessing"
        )

    def _check(self, coalitions: np.ndarray) -> None:
        if coalitions.ndim != 2 or coalitions.shape[1] != self.size:
            raise InputError(f"coalitions have the shape {coalitions.shape}; this game takes (rows, {self.size})")
        if coalitions.dtype != np.bool_ and any(self._feeds[n].dtype.kind != "f" for n in self.features.labels):
            raise InputError("partly present features need inputs of floating-point numbers")


@dataclass(frozen=True)
class _Turn:
    """A chunk on its way through the model, and how its scores are put together."""

    chunk: np.ndarray
    fresh: int  # coalitions of the chunk that the model really runs
    places: np.ndarray | None = None
    fresh_places: np.ndarray | None = None
    known: Memory | None = None

    def recall(self, scores: np.ndarray) -> np.ndarray:
        """Return a score per coalition: those just run and, for equal coalitions, those known from before."""
        if self.known is None or self.places is None or self.fresh_places is None:
            return scores
        self.known.put(self.fresh_places, scores)
        return self.known.scores(self.places)
