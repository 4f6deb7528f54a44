"""The smallest and largest values that an image's preprocessing can give."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ....engine.problem import Problem

LARGEST = 255  # of an image's numbers before preprocessing

Bound = tuple[float, ...]


def bounds_of(problem: Problem) -> tuple[Bound, Bound]:
    """Return low and high of the only image among the inputs, each a number or one per channel; empty if unknown."""
    specs = problem.model.spec.inputs
    known = [s.preprocessing for n, s in specs.items() if n in problem.sample.feeds and s.preprocessing is not None]
    if len(known) != 1:
        return (), ()
    (prepared,) = known
    size = max(len(prepared.mean), len(prepared.std))
    means, deviations = (v * size if len(v) == 1 else v for v in (prepared.mean, prepared.std))
    ends = [
        tuple((shade * prepared.scale - m) / s for m, s in zip(means, deviations, strict=True))
        for shade in (0, LARGEST)
    ]
    return (
        tuple(min(pair) for pair in zip(*ends, strict=True)),
        tuple(max(pair) for pair in zip(*ends, strict=True)),
    )


def listed(bound: float | tuple[float, ...]) -> Bound:
    """Return a bound as numbers, one or one per channel."""
    return bound if isinstance(bound, tuple) else (float(bound),)
