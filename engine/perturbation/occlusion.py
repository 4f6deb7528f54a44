"""Occlusion: how far the score falls when a sliding window hides part of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..masking.features import elements
from ..registry import PREDICT, register
from ..results.findings import of_arrays, of_features
from ..settings import Range
from .axes import check_input_names, maskable, words_of
from .windows import Windows, windows_over, words_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..masking.features import Features
    from ..problem import Problem


@register("explainer", "occlusion", needs=PREDICT, source="Zeiler & Fergus 2014, arXiv:1311.2901")
@dataclass(frozen=True)
class Occlusion:
    """Importance of a region: how far the score falls when a sliding window hides it.

    An element gets the mean, over the windows W that cover it, of ``score(x) - score(x with W replaced)``, where the
    baseline replaces what a window covers; with ``overlap='sum'``, the sum (PAIR's saliency). A window covers all
    channels of an image unless a size for the channels is given; over a text it slides word by word. The windows of one
    input leave the others as they are. The last window of an axis is cut off at the end, as in Captum; other libraries
    leave the rest of the axis out.

    Source: Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks, arXiv:1311.2901.
    """

    window: Annotated[
        int | tuple[int, ...] | dict[str, Any] | None,
        "size of the window, one number or one per axis; none: a seventh of each axis, one element of a table or text",
        Range(1),
    ] = None
    stride: Annotated[
        int | tuple[int, ...] | dict[str, Any] | None,
        "step from window to window, one number or one per axis; none: half the window",
        Range(1),
    ] = None
    baseline: Annotated[Any, "what replaces hidden elements: a number, array or name (see docs)"] = "auto"
    overlap: Annotated[Literal["average", "sum"], "how the windows over one element are put together"] = "average"

    def explain(self, problem: Problem) -> Explanation:
        """Hide each window in turn."""
        words = words_of(problem)
        if words is not None:
            return self._words(problem, words)
        inputs = maskable(problem)
        check_input_names(self.window, inputs, "occlusion.window")
        check_input_names(self.stride, inputs, "occlusion.stride")
        windows = {name: windows_over(axes, self.window, self.stride, "occlusion") for name, axes in inputs.items()}
        features = elements({name: (1, *w.sizes) for name, w in windows.items()})
        game = problem.game(features, expected=sum(w.count for w in windows.values()))
        full = game.full
        falls = {name: np.zeros(w.sizes) for name, w in windows.items()}
        scored = _places(windows)
        for _, scores in game.stream(_coalitions(windows, features.size, game.batch), distinct=True):
            for score, (name, place) in zip(scores, scored, strict=False):
                falls[name][place] += full - score
        if self.overlap == "average":
            falls = {name: fall / windows[name].coverage() for name, fall in falls.items()}
        return of_arrays(problem, game, {name: fall[None] for name, fall in falls.items()})

    def _words(self, problem: Problem, features: Features) -> Explanation:
        """Hide each window of neighbouring words in turn."""
        name = next(iter(features.labels))
        windows = {name: words_window(name, features.size, self.window, self.stride)}
        game = problem.game(features, expected=windows[name].count)
        full, falls = game.full, np.zeros(features.size)
        scored = _places(windows)
        for _, scores in game.stream(_coalitions(windows, features.size, game.batch), distinct=True):
            for score, (_, place) in zip(scores, scored, strict=False):
                falls[place] += full - score
        if self.overlap == "average":
            falls /= windows[name].coverage()
        return of_features(problem, game, falls)


def _places(windows: dict[str, Windows]) -> Iterator[tuple[str, tuple[slice, ...]]]:
    """Yield all windows of the first input, then of the second, and so on."""
    for name, of_input in windows.items():
        for place in of_input.places():
            yield name, place


def _coalitions(windows: dict[str, Windows], size: int, batch: int) -> Iterator[np.ndarray]:
    """Yield coalitions (batch, elements) that lack one window each, in the order of ``_places``."""
    begin = 0
    spans = {}
    for name, of_input in windows.items():
        end = begin + int(np.prod(of_input.sizes))
        spans[name] = (slice(begin, end), of_input.sizes)
        begin = end
    chunk, row = np.ones((batch, size), dtype=bool), 0
    for name, place in _places(windows):
        span, shape = spans[name]
        chunk[row, span].reshape(shape)[place] = False
        row += 1
        if row == batch:
            yield chunk
            chunk, row = np.ones((batch, size), dtype=bool), 0
    if row:
        yield chunk[:row]
