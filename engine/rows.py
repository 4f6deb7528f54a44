"""Rows: how any number of instances goes through a graph, whatever batch it was exported with.

Inside the engine every feed and every tensor has its batch axis first. A ``Variant`` is the model's graph cut to some
tensors, with proof of how it takes rows: *any* number as declared, *freed* from a fixed batch axis by rewriting the
graph, a *fixed* number (filled up), or *looped* one by one. A ``Runner`` streams rows through it and scores a target.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import graph
from .errors import InputError, ModelError
from .runtime import BRIEF_ALONE, Halt, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from .model import Model, TensorSpec
    from .runner import Suited

Feeds = Mapping[str, np.ndarray]
Tag = TypeVar("Tag")
SHORT = 1e-2  # seconds; of a shorter run most may be waiting


def quickest(run: Callable[[], object], times: int = 3) -> float:
    """Return the seconds of the quickest of a few runs, or of the first if that takes long enough to be believed.

    On a machine that others use too, a single short run mostly measures how long it waits for a core.
    """
    best = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
        if best > SHORT:
            break
    return best


def leading(feeds: Feeds, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Move the batch axis of each feed to the front; a model without any batch axis gets one of size one."""
    batched = any(i.batch_axis is not None for i in inputs)
    axes = {i.name: i.batch_axis for i in inputs}
    open_ones = {i.name for i in inputs if not i.ranked}  # which may hold a scalar, and are taken for instances

    def move(name: str, feed: np.ndarray) -> np.ndarray:
        axis = axes[name]
        if axis is None:
            return feed if batched or (feed.ndim == 0 and name not in open_ones) else feed[None]
        return np.moveaxis(feed, axis, 0) if axis else feed

    return {name: move(name, feed) for name, feed in feeds.items()}


def native(name: str, array: np.ndarray, inputs: Sequence[TensorSpec]) -> np.ndarray:
    """Undo ``leading`` for one array shaped like an input's feed."""
    axis = next((i.batch_axis for i in inputs if i.name == name), 0)
    if axis is None:
        batched = any(i.batch_axis is not None for i in inputs)
        return array if batched or array.ndim == 0 else array[0]
    return np.moveaxis(array, 0, axis) if axis else array


def with_rows(inputs: Sequence[TensorSpec]) -> frozenset[str]:
    """Return the names of the inputs whose feeds, with the batch axis first, have a row per instance."""
    batched = any(i.batch_axis is not None for i in inputs)
    return frozenset(
        i.name for i in inputs if i.batch_axis is not None or (not batched and (bool(i.shape) or not i.ranked))
    )


def has_rows(name: str, inputs: Sequence[TensorSpec]) -> bool:
    """Say whether a feed with the batch axis first has a row per instance."""
    return name in with_rows(inputs)


