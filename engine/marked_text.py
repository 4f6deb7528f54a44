"""A text with a value on each of its parts: what an explanation of a text says, ready to be coloured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .inputs.sample import PARTED
from .inputs.text_parts import check_spans, grouped, words_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .explanation import Explanation
    from .inputs.sample import SplitText


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
    """Return the texts that were explained with their values, None where the explanation is not one of a text.

    Several texts are parted by blank lines. Values of features are those of their words, tokens or sentences. An array
    with a value, or a vector of values, per token (attention, gradients at an embedding) is added up over the vector
    and over the tokens of each word.
    """
    texts = explanation.sample.texts if explanation.sample is not None else ()
    marks: list[Mark] = []
    begin, has_values = 0, False
    for split in texts:
        found = _marked(explanation, split)
        if found is not None:
            marks += [replace(mark, begin=mark.begin + begin, end=mark.end + begin) for mark in found]
            has_values = True
        begin += len(split.text) + len(PARTED)
    return MarkedText(PARTED.join(split.text for split in texts), tuple(marks)) if has_values else None


def _marked(explanation: Explanation, split: SplitText) -> list[Mark] | None:
    """Return the marks of one text, None where the explanation says nothing of it."""
    try:
        check_spans(split.text, split.tokens, split.spans)
    except ValueError:
        return None
    labels = explanation.feature_labels.get(split.input)
    if explanation.feature_values is not None and labels is not None and labels.size == len(split.tokens):
        groups = [int(label) for label in labels.reshape(-1)]
        if max(groups) >= len(explanation.feature_values):
            return None
        return list(_marks(split.spans, groups, explanation.feature_values, explanation.feature_errors))
    found = per_word(explanation, split)
    return None if found is None else list(_marks(split.spans, *found, None))


def per_word(explanation: Explanation, split: SplitText) -> tuple[list[int], np.ndarray] | None:
    """Return which word each token is of (-1: none), and a value per word: the sum over its tokens.

    None where the explanation has no array with a value, or a vector of values, per token.
    """
    found = _per_token(explanation, split)
    if found is None:
        return None
    groups = grouped(split.spans, words_in(split.text))
    values = np.zeros(max(groups) + 1)
    np.add.at(values, [g for g in groups if g >= 0], [v for v, g in zip(found, groups, strict=True) if g >= 0])
    return groups, values


def _per_token(explanation: Explanation, split: SplitText) -> np.ndarray | None:
    """Return a value per token from the first array whose second axis is that of the tokens."""
    count = len(split.tokens)
    # An embedding before attention masks and other rows of numbers.
    order = sorted(explanation.values, key=lambda n: (n != split.input, explanation.values[n].ndim != 3))
    alone = explanation.sample is None or len(explanation.sample.texts) == 1
    for name in order if alone else order[:1]:  # of several texts, arrays inside the model could be of any
        array = explanation.values[name]
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
