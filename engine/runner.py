"""Runner: streams rows through a variant and scores a target, in the layout that suits model and machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from . import runtime
from .home import recall, remember
from .rows import quickest
from .runtime import BRIEF_ALONE, Halt, Layout

if TYPE_CHECKING:
    from .rows import Variant
    from .target import Target

Feeds = Mapping[str, np.ndarray]
Tag = TypeVar("Tag")

LAYOUTS = "layouts.json"
WIDEST_BYTES = 16 << 20  # what a batch of the model's largest tensor should weigh at most
RUN_BYTES = 4 << 20  # what one batch of inputs should weigh at most
MOST_ROWS = 1024
SHORT_BYTES = 2 << 20  # what a batch of rows as short as those of tables should weigh: about what a cache holds
MOST_SHORT_ROWS = 16_384
WORTH_MEASURING = 1.0  # seconds of expected work above which layouts are measured
TRIALS, TRIAL_SECONDS = 3, 0.15
AS_GOOD = 0.02  # a smaller batch that is slower by no more than this is taken: it leaves more of the cache
SHARING_GAINS = 0.05
OWN_SECONDS = 5e-5  # about what a batch costs beside its rows: drawing, masking and putting scores together


@dataclass
class Suited:
    """What is known of a variant and rows of certain shapes: a default layout, one that was measured, a row's time."""

    default: Layout
    measured: Layout | None
    widest: int  # bytes of the model's largest tensor
    row_seconds: float | None = None


