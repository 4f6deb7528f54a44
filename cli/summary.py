"""What a person reads of an Explanation on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..engine.files import excerpt
from .marked import coloured
from .output import amount, heading, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..engine.explanation import Explanation

MOST_FEATURES = 8
WIDEST = 100  # characters of a name: a file may give any
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")
AXES = {"C": "channel", "T": "time step", "F": "feature", "N": "row", "H": "row", "W": "column"}


def summary(explanation: Explanation, layouts: Mapping[str, str]) -> str:
    """Return what was explained, the score, where the strongest values are, and what it cost.

    ``layouts`` has a letter per axis of each input, as in a spec; empty where the axes are not known.
    """
    sample = explanation.sample
    facts = [_target(explanation), ("score", _scores(explanation))]
    facts += [("strongest", place) for place in _strongest_places(explanation, layouts)]
    facts.append(("cost", _cost(explanation)))
    facts += [("note", note) for note in explanation.notes]
    source = sample.source if sample is not None and sample.source else "input"
    parts = [heading(f"{source}  {explanation.method}"), table((), facts, indent=2)]
    in_picture = sample is not None and sample.modality == "image" and not _is_inner(explanation)
    features = "" if in_picture else _features(explanation)
    return "\n".join([*parts, *(part for part in (coloured(explanation), features) if part)])


def _target(explanation: Explanation) -> tuple[str, str]:
    """Return what was explained: a class by its name and number where they are known, else the target's text."""
    manifest = explanation.manifest
    index = [k for k in manifest.get("target_index") or [] if k is not None]
    number = f"class {index[0]}" if len(index) == 1 and "[" not in explanation.target else ""
    label = excerpt(explanation.label, WIDEST) if explanation.label != str(index[0] if index else "") else ""
    named = f"{label} ({number})" if label and number else label or number
    if explanation.target in {"top", "", "probability:top"}:
        return "predicted", named or f"{manifest.get('target_tensor', '')}{index or ''}"
    return "explained", named or explanation.target


def _scores(explanation: Explanation) -> str:
    space = str(explanation.manifest.get("target_space", "value"))
    text = f"{explanation.score:.5g}{'' if space == 'value' else f' ({space})'}"
    if explanation.baseline_score is not None:
        text += f"; {explanation.baseline_score:.5g} with every feature absent"
    return text


def _cost(explanation: Explanation) -> str:
    text = f"{explanation.evaluations} evaluations in {explanation.seconds:.2f} s"
    return f"{text}; completeness gap {explanation.gap:.2g}" if explanation.gap is not None else text


def _is_inner(explanation: Explanation) -> bool:
    """Say whether the values belong to tensors inside the model."""
    return explanation.sample is not None and explanation.sample.feeds.keys().isdisjoint(explanation.values)


def _features(explanation: Explanation) -> str:
    """Return the features of largest absolute value as a table; empty where features have no names worth reading."""
    strongest = explanation.top_features(MOST_FEATURES) or _strongest_words(explanation)
    if not strongest:
        return ""
    errors = _errors(explanation)
    head = ("feature", "value", *(["s.e."] if errors else []))
    rows = [
        (excerpt(name, WIDEST), amount(value), *([f"{errors[name]:.2g}"] if errors else []))
        for name, value in strongest
    ]
    text = table(head, rows, indent=2, right=" rr")
    rest = len(explanation.feature_names) - len(rows)
    return f"{text}\n  and {rest} more" if rest > 0 else text


def _strongest_words(explanation: Explanation) -> list[tuple[str, float]]:
    """Return the words of largest absolute value where the values are those of tokens."""
    from ..engine.marked_text import marked_text

    marked = marked_text(explanation)
    if marked is None:
        return []
    order = sorted(marked.marks, key=lambda mark: -abs(mark.value))[:MOST_FEATURES]
    return [(marked.text[mark.begin : mark.end], mark.value) for mark in order]


def _errors(explanation: Explanation) -> dict[str, float]:
    if explanation.feature_errors is None:
        return {}
    return dict(zip(explanation.feature_names, map(float, explanation.feature_errors), strict=True))


def _strongest_places(explanation: Explanation, layouts: Mapping[str, str]) -> list[str]:
    """Say where the largest values of each input are, but where features have names: those of tables and texts."""
    modality = explanation.sample.modality if explanation.sample is not None else ""
    if modality in {"table", "text"} and (explanation.feature_names or _strongest_words(explanation)):
        return []
    if _is_inner(explanation) and explanation.feature_names:
        return []
    values, words = {name: v for name, v in explanation.values.items() if v.any()} or explanation.values, ""
    if explanation.method == "rise":  # all of its values are near the mean score: as in pictures, what differs counts
        middle = float(np.concatenate([v.ravel() for v in values.values()]).mean())
        values, words = {name: v - middle for name, v in values.items()}, f", relative to the mean {amount(middle)}"
    rate = explanation.sample.rate if explanation.sample is not None else 0.0
    places = {name: _place(v, layouts.get(name, ""), rate) + words for name, v in values.items() if v.size > 1}
    return [f"{name}: {place}" for name, place in places.items()] if len(values) > 1 else [*places.values()]


def _place(values: np.ndarray, layout: str, rate: float = 0.0) -> str:
    letters = layout if len(layout) == values.ndim else ""
    if {"H", "W"} <= set(letters):
        others = tuple(k for k, letter in enumerate(letters) if letter not in "HW")
        strength = np.abs(values).sum(axis=others)
        return _region(strength if letters.index("H") < letters.index("W") else strength.T)
    peak = np.unravel_index(int(np.abs(values).argmax()), values.shape)
    if not letters:
        return f"{amount(float(values[peak]))} at {[int(at) for at in peak]}"
    words = [
        f"{int(at) / rate:.4g} s" if rate and letters[k] == "T" else f"{AXES.get(letters[k], 'index')} {int(at)}"
        for k, at in enumerate(peak)
        if values.shape[k] > 1
    ]
    return f"{amount(float(values[peak]))} at {', '.join(words)}"


def _region(strength: np.ndarray) -> str:
    """Say which ninth of a picture (rows, columns) holds most of the absolute values, and where the largest is."""
    row, column = np.unravel_index(int(strength.argmax()), strength.shape)
    peak = f"largest at row {int(row)}, column {int(column)} of {strength.shape[0]} x {strength.shape[1]}"
    total = float(strength.sum())
    if total == 0:
        return "nowhere: every value is 0"
    if min(strength.shape) < len(ROWS):
        return peak
    thirds = [np.array_split(band, 3, axis=1) for band in np.array_split(strength, 3, axis=0)]
    shares = np.array([[float(cell.sum()) for cell in band] for band in thirds]) / total
    best = np.unravel_index(int(shares.argmax()), shares.shape)
    where = f"{ROWS[best[0]]} {COLUMNS[best[1]]}".replace("middle centre", "centre")
    return f"{where} third, {shares[best]:.0%} of the absolute values (11% if even); {peak}"
