"""Texts: which tokens or words are one feature, and what stands in for those that are absent."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError
from ..files import excerpt
from ..inputs.text_parts import grouped, sentences_in, words_in
from .baselines import Baseline
from .features import KEPT, Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..inputs.sample import SplitText
    from .layout import MaskedInput

STAND_INS = ("mask", "unk", "pad")  # tokens, in the order in which they are taken where nothing is said
REMOVED = "removed"


def text_features(entry: MaskedInput, kind: str) -> Features:
    """Cut a text into ``tokens``, ``words`` or ``sentences``; special tokens belong to none of them.

    The labels have the shape of the feed. Those of a string have an axis more: one label for each word of the string,
    in the order of its spans. A word's pieces, and words that share a token, are one feature.
    """
    text = entry.text
    if text is None:
        raise SettingError(
            f"features '{kind}' need a text, and input '{excerpt(entry.name)}' was given codes only",
            tip="give the text (--text, a .txt file, onnxplain.Text), or use 'elements'",
        )
    if kind == "tokens":
        numbers = accumulate(begin < end for begin, end in text.spans)
        groups = [k - 1 if begin < end else KEPT for k, (begin, end) in zip(numbers, text.spans, strict=True)]
    else:
        groups = grouped(text.spans, (words_in if kind == "words" else sentences_in)(text.text))
    labels = np.array(groups, dtype=np.int64)
    shape = (*entry.feed.shape, len(groups)) if entry.holds_text else entry.feed.shape
    if labels.size != int(np.prod(shape)):
        raise SettingError(f"the text has {labels.size} tokens, input {entry} has the shape {entry.feed.shape}")
    return Features(names_of(text.text, text.spans, groups), {entry.name: labels.reshape(shape)}, kind)


def names_of(text: str, spans: Sequence[tuple[int, int]], groups: Sequence[int]) -> tuple[str, ...]:
    """Return what each group of tokens reads, different for each: the second ``the`` is ``the (2)``.

    >>> names_of("the film the", [(0, 3), (4, 8), (9, 12)], [0, 1, 2])
    ('the', 'film', 'the (2)')
    """
    ends: dict[int, tuple[int, int]] = {}
    for group, (begin, end) in zip(groups, spans, strict=True):
        if group >= 0:
            first, last = ends.get(group, (begin, end))
            ends[group] = min(first, begin), max(last, end)
    seen: dict[str, int] = {}
    names = []
    for group in range(len(ends)):
        read = " ".join(text[slice(*ends[group])].split()) or "space"
        seen[read] = seen.get(read, 0) + 1
        names.append(read if seen[read] == 1 else f"{read} ({seen[read]})")
    return tuple(names)


def text_baseline(entry: MaskedInput, text: SplitText, word: str = "") -> Baseline:
    """Return what stands in for absent parts of a text: a token by its role, or nothing (``removed``).

    Without a word that is nothing for strings and where the model takes an attention mask: what is left is a text like
    those that it knows. Otherwise it is the mask token, else the unknown one, else the padding one, else nothing.
    Special tokens stay in the references. SettingError if the tokenizer has no such token.
    """
    codes = text.stand_ins
    can_lack = entry.holds_text or "mask" in text.companions.values()
    usual = () if can_lack else (role for role in STAND_INS if role in codes)
    chosen = word or next(iter(usual), REMOVED)
    if entry.holds_text:
        if chosen != REMOVED:
            raise SettingError(
                f"baseline '{chosen}' is a token; input {entry} takes strings",
                tip=f"use '{REMOVED}', or a dict by input name with a word that stands in for absent ones",
            )
        return Baseline(REMOVED, {entry.name: np.full((1, *entry.inner), "", dtype=object)}, removed=(entry.name,))
    if chosen == REMOVED:
        return Baseline(REMOVED, {entry.name: _row(entry, text, codes.get("pad", 0))}, removed=(entry.name,))
    if chosen not in codes:
        known = ", ".join(f"'{role}'" for role in (*codes, REMOVED))
        raise SettingError(f"the tokenizer has no {chosen} token", tip=f"what can stand in: {known}")
    return Baseline(chosen, {entry.name: _row(entry, text, codes[chosen])})


def _row(entry: MaskedInput, text: SplitText, code: int) -> np.ndarray:
    if code > np.iinfo(entry.feed.dtype).max:
        raise SettingError(f"input {entry} cannot hold the code {code}")
    own = np.array([begin < end for begin, end in text.spans]).reshape(entry.feed.shape)
    return np.where(own, np.array(code, dtype=entry.feed.dtype), entry.feed)
