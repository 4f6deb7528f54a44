"""Scorer: any rows -> scores of a target, streamed; for methods that draw rows of their own instead of masking one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np

    from .model import Model
    from .runtime import Layout
    from .target import Target

Tag = TypeVar("Tag")
Feeds = dict[str, "np.ndarray"]
OVERFLOW = "the model overflows on this row; check the data and the preprocessing"


class Scorer:
    """Scores of a target for rows that come batch by batch; the next batch is prepared while the model runs.

    ``evaluations`` counts model rows. A batch of feeds has the batch axis first; inputs without rows stay as they are.
    """

    def __init__(
        self,
        model: Model,
        target: Target,
        feeds: Mapping[str, np.ndarray],
        *,
        expected: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare for rows like those in ``feeds``; ``expected`` of them, if known, for choosing the layout."""
        self.evaluations = 0
        self._target = target
        self._progress = progress
        self._runner = model.runner(target, feeds, expected=expected)

    @property
    def batch(self) -> int:
        """Rows that fit one run of the model; a good number to hand over at a time."""
        return self._runner.batch

    @property
    def layout(self) -> Layout:
        """How the work is laid on the machine."""
        return self._runner.layout

    def stream(self, batches: Iterable[tuple[Feeds, Tag]]) -> Iterator[tuple[np.ndarray, Tag]]:
        """Yield ``(scores, tag)`` in the order of the batches; a batch must not be written to afterwards.

        Raises ``ModelError`` where a score is not finite.
        """
        for scores, (tag, count) in self._runner.stream(self._counted(batches)):
            if scores is None:
                continue
            if self._progress is not None:
                self._progress(count)
            yield self._target.finite(scores, OVERFLOW), tag

    def _counted(self, batches: Iterable[tuple[Feeds, Tag]]) -> Iterator[tuple[Feeds, tuple[Tag, int]]]:
        for feeds, tag in batches:
            count = self._runner.variant.count(feeds)
            self.evaluations += count
            yield feeds, (tag, count)
