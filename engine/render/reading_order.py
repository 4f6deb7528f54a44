"""The order in which runs of letters stand on a line: from the left, from the right, and mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import bidirectional

if TYPE_CHECKING:
    from collections.abc import Sequence

_RIGHT = frozenset({"R", "AL"})
_NUMBERS = frozenset({"EN", "AN"})


def is_from_right(text: str) -> bool:
    """Say whether a text is read from the right: its first letter decides."""
    found = (bidirectional(letter) for letter in text)
    return next((kind in _RIGHT for kind in found if kind in _RIGHT or kind == "L"), False)


def in_sight(runs: Sequence[str], *, from_right: bool) -> list[int]:
    """Return the places of runs, which are given in reading order, from the left of a line to its right.

    Runs of one direction keep together; what has none goes with its neighbours where they agree, else with the line
    (rules W7, N1, N2 and L2 of the Unicode bidirectional algorithm, for whole runs).

    >>> in_sight(["a", " ", "b"], from_right=False), in_sight(["a", " ", "b"], from_right=True)
    ([0, 1, 2], [0, 1, 2])
    """
    ways = [_way(run) for run in runs]
    line = "R" if from_right else "L"
    last = line
    for k, way in enumerate(ways):
        ways[k] = last if way == "number" else way  # a number goes on in the direction of the words before it
        last = ways[k] or last
    for k, way in enumerate(ways):
        if not way:
            before = next((w for w in reversed(ways[:k]) if w), line)
            after = next((w for w in ways[k + 1 :] if w), line)
            ways[k] = before if before == after else line
    order = list(range(len(runs)))
    inner = "L" if from_right else "R"
    start = 0
    while start < len(ways):
        end = start
        while end < len(ways) and ways[end] == inner:
            end += 1
        if end > start:
            order[start:end] = order[start:end][::-1]
        start = end + 1
    return order[::-1] if from_right else order


def _way(run: str) -> str:
    """Return the direction of a run by its first letter or digit that has one; empty if none has."""
    for letter in run:
        kind = bidirectional(letter)
        if kind in _RIGHT:
            return "R"
        if kind == "L" or kind in _NUMBERS:
            return "L" if kind == "L" else "number"
    return ""
