"""Maskers: how a batch of coalitions becomes rows of the inputs: blended, closed up, or spelled anew.

A masker writes the rows of the inputs that it is for; a game has one for each input that its features are in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import SettingError, printable
from .blend import Blend
from .gaps import Gaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..inputs.sample import Sample, SplitText
    from .baselines import Baseline
    from .features import Features

    Arrays = Mapping[str, np.ndarray]


class Masker(Protocol):
    """Writes rows of one input, and of those that go with it."""

    def write(self, masks: Arrays, buffers: Arrays, count: int) -> None:
        """Write the rows of ``count`` coalitions, whose masks (count, ...) are by input name, into the buffers.

        Row k * R + r of a buffer is coalition k on reference r; a buffer may have more rows.
        """


def maskers_of(features: Features, baseline: Baseline, sample: Sample) -> tuple[Masker, ...]:
    """Return a masker for each input that the features are in; SettingError where nothing stands in for one."""
    missing = [name for name in features.labels if name not in baseline.references]
    if missing:
        raise SettingError(
            f"the baseline '{printable(baseline.name)}' has nothing to stand in for input '{printable(missing[0])}'"
        )
    return tuple(_masker(name, labels, baseline, sample) for name, labels in features.labels.items())


def _masker(name: str, labels: np.ndarray, baseline: Baseline, sample: Sample) -> Masker:
    feed, references, text = sample.feeds[name], baseline.references[name], sample.text_in(name)
    if text is not None and labels.ndim == feed.ndim + 1:
        return Respelling(feed, references, text)
    if text is not None and name in baseline.removed and feed.dtype.kind in "iu":
        return ClosingUp(sample.feeds, references, text)
    axis = baseline.across.get(name)
    return Blending(name, feed, references, Blend(feed, references) if axis is None else Gaps(feed, axis, references))


class Blending:
    """Puts the reference in the place of absent elements, ``x * z + reference * (1 - z)``, or a line across a gap."""

    def __init__(self, name: str, feed: np.ndarray, references: np.ndarray, blend: Blend | Gaps) -> None:
        self._name = name
        self._blend = blend
        self._shape = (len(references), *feed.shape[1:])

    def write(self, masks: Arrays, buffers: Arrays, count: int) -> None:
        """See ``Masker``."""
        out = buffers[self._name][: count * self._shape[0]].reshape(count, *self._shape)
        self._blend.write(masks[self._name][:, None], out)


class ClosingUp:
    """Takes absent tokens out of a text: the others close up, and padding fills the places that become free.

    The attention mask and the types of tokens move with them, and are 0 for the padding; positions are counted anew
    over the tokens that are there. Padding goes to the side where the text has it: to the end, if it has none.
    """

    def __init__(self, feeds: Arrays, references: np.ndarray, text: SplitText) -> None:
        self._name = text.input
        self._codes = feeds[text.input][0]
        self._times = len(references)
        if self._codes.ndim != 1:
            raise SettingError(f"tokens of input '{printable(text.input)}' cannot be removed: it is no row of codes")
        own = [begin < end for begin, end in text.spans]
        self._fill = references[0][own.index(True)] if any(own) else references[0][-1]
        roles = {n: role for n, role in text.companions.items() if feeds[n].shape[1:] == self._codes.shape}
        self._moving = {n: feeds[n][0] for n, role in roles.items() if role in {"mask", "types"}}
        self._places = {n: feeds[n][0] for n, role in roles.items() if role == "positions"}
        there = [feeds[n][0] != 0 for n, role in roles.items() if role == "mask"]
        self._there = there[0] if there else np.ones(self._codes.shape, dtype=bool)
        self._to_the_left = bool(not self._there[0] and self._there[-1])

    def write(self, masks: Arrays, buffers: Arrays, count: int) -> None:
        """See ``Masker``."""
        kept = np.repeat(masks[self._name].astype(bool), self._times, axis=0)
        count *= self._times
        order = np.argsort(kept if self._to_the_left else ~kept, axis=1, kind="stable")
        number = np.arange(self._codes.size)
        left = kept.sum(axis=1, keepdims=True)
        free = number < self._codes.size - left if self._to_the_left else number >= left
        buffers[self._name][:count] = np.where(free, self._fill, self._codes[order])
        for name, row in self._moving.items():
            buffers[name][:count] = np.where(free, np.zeros((), dtype=row.dtype), row[order])
        there = self._there[order] & ~free
        rank = np.maximum(np.cumsum(there, axis=1) - 1, 0)
        for name, row in self._places.items():
            buffers[name][:count] = np.where(there, row[self._there][rank], row)


class Respelling:
    """Spells a text without its absent words, or with another word in their place.

    The space before a word that is left out goes with it; where two words would grow together a space is put
    between them. With every word present the text is what it was.
    """

    def __init__(self, feed: np.ndarray, references: np.ndarray, split: SplitText) -> None:
        self._times = len(references)
        if feed.size != 1:
            raise SettingError(f"input '{printable(split.input)}' holds no single string: it has no words to be absent")
        self._name = split.input
        text, spans = split.text, split.spans
        ends = [0, *(end for _, end in spans)]
        self._words = [text[begin:end] for begin, end in spans]
        self._gaps = [text[end:begin] for end, (begin, _) in zip(ends, spans, strict=False)]
        self._tail = text[ends[-1] :]
        instead = dict.fromkeys(map(str, references.reshape(-1).tolist()))
        if len(instead) > 1:
            raise SettingError(
                f"whole texts cannot stand in for the words of input '{printable(self._name)}'",
                tip="baseline=removed leaves words out; a dict by input name gives a word that stands in for them; "
                "features=inputs takes the text as a whole",
            )
        (self._instead,) = instead

    def write(self, masks: Arrays, buffers: Arrays, count: int) -> None:
        """See ``Masker``."""
        kept = masks[self._name].reshape(count, -1)
        out = buffers[self._name]
        for row in range(count):
            out[row * self._times : (row + 1) * self._times] = self.spelled(kept[row].tolist())

    def spelled(self, kept: list[bool]) -> str:
        """Return the text with these words only."""
        parts: list[str] = [self._gaps[0]]
        dropped = False
        for place, (word, gap) in enumerate(zip(self._words, self._gaps, strict=True)):
            written = word if kept[place] else self._instead
            if not written:
                dropped = True
                continue
            if len(parts) > 1:
                grows = not gap and (dropped or not kept[place]) and parts[-1][-1].isalnum() and written[0].isalnum()
                parts.append(" " if grows else gap)
            parts.append(written)
            dropped = not kept[place]
        return "".join([*parts, self._tail])