@dataclass(frozen=True)
class Runner:
    """Streams batches of rows through a variant and scores a target."""

    variant: Variant
    target: Target
    layout: Layout

    @classmethod
    def choose(cls, variant: Variant, target: Target, feeds: Feeds, *, expected: int, layout: Layout | None) -> Runner:
        """Return a runner with the given layout, a remembered one, one measured now, or the default."""
        if layout is not None:
            return cls(variant, target, layout)
        known = cls.suited(variant, feeds)
        if known.measured is not None:
            return cls(variant, target, known.measured)
        default = cls(variant, target, known.default)
        if not variant.model.device.is_cpu or expected * variant.seconds_alone < WORTH_MEASURING:
            return default
        if known.row_seconds is None:
            known.row_seconds = default.row_seconds(feeds)
        if expected * known.row_seconds < WORTH_MEASURING:
            return default
        known.measured = cls._measured(variant, target, feeds, known.default)
        remember(LAYOUTS, _layout_key(variant, feeds), dataclasses.asdict(known.measured))
        return cls(variant, target, known.measured)

    @classmethod
    def suited(cls, variant: Variant, feeds: Feeds) -> Suited:
        """Return what is known for rows like ``feeds``; what another process measured is looked up once."""
        shapes = tuple((name, feed.shape, feed.dtype) for name, feed in feeds.items())
        if shapes not in variant.suited:
            variant.suited[shapes] = Suited(
                cls.default_layout(variant, feeds), cls._remembered(variant, feeds), variant.model.widest(feeds)
            )
        return variant.suited[shapes]

    def row_seconds(self, feeds: Feeds) -> float:
        """Time a row of a batch: by itself a row takes longer, by the cost of a call."""
        count = min(self.batch, self.most_tried)
        rows = {n: np.repeat(f, count, axis=0) if self.variant.has_rows(n) else f for n, f in feeds.items()}
        self.run(rows)
        halt = Halt() if self.variant.run_seconds(count) <= BRIEF_ALONE else None
        return quickest(lambda: self.run(rows, halt)) / count / self.layout.workers

    @property
    def most_tried(self) -> int:
        """The most rows of a batch on trial: a slow model would take minutes for its largest batches."""
        return max(1, int(TRIAL_SECONDS / max(self.variant.seconds_alone, 1e-9)))

    @staticmethod
    def default_layout(variant: Variant, feeds: Feeds) -> Layout:
        """Return a layout that is rarely bad: a single-threaded run per core, batches of a moderate size.

        Rows as short as those of tables go in large batches that the cores share: to hand a batch of a thousand to
        another thread takes longer than to run it. The layout depends on sizes alone, not on the clock, so that the
        same command gives the same bits again.
        """
        weight, widest = max(1, sum(f.nbytes for f in feeds.values())), max(1, variant.model.widest(feeds))
        most = min(MOST_ROWS, RUN_BYTES / weight, WIDEST_BYTES / widest)
        short = min(MOST_SHORT_ROWS, SHORT_BYTES / max(weight, widest))
        are_short = short > MOST_ROWS and not variant.rows
        batch = variant.rows if variant.rows > 1 else _power_below(short if are_short else most)
        cores = variant.model.threads
        if not variant.model.device.is_cpu:
            return Layout(1, cores, max(batch, 32))
        return Layout(1, cores, batch) if are_short else Layout(cores, 1, batch)

    @staticmethod
    def _remembered(variant: Variant, feeds: Feeds) -> Layout | None:
        kept = recall(LAYOUTS, _layout_key(variant, feeds))
        if not isinstance(kept, dict) or kept.keys() != {"workers", "threads", "batch"}:
            return None
        if any(type(v) is not int or v < 1 for v in kept.values()):
            return None
        if max(kept["workers"], kept["threads"]) > variant.model.threads or kept["batch"] > 2 * MOST_SHORT_ROWS:
            return None
        return Layout(**kept)

    @classmethod
    def _measured(cls, variant: Variant, target: Target, feeds: Feeds, default: Layout) -> Layout:
        """Time a few layouts on this input, in turns, and return the one that was fastest at its best.

        Threads that share an operator wait for each other in a loop: on a machine that others use too, that is slow. So
        they must be faster by ``SHARING_GAINS`` to be chosen. A batch also costs ``OWN_SECONDS``, which are not timed.
        """
        cores = variant.model.threads
        most = cls(variant, target, default).most_tried
        sizes = {default.batch, max(1, default.batch // 4), default.batch * 2}
        sizes = {min(size, 1 << most.bit_length() - 1) for size in sizes} if variant.rows <= 1 else {default.batch}
        rates: dict[Layout, float] = {}
        for _ in range(TRIALS):
            for batch in sorted(sizes):
                rows = {n: np.repeat(f, batch, axis=0) if variant.has_rows(n) else f for n, f in feeds.items()}
                for layout in dict.fromkeys((Layout(cores, 1, batch), Layout(1, cores, batch))):
                    rate = runtime.measure(cls(variant, target, layout).run, rows, layout, TRIAL_SECONDS)
                    rates[layout] = max(rate, rates.get(layout, 0.0))
        worth = {
            layout: (1.0 if layout.threads == 1 else 1 - SHARING_GAINS) / (1 / rate + OWN_SECONDS / layout.batch)
            for layout, rate in rates.items()
        }
        good = [layout for layout, rate in worth.items() if rate >= (1 - AS_GOOD) * max(worth.values())]
        return min(good, key=lambda layout: (layout.batch, -worth[layout]))

    @property
    def batch(self) -> int:
        """Rows a run."""
        return self.layout.batch

    def run(self, feeds: Feeds, halt: Halt | None = None) -> np.ndarray:
        """Return the target's scores (rows,); more rows than a batch are run one batch after the other."""
        session, count = self.variant.session(self.layout.threads), self.variant.count(feeds)
        step = min(self.batch, self.variant.rows or count)
        if count <= step:
            return self.target.scores(self.variant.run_batch(session, feeds, halt)[0])
        parts = [self.variant.part(feeds, k, k + step) for k in range(0, count, step)]
        return np.concatenate([self.run(part, halt) for part in parts])

    def stream(self, batches: Iterable[tuple[Feeds | None, Tag]]) -> Iterator[tuple[np.ndarray | None, Tag]]:
        """Score batches in order, the next ones being prepared meanwhile."""
        self.variant.session(self.layout.threads)
        variant = self.variant
        yield from runtime.stream(
            self.run, batches, self.layout.workers, lambda feeds: variant.run_seconds(variant.count(feeds))
        )


def _power_below(most: float) -> int:
    """Return the largest power of two that is no more than ``most``, or 1."""
    return 1 << max(0, int(most).bit_length() - 1)


def _layout_key(variant: Variant, feeds: Feeds) -> str:
    model = variant.model
    shapes = ";".join(f"{n}{list(f.shape)}" for n, f in sorted(feeds.items()))
    parts = (model.digest[:24], ",".join(variant.tensors), shapes, model.device.name, str(model.threads))
    return "|".join((*parts, runtime.versions()["onnxruntime"]))
