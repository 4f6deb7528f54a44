"""Game: coalitions of features -> scores of the target; the one loop that streams batches to the model.

Every perturbation method, and the deletion and insertion metrics, are a choice of coalitions plus an estimator over a
Game. Coalitions are masked and scored batch by batch: the next batch is prepared while the runtime works on the last
ones, and memory does not grow with the number of coalitions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import InputError
from .masking.baselines import Baseline
from .masking.choose import resolve_baseline, resolve_features
from .masking.features import Features
from .masking.maskers import maskers_of
from .memory import Memory
from .target import Target, resolve

if TYPE_CHECKING:
    from .inputs.sample import Sample
    from .model import Model

Progress = Callable[[int], None]
REMEMBERED = 1 << 16  # scores of binary coalitions that are kept, so that equal coalitions are evaluated once
TOGETHER = 512  # coalitions that are looked up at a time, or one batch where that is more


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
        target: Target | str | int,
        features: Features | Any,
        baseline: Baseline | Any,
        *,
        progress: Progress | None = None,
        expected: int = 0,
        shared: Memory | None = None,
    ) -> None:
        """Prepare the game; ``expected`` is the number of coalitions to come, if known, for choosing the layout.

        Target, features and baseline may also be what a user writes: ``"tabby"``, ``"grid:4"``, ``"blur"``, an array.
        ``shared`` holds scores of other games with the same model, sample, target, features and baseline: what it knows
        is not run again, but counts as evaluations of this game all the same.
        """
        target = target if isinstance(target, Target) else resolve(target, model, sample.feeds)
        features = features if isinstance(features, Features) else resolve_features(features, model, sample)
        baseline = baseline if isinstance(baseline, Baseline) else resolve_baseline(baseline, model, sample, seed=0)
        self.features = features
        self.baseline = baseline
        self.target = target
        self.evaluations = 0
        self._progress = progress
        self._feeds = sample.feeds
        self._model = model
        self._references = baseline.count
        self._maskers = maskers_of(features, baseline, sample)
        self._runner = model.runner(target, sample.feeds, expected=expected * self._references)
        self._chunk = max(1, self._runner.batch // self._references)
        self._known = Memory()
        self._shared = shared
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
            whole = np.ones(self.size, dtype=bool)
            self._full = self._known.score(whole)
            if self._full is None:
                self.evaluations += 1
                (row,) = self._model.rows(self._feeds, (self.target.tensor,))
                self._full = float(self._finite(self.target.scores(row[:1]))[0])
                if len(self._known):  # a stream that looks there may be under way
                    self._known.keep(whole, self._full)
        return self._full

    @property
    def empty(self) -> float:
        """The score with every feature absent."""
        if self._empty is None:
            is_new = not len(self._known) and self._shared is None
            ((_, scores),) = self.stream([np.zeros((1, self.size), dtype=bool)], distinct=is_new)
            self._empty = float(scores[0])
        return self._empty

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Return the scores (B,) of coalitions (B, M): booleans, or numbers in [0, 1] for partly present features."""
        given = np.asarray(coalitions)
        if given.dtype != np.bool_:
            if given.dtype.kind not in "fiu" or not ((given >= 0) & (given <= 1)).all():
                raise InputError("coalitions hold numbers from 0 (absent) to 1 (present)")
            given = given.astype(bool) if np.isin(given, (0, 1)).all() else given
        return np.concatenate([scores for _, scores in self.stream([given])]) if len(given) else np.empty(0)

    def stream(
        self, coalitions: Iterable[np.ndarray], *, distinct: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(chunk, scores)`` for chunks of coalitions in the order they come.

        ``coalitions`` is drawn from lazily, a few batches ahead of what has been yielded; arrays of any length are
        cut into chunks of at most ``batch`` rows. With ``distinct`` the caller knows that all of them differ, and from
        those before: they are neither looked up nor remembered, which for small models takes as long as the model.
        """
        if self.baseline.reduce == "largest-effect":
            _ = self.full  # the reference value of the effect, before the stream is under way
        spare: list[dict[str, np.ndarray]] = []  # buffers whose rows have been through the model
        for rows, tag in self._runner.stream(self._batches(coalitions, spare, distinct=distinct)):
            spare += tag.buffers
            scores = self._reduced(rows, tag.fresh) if rows is not None else np.empty(0)
            result = tag.recall(scores)
            if self._progress is not None:
                self._progress(len(tag.chunk))
            yield tag.chunk, result

    def whole(
        self, coalitions: Iterable[np.ndarray], *, distinct: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ``(coalitions, scores)`` for whole arrays, as they were handed over; else as ``stream``."""
        handed: deque[np.ndarray] = deque()

        def watched() -> Iterator[np.ndarray]:
            for array in coalitions:
                if len(array):
                    handed.append(array)
                    yield array

        parts: list[np.ndarray] = []
        missing = 0
        for chunk, scores in self.stream(watched(), distinct=distinct):
            missing = (missing or len(handed[0])) - len(chunk)
            parts.append(scores)
            if not missing:
                yield handed.popleft(), parts[0] if len(parts) == 1 else np.concatenate(parts)
                parts.clear()

    def _batches(
        self, coalitions: Iterable[np.ndarray], spare: list[dict[str, np.ndarray]], *, distinct: bool
    ) -> Iterator[tuple[dict[str, np.ndarray] | None, _Turn]]:
        is_settled = False
        for array in coalitions:
            self._check(array)
            if distinct or array.dtype != np.bool_:
                for start in range(0, len(array), self._chunk):
                    chunk = array[start : start + self._chunk]
                    buffers = self._buffers(len(chunk), spare)
                    yield self._fill(chunk, buffers), _Turn(chunk, len(chunk), [buffers])
                continue
            together = max(self._chunk, TOGETHER // self._chunk * self._chunk)
            for start in range(0, len(array), together):
                if not is_settled or len(self._known) >= REMEMBERED:
                    self._known, is_settled = self._remembered(), True
                yield from self._unknown(array[start : start + together], self._known, spare)

    def _unknown(
        self, array: np.ndarray, known: Memory, spare: list[dict[str, np.ndarray]]
    ) -> Iterator[tuple[dict[str, np.ndarray] | None, _Turn]]:
        """Yield chunks of coalitions, with the rows of those that are not known; all are looked up at once."""
        places, fresh = known.find(array)
        fresh, shared = self._not_shared(array, places, fresh)
        for start in range(0, len(array), self._chunk):
            at = slice(start, start + self._chunk)
            chunk = array[at]
            first, end = np.searchsorted(fresh, (start, start + len(chunk)))
            rows = fresh[first:end]
            if not len(rows):
                yield None, _Turn(chunk, 0, [], places[at], rows, known)
                continue
            buffers = self._buffers(len(rows), spare)
            told = None if shared is None else (shared[0], shared[1][first:end])
            turn = _Turn(chunk, len(rows), [buffers], places[at], places[rows], known, told)
            yield self._fill(chunk if len(rows) == len(chunk) else array[rows], buffers), turn

    def _not_shared(
        self, array: np.ndarray, places: np.ndarray, fresh: np.ndarray
    ) -> tuple[np.ndarray, tuple[Memory, np.ndarray] | None]:
        """Take over what other games know of ``fresh`` rows; return those left, and where their scores are to go."""
        shared = self._shared
        if shared is None or len(shared) >= REMEMBERED or not len(fresh):
            return fresh, None
        theirs, _ = shared.find(array[fresh])
        scores = shared.scores(theirs)
        there = ~np.isnan(scores)
        self._known.put(places[fresh[there]], scores[there])
        self.evaluations += int(there.sum()) * self._references
        return fresh[~there], (shared, theirs[~there])

    def _remembered(self) -> Memory:
        """Return what is known from before; when that is too much, the two ends only."""
        memory = self._known.settled(REMEMBERED - 1)
        for present, score in ((True, self._full), (False, self._empty)):
            if score is not None:
                memory.keep(np.full(self.size, present), score)
        return memory

    def _buffers(self, coalitions: int, spare: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return arrays with room for the rows of so many coalitions, the last ones that are spare if they have it."""
        variant = self._runner.variant
        if spare and variant.count(spare[-1]) >= coalitions * self._references:
            return spare.pop()
        rows = min(self._chunk, 1 << (coalitions - 1).bit_length()) * self._references
        spare[:] = [buffers for buffers in spare if variant.count(buffers) >= rows]
        written = self.features.labels  # whose rows maskers write as a whole
        return {
            n: (np.empty((rows, *f.shape[1:]), f.dtype) if n in written else np.repeat(f, rows, axis=0))
            if variant.has_rows(n)
            else f
            for n, f in self._feeds.items()
        }

    def _fill(self, coalitions: np.ndarray, buffers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Write the masked rows of ``coalitions`` into ``buffers``; row k * R + r is coalition k on reference r."""
        rows = len(coalitions) * self._references
        masks = self.features.expand(coalitions)
        for masker in self._maskers:
            masker.write(masks, buffers, len(coalitions))
        self.evaluations += rows
        return self._runner.variant.part(buffers, 0, rows)

    def _reduced(self, rows: np.ndarray, count: int) -> np.ndarray:
        if self._references == 1:
            return self._finite(rows)
        scores = self._finite(rows).reshape(count, self._references)
        if self.baseline.weights is not None:
            return np.asarray((scores * self.baseline.weights).sum(axis=1))
        if self.baseline.reduce == "mean":
            return np.asarray(scores.sum(axis=1) / self._references)
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


class _Turn(NamedTuple):
    """A chunk on its way through the model, and how its scores are put together."""

    chunk: np.ndarray
    fresh: int  # coalitions of the chunk that the model really runs
    buffers: list[dict[str, np.ndarray]]  # that hold their rows, if any do
    places: np.ndarray | None = None
    fresh_places: np.ndarray | None = None
    known: Memory | None = None
    shared: tuple[Memory, np.ndarray] | None = None  # where other games look, and the places of the fresh there

    def recall(self, scores: np.ndarray) -> np.ndarray:
        """Return a score per coalition: those just run and, for equal coalitions, those known from before."""
        if self.known is None or self.places is None or self.fresh_places is None:
            return scores
        self.known.put(self.fresh_places, scores)
        if self.shared is not None:
            memory, places = self.shared
            memory.put(places, scores)
        return self.known.scores(self.places)