def first_row(feeds: Feeds, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Return feeds with their first row only."""
    names = with_rows(inputs)
    return {name: feed[:1] if name in names else feed for name, feed in feeds.items()}


@dataclass
class Variant:
    """A model's graph cut to some tensors, and how it takes rows.

    ``rows`` is the number of rows a run must have (0: any). ``axes`` holds the batch axis of each tensor as the graph
    gives it, or None where it has none.
    """

    model: Model
    tensors: tuple[str, ...]
    batching: str
    rows: int
    axes: tuple[int | None, ...]
    seconds: float  # one row, on all cores
    _make: Callable[[], onnx.ModelProto]
    _sessions: dict[int, Session] = field(default_factory=dict)
    suited: dict[Any, Suited] = field(init=False, default_factory=dict)  # by the shapes of a row
    _least: float = field(init=False, default=math.inf)  # seconds of the quickest run so far, whatever its rows
    _pace: float = field(init=False, default=math.inf)  # seconds a row in the run where a row took least

    @classmethod
    def prove(cls, model: Model, tensors: tuple[str, ...], feeds: Feeds) -> Variant:
        """Find how the cut graph takes rows, by running one row, another, and both together.

        Where values of rows decide what runs, rows together may run otherwise than alone: they go one by one.
        """

        def cut() -> onnx.ModelProto:
            return graph.tap(model.proto, tensors)

        places = {i.name: i.batch_axis for i in model.inputs}
        sizes = {i.shape[i.batch_axis] for i in model.inputs if i.batch_axis is not None}
        fixed = next((s for s in sizes if isinstance(s, int)), 0)
        declared = cls(model, tensors, "any", fixed or (0 if sizes else 1), (), 0.0, cut)
        session = declared.session(model.threads)
        first = declared._raw(session, feeds)
        begun = time.perf_counter()
        other, second = declared._second(session, feeds, first)
        whole = time.perf_counter() - begun
        if whole < SHORT:
            whole = min(whole, quickest(lambda: declared._raw(session, feeds)))
        declared.seconds = whole / max(declared.rows, 1)
        declared.axes = tuple(_declared_axis(model, t, v, fixed or 1) for t, v in zip(tensors, first, strict=True))
        if sizes and second is not first and not model.is_decided_by_values:
            both = {n: np.concatenate([f, other[n]]) if places[n] is not None else f for n, f in feeds.items()}
            for candidate in (*([] if fixed else [declared]), *declared._freed(places)):
                found = candidate.proved(declared._single(first), declared._single(second), both)
                if found is not None:
                    candidate.axes = found
                    return candidate
        declared.batching, declared.rows = ("fixed", fixed) if fixed > 1 else ("looped", 1)
        return declared

    def _second(
        self, session: Session, feeds: Feeds, first: list[np.ndarray]
    ) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """Return another row and what it gives; ``first`` itself where the model does not take another: no proof."""
        for change in (_another, _nearby):
            other = {n: change(f) if self.has_rows(n) else f for n, f in feeds.items()}
            if any(not np.array_equal(other[n], f) for n, f in feeds.items()):
                with contextlib.suppress(InputError, ModelError):
                    return other, self._raw(session, other)
        return dict(feeds), first

    def _freed(self, places: Mapping[str, int | None]) -> list[Variant]:
        """Return this variant with the batch axis freed, if the graph can be rewritten so."""
        cut = self._make()
        left = {n: places[n] for n in graph.input_names(cut)}
        freed = graph.free_batch(cut, {n: a for n, a in left.items() if a is not None})
        if freed is None:
            return []
        whole = freed
        return [dataclasses.replace(self, batching="freed", rows=0, _make=lambda: whole, _sessions={})]

    def session(self, threads: int) -> Session:
        """Return the session with this many threads per run, opened once."""
        if threads not in self._sessions:
            proto = self._make()
            try:
                data = proto.SerializeToString()
            except ValueError:
                raise ModelError(
                    "the model is larger than the 2 GiB that a single ONNX message holds",
                    tip="save it with external data (onnx.save_model(..., save_as_external_data=True))",
                ) from None
            self.model.check_external()
            session = Session(data, self.model.folder, self.model.device, threads)
            self.model.check_external()  # the runtime has read the weights by now
            self._sessions[threads] = session
        return self._sessions[threads]

    def run(self, feeds: Feeds, batch: int, threads: int) -> list[np.ndarray]:
        """Return the tensors, batch axis first, for any number of rows, ``batch`` at a time."""
        session = self.session(threads)
        count = self.count(feeds)
        halt = Halt() if self.run_seconds(min(count, batch)) <= BRIEF_ALONE else None
        return _joined(
            [self.run_batch(session, self.part(feeds, k, k + batch), halt) for k in range(0, max(count, 1), batch)]
        )

    def run_seconds(self, rows: int) -> float:
        """Return about how long a run of so many rows takes, by the quickest runs so far; infinite if nothing is known.

        Of a graph with loops, whose time may depend on values, nothing ever is; nor of a GPU, which is waited for
        elsewhere.
        """
        return max(self._least, rows * self._pace)

    @property
    def seconds_alone(self) -> float:
        """Seconds of one row: when the graph was proved, or, if that had to wait for a core, of a quicker run since."""
        return min(self.seconds, self.run_seconds(1))

    def run_batch(self, session: Session, feeds: Feeds, halt: Halt | None = None) -> list[np.ndarray]:
        """Run at most one batch of rows: as one run, filled up to a fixed number, or row by row."""
        if not self.rows:
            return self._run(session, feeds, halt)
        count = self.count(feeds)
        if self.rows == count:
            return self._run(session, feeds, halt)
        parts = [
            [a[: min(self.rows, count - k)] for a in self._run(session, self._padded(feeds, k), halt)]
            for k in range(0, count, self.rows)
        ]
        return _joined(parts)

    def native_output(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return rows of a tensor as the graph itself would give them."""
        axis = self.axes[self.tensors.index(name)]
        if axis is None:
            return rows[0] if len(rows) == 1 else rows
        return np.moveaxis(rows, 0, axis) if axis else rows

    def _padded(self, feeds: Feeds, start: int) -> dict[str, np.ndarray]:
        part = self.part(feeds, start, start + self.rows)
        return {
            n: np.concatenate([f, np.repeat(f[-1:], self.rows - len(f), axis=0)])
            if self.has_rows(n) and len(f) < self.rows
            else f
            for n, f in part.items()
        }

    def part(self, feeds: Feeds, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return some of the rows; inputs without rows stay as they are."""
        names = self._with_rows
        return {n: f[start:stop] if n in names else f for n, f in feeds.items()}

    def count(self, feeds: Feeds) -> int:
        """Return the number of rows."""
        names = self._with_rows
        for name, feed in feeds.items():
            if name in names:
                return len(feed)
        return 1

    def has_rows(self, name: str) -> bool:
        """Say whether an input has a row per instance (a scalar of a batched model has none)."""
        return name in self._with_rows

    @cached_property
    def _with_rows(self) -> frozenset[str]:
        return with_rows(self.model.inputs)

    def _run(self, session: Session, feeds: Feeds, halt: Halt | None = None) -> list[np.ndarray]:
        begun, count = time.perf_counter(), self.count(feeds)
        values = self._raw(session, feeds, halt)
        if self._is_steady:
            seconds = time.perf_counter() - begun
            self._least, self._pace = min(self._least, seconds), min(self._pace, seconds / count)
        return self._moved(values, count)

    @cached_property
    def _is_steady(self) -> bool:
        return self.model.device.is_cpu and not self.model.has_loops

    def _raw(self, session: Session, feeds: Feeds, halt: Halt | None = None) -> list[np.ndarray]:
        """Run once and return the tensors as the graph gives them."""
        ready = self._padded(feeds, 0) if self.rows > 1 and self.count(feeds) < self.rows else feeds
        if not self.model.rows_first:
            ready = {n: native(n, ready[n], self.model.inputs) for n in session.inputs}
        return session.run({n: np.asarray(ready[n], order="C") for n in session.inputs}, halt)

    def _moved(self, values: list[np.ndarray], count: int) -> list[np.ndarray]:
        """Put the batch axis first, and drop the rows that only filled up the batch."""
        return [
            v[None] if axis is None else (np.moveaxis(v, axis, 0) if axis else v)[:count]
            for v, axis in zip(values, self.axes, strict=True)
        ]

    def _single(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Return tensors of a run of one row without the rows that filled up a fixed batch."""
        return [
            v if axis is None or self.rows <= 1 else np.take(v, [0], axis=axis)
            for v, axis in zip(values, self.axes, strict=True)
        ]

    def proved(self, first: list[np.ndarray], second: list[np.ndarray], both: Feeds) -> tuple[int, ...] | None:
        """Return the tensors' batch axes if a run of both rows equals a run of each, else None."""
        try:
            values = self._raw(self.session(self.model.threads), both)
        except (ModelError, InputError):
            return None
        found: list[int] = []
        for value, one, two in zip(values, first, second, strict=True):
            axis = _grown_axis(one.shape, value.shape)
            if axis is None or not _close(value, np.concatenate([one, two], axis=axis)):
                return None
            found.append(axis)
        return tuple(found)


def _joined(parts: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Put the rows of several runs together, by tensor."""
    if len(parts) == 1:
        return parts[0]
    try:
        return [np.concatenate(column) for column in zip(*parts, strict=True)]
    except ValueError:
        raise ModelError(
            "an output of the model has another shape from row to row",
            where=", ".join(sorted({str(list(a.shape[1:])) for part in parts for a in part})[:8]),
            tip="give one row at a time",
        ) from None


def _declared_axis(model: Model, tensor: str, value: np.ndarray, rows: int) -> int | None:
    """Return where the batch axis of a tensor should be by its declaration, if the tensor has that many rows there."""
    if all(i.batch_axis is None for i in model.inputs):
        return None
    known = {o.name: o.batch_axis for o in (*model.outputs, *model.inputs)}
    axis = known.get(tensor, 0)
    return axis if axis is not None and axis < value.ndim and value.shape[axis] == rows else None


def _another(feed: np.ndarray) -> np.ndarray:
    """Return a row that differs from ``feed`` but is as legal: rolled, and scaled where it holds numbers."""
    rolled = np.roll(feed.reshape(len(feed), -1), 1, axis=1).reshape(feed.shape)
    return (rolled * feed.dtype.type(0.875)).astype(feed.dtype) if feed.dtype.kind == "f" else rolled


def _nearby(feed: np.ndarray) -> np.ndarray:
    """Return a row that differs from ``feed`` and keeps codes in their columns: smaller numbers, other flags."""
    if feed.dtype.kind not in "fiu":
        return ~feed if feed.dtype.kind == "b" else np.full_like(feed, "")
    smaller = (feed * 0.875 if feed.dtype.kind == "f" else feed // 2).astype(feed.dtype)
    return (feed + 1).astype(feed.dtype) if np.array_equal(smaller, feed) else smaller


def _grown_axis(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """Return the only axis that differs, if it is one for one row and two for two.

    An axis that merely doubles (batch times heads) holds several rows of an instance, which must stay together.
    """
    grown = [k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
    return grown[0] if len(one) == len(two) and len(grown) == 1 and (one[grown[0]], two[grown[0]]) == (1, 2) else None


def _close(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.dtype.kind not in "fc":
        return bool(np.array_equal(found, expected))
    wide, known = found.astype(np.float64), expected.astype(np.float64)
    tolerance = 2e-2 if found.dtype.itemsize == 2 else 1e-3
    scale = float(np.max(np.abs(known), initial=0.0, where=np.isfinite(known)))
    return bool(np.allclose(wide, known, rtol=tolerance, atol=tolerance * scale * 0.1, equal_nan=True))
