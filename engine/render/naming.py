"""What a bar is called: a feature's or an element's name, with the value that the input has there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .wording import number, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..explanation import Explanation

LONGEST_RAW = 24
MISSING = "missing"
TOLD = (" <= ", " > ", " = ", " per ", " is missing", " as it is")  # a feature's name that says what the input has


def namer(explanation: Explanation) -> Callable[[int], str]:
    """Return what names the k-th feature, or the k-th element of all inputs: 'worst area = 2019', '[3, 5] = 0.25'."""
    if explanation.feature_values is not None and explanation.feature_names:
        return lambda k: _feature(explanation, k)
    if explanation.feature_values is not None:
        return lambda k: _with_raw(f"feature {k}", _raw_of_feature(explanation, k))
    return lambda k: _element(explanation, k)


def _feature(explanation: Explanation, k: int) -> str:
    """Name a feature: 'age = 40', 'colour = red' of a block of one-hot columns, 'size (3 columns)' of another group."""
    name = explanation.feature_names[k]
    members = _members(explanation, k)
    if len(members) > 1 and any(words in name for words in TOLD):
        return short(name)
    if len(members) < 2:
        return _with_raw(name, _raw_of_feature(explanation, k))
    category = _category(name, members)
    return _with_raw(name, category) if category else f"{short(name)} ({len(members)} columns)"


def held(explanation: Explanation, k: int) -> str:
    """Return what the row holds in the k-th feature: its spelling or category, empty for a group of columns."""
    members = _members(explanation, k)
    return _category(explanation.feature_names[k], members) if len(members) > 1 else _raw_of_feature(explanation, k)


def _with_raw(name: str, raw: str) -> str:
    return f"{short(name)} = {raw}" if raw else short(name)


def _raw_of_feature(explanation: Explanation, k: int) -> str:
    """Return the value of a feature as the file spells it, or as the input has it; empty for more than one element."""
    sample = explanation.sample
    if sample is None:
        return ""
    name = explanation.feature_names[k] if explanation.feature_names else ""
    if name in sample.columns and len(sample.raw) == len(sample.columns):
        return short(sample.raw[sample.columns.index(name)], LONGEST_RAW) or MISSING
    if sample.modality == "table" and any(words in name for words in TOLD):
        return ""
    found: list[object] = []
    for input_name, labels in explanation.feature_labels.items():
        feed = sample.feeds.get(input_name)
        here = np.argwhere(labels == k)
        if feed is None or feed.shape != labels.shape:
            if len(here):
                return ""
        else:
            found.extend(feed[tuple(place)] for place in here[:2])
    return _spelled(found[0]) if len(found) == 1 else ""


def _members(explanation: Explanation, k: int) -> list[tuple[str, object]]:
    """Return name and value of the columns that a feature of a table holds; nothing where names are not known."""
    sample = explanation.sample
    if sample is None or len(sample.columns) != sum(feed.size for feed in sample.feeds.values()):
        return []
    found: list[tuple[str, object]] = []
    start = 0
    for name, feed in sample.feeds.items():
        labels = explanation.feature_labels.get(name)
        if labels is not None and labels.size == feed.size:
            at = np.flatnonzero(labels == k).tolist()
            found += [(sample.columns[start + place], feed.reshape(-1)[place]) for place in at]
        start += feed.size
    return found


def _category(name: str, members: list[tuple[str, object]]) -> str:
    """Return the category that a block of one-hot columns holds, empty where it is none."""
    ones = [column for column, value in members if value == 1]
    others = [column for column, value in members if value == 0]
    if len(ones) == 1 and len(ones) + len(others) == len(members) and all(c.startswith(name) for c, _ in members):
        return short(ones[0][len(name) :].lstrip("_= "), LONGEST_RAW)
    return ""


def _element(explanation: Explanation, k: int) -> str:
    sample, several = explanation.sample, len(explanation.values) > 1
    for name, array in explanation.values.items():
        if k >= array.size:
            k -= array.size
            continue
        feed = sample.feeds.get(name) if sample is not None else None
        raw = _spelled(feed.reshape(-1)[k]) if feed is not None and feed.size == array.size else ""
        if sample is not None and not several and len(sample.columns) == array.size:
            return _with_raw(sample.columns[k], raw)
        place = [int(i) for i in np.unravel_index(k, array.shape)]
        index = str(place[1:] if array.ndim > 1 and array.shape[0] == 1 else place)
        return _with_raw(f"{short(name, 40)}{index}" if several else index, raw)
    raise IndexError(k)


def _spelled(value: object) -> str:
    if isinstance(value, np.bool_ | bool | int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating) and np.isnan(value):
        return MISSING
    return number(float(value), 4) if isinstance(value, float | np.floating) else short(value, LONGEST_RAW)
