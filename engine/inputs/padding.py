"""Texts of different lengths as rows of one shape: the shorter ones filled up, where their tokenizer says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sample import Sample, SplitText


def padded(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples whose codes of tokens in the same input are as many as in the longest; others as they are.

    What is added has the code of the padding token, is not there by the mask, and is of the first type. Raises
    ``InputError`` where there is neither such a token nor a mask.
    """
    longest: dict[str, int] = {}
    for sample in samples:
        for text in _coded(sample):
            longest[text.input] = max(longest.get(text.input, 0), len(text.tokens))
    return [_filled_up(sample, longest) for sample in samples]


def _coded(sample: Sample) -> list[SplitText]:
    """Return the texts that went in as codes; a string is one entry, however long it is."""
    return [text for text in sample.texts if sample.feeds[text.input].dtype.kind != "O"]


def _filled_up(sample: Sample, longest: dict[str, int]) -> Sample:
    feeds, texts = dict(sample.feeds), list(sample.texts)
    for place, text in enumerate(sample.texts):
        lacking = longest.get(text.input, 0) - len(text.tokens)
        if lacking <= 0:
            continue
        if "pad" not in text.stand_ins and "mask" not in text.companions.values():
            raise InputError(
                f"the texts have up to {longest[text.input]} tokens, and neither a padding token nor a mask can fill "
                "up the shorter ones",
                where=printable(sample.source),
            )
        is_left = sample.preprocessing.get("texts", {}).get(text.input, {}).get("pads") == "left"
        before, after = (lacking, 0) if is_left else (0, lacking)
        for name, role in {text.input: "", **text.companions}.items():
            width = [(0, 0)] * (feeds[name].ndim - 1) + [(before, after)]
            if role == "positions":
                feeds[name] = np.pad(feeds[name], width, mode="edge")
            else:
                feeds[name] = np.pad(feeds[name], width, constant_values=0 if role else text.stand_ins.get("pad", 0))
        texts[place] = dataclasses.replace(
            text,
            tokens=("",) * before + text.tokens + ("",) * after,
            spans=((0, 0),) * before + text.spans + ((0, 0),) * after,
        )
    return dataclasses.replace(sample, feeds=feeds, texts=tuple(texts))
