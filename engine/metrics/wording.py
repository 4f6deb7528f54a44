"""Scores as a person reads them, on the terminal and on a page: values, intervals, what is good, who agrees."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from ..registry import find

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .score import Score


def by_metric(scores: Sequence[Score]) -> Iterator[tuple[str, list[Score]]]:
    """Yield metrics with their scores, in order."""
    for metric, group in groupby(scores, key=lambda score: score.metric):
        yield metric, list(group)


def good_end(score: Score) -> str:
    """Return which end is good: ``lower is better``."""
    return {True: "higher is better", False: "lower is better", None: "neither end is good in itself"}[
        score.higher_is_better
    ]


def reach(score: Score) -> str:
    """Return the range of a metric: ``0 to 1``, ``at least 0``, empty where anything is possible."""
    low, high = score.range
    if math.isfinite(low) and math.isfinite(high):
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if math.isfinite(low) else ""


def ends(score: Score) -> str:
    """Return which end is good and the range: ``lower is better, 0 to 1``."""
    return ", ".join(part for part in (good_end(score), reach(score)) if part)


def line(place: str, score: Score, controls: Sequence[str]) -> tuple[str, str, str, str, str, str, str]:
    """Return a line of a table: place, method, value, interval, inputs, evaluations, seconds."""
    return (
        place,
        f"{score.method} (control)" if score.method in controls else score.method,
        value(score),
        spread(score),
        inputs(score),
        str(score.evaluations),
        f"{score.seconds:.2f}",
    )


def meaning(metric: str) -> str:
    """Return what a metric says, in a sentence without its end; empty where it does not tell."""
    found: str = getattr(find(metric, "metric").factory, "meaning", "")
    return found


def places(scores: Sequence[Score]) -> list[str]:
    """Return the place of each score of a metric that is good at one end, the best first; empty without a value.

    Values that are equal, but for rounding, share a place.
    """
    values = [f"{score.value:.9g}" for score in scores]
    return [
        str(1 + values.index(shown)) if math.isfinite(score.value) and score.higher_is_better is not None else ""
        for score, shown in zip(scores, values, strict=True)
    ]


def value(score: Score) -> str:
    """Return the value with four significant digits, ``undefined`` where there is none."""
    return f"{score.value:.4g}" if math.isfinite(score.value) else "undefined"


def spread(score: Score) -> str:
    """Return the 95 % interval: ``0.07 to 0.18``; empty where too few inputs have a value."""
    return "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}"


def inputs(score: Score) -> str:
    """Return how many inputs have a value, of how many if these are more."""
    known = sum(map(math.isfinite, score.samples))
    return str(known) if known == len(score.samples) else f"{known} of {len(score.samples)}"


def notes(scores: Sequence[Score], controls: Sequence[str]) -> dict[str, list[str]]:
    """Return what was noted of methods other than controls, each note with the methods that it is of."""
    found: dict[str, list[str]] = {}
    for score in scores:
        for note in score.notes if score.method not in controls else ():
            found.setdefault(note, []).append(score.method)
    return found


def agreement(scores: Sequence[Score], controls: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a head and lines: how alike the methods of a metric that compares them are, each with each.

    Columns have the numbers of methods, controls have none. No lines for two methods or fewer.
    """
    compares = scores and getattr(find(scores[0].metric, "metric").factory, "compares_methods", False)
    rows = [score for score in scores if score.parts]
    names = [score.method for score in rows if score.method not in controls]
    if not compares or len(names) < 2 or len(rows) < 3:
        return (), []
    lines = [
        (
            f"{names.index(score.method) + 1} {score.method}" if score.method in names else score.method,
            *(_cell(score.parts[name]) if name in score.parts else "" for name in names),
        )
        for score in rows
    ]
    return ("", *(str(k) for k in range(1, len(names) + 1))), lines


def _cell(likeness: float) -> str:
    return f"{likeness:.2f}" if math.isfinite(likeness) else "-"
