"""A text with a value on each of its parts: what an explanation of a text says, ready to be coloured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .inputs.text_parts import check_spans, grouped, words_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .explanation import Explanation


@dataclass(frozen=True)
class Mark:
    """A part of a text, [begin, end), and its value; ``feature`` is the number of the part that it belongs to."""

    begin: int
    end: int
    value: float
    error: float | None
    feature: int


@dataclass(frozen=True)
class MarkedText:
    """A text and its marks, in order and without overlap; what lies between them has no value."""

    text: str
    marks: tuple[Mark, ...]

    def runs(self) -> Iterator[tuple[str, Mark | None]]:
        """Yield the whole text in pieces, each with its mark or None."""
        place = 0
        for mark in self.marks:
            if place < mark.begin:
                yield self.text[place : mark.begin], None
            yield self.text[mark.begin : mark.end], mark
            place = mark.end
        if place < len(self.text):
            yield self.text[place:], None


def marked_text(explanation: Explanation) -> MarkedText | None:
    """Return the text that was explained with its values, None where the explanation is not one of a text.

    Values of features are those of its words, tokens or sentences. An array with a value, or a vector of values, per
    token (attention, gradients at an embedding) is added up over the vector and over the tokens of each word.
    """
    sample = explanation.sample
    if sample is None or not sample.text or not sample.tokens:
        return None
    try:
        check_spans(sample.text, sample.tokens, sample.spans)
    except ValueError:
        return None
    labels = explanation.feature_labels.get(sample.text_input)
    if explanation.feature_values is not None and labels is not None and labels.size == len(sample.tokens):
        groups = [int(label) for label in labels.reshape(-1)]
        if max(groups) >= len(explanation.feature_values):
            return None
        values, errors = explanation.feature_values, explanation.feature_errors
    else:
        per_token = _per_token(explanation, len(sample.tokens))
        if per_token is None:
            return None
        groups, errors = grouped(sample.spans, words_in(sample.text)), None
        values = np.zeros(max(groups) + 1)
        np.add.at(values, [g for g in groups if g >= 0], [v for v, g in zip(per_token, groups, strict=True) if g >= 0])
    return MarkedText(sample.text, tuple(_marks(sample.spans, groups, values, errors)))


def _per_token(explanation: Explanation, count: int) -> np.ndarray | None:
    """Return a value per token from the first array whose second axis is that of the tokens."""
    sample = explanation.sample
    first = sample.text_input if sample is not None else ""
    # An embedding before attention masks and other rows of numbers.
    order = sorted(explanation.values, key=lambda n: (n != first, explanation.values[n].ndim != 3))
    for array in (explanation.values[name] for name in order):
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            continue
        if array.shape[:2] == (1, count) and array.ndim <= 3:
            return np.asarray(array.reshape(count, -1).sum(axis=1), dtype=np.float64)
        if array.shape == (count,):
            return np.asarray(array, dtype=np.float64)
    return None


def _marks(
    spans: Sequence[tuple[int, int]], groups: Sequence[int], values: np.ndarray, errors: np.ndarray | None
) -> Iterator[Mark]:
    """Yield a mark for each run of neighbouring tokens of one group."""
    order = sorted((begin, end, group) for (begin, end), group in zip(spans, groups, strict=True) if begin < end)
    found: list[list[int]] = []
    for begin, end, group in order:
        if group < 0:
            found.append([begin, end, group])
        elif found and found[-1][2] == group:
            found[-1][1] = max(found[-1][1], end)
        elif end > max((f[1] for f in found[-1:]), default=0):
            found.append([max(begin, found[-1][1]) if found else begin, end, group])
    for begin, end, group in found:
        if group >= 0:
            yield Mark(begin, end, float(values[group]), None if errors is None else float(errors[group]), group)
