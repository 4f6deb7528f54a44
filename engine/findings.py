"""From a method's numbers to an Explanation: the fields that every method fills in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .game import Game
    from .problem import Problem

NAMED = {"columns", "grid", "superpixels", "channels", "inputs", "labels"}  # kinds of features worth naming one by one


def of_features(
    problem: Problem,
    game: Game,
    values: np.ndarray,
    *,
    errors: np.ndarray | None = None,
    complete: bool = False,
    notes: tuple[str, ...] = (),
    extras: Mapping[str, np.ndarray] | None = None,
) -> Explanation:
    """Make an Explanation from a value per feature (M,); ``errors`` are their standard errors.

    With ``complete`` the method promises sum(values) = score - baseline score, and the gap is reported.
    """
    features = game.features
    named = features.kind in NAMED
    gap = float(values.sum() - (game.full - game.empty)) if complete else None
    return Explanation(
        values=features.scatter(values, problem.shapes),
        standard_error=None if errors is None else features.scatter(errors, problem.shapes),
        score=game.full,
        baseline_score=game.empty,
        gap=gap,
        evaluations=game.evaluations,
        feature_values=np.asarray(values, dtype=np.float64) if named else None,
        feature_errors=None if errors is None or not named else np.asarray(errors, dtype=np.float64),
        feature_names=tuple(features.names) if named else (),
        feature_labels=dict(features.labels) if named else {},
        notes=notes,
        extras=dict(extras or {}),
        **_of_problem(problem),
    )


def of_arrays(
    problem: Problem,
    game: Game,
    values: Mapping[str, np.ndarray],
    *,
    errors: Mapping[str, np.ndarray] | None = None,
    baseline_score: float | None = None,
    notes: tuple[str, ...] = (),
    extras: Mapping[str, np.ndarray] | None = None,
) -> Explanation:
    """Make an Explanation from arrays that broadcast to the inputs' feeds (leading axis of one)."""
    shapes = problem.shapes
    return Explanation(
        values={n: np.broadcast_to(v, shapes[n]).astype(np.float64) for n, v in values.items()},
        standard_error=None
        if errors is None
        else {n: np.broadcast_to(e, shapes[n]).astype(np.float64) for n, e in errors.items()},
        score=game.full,
        baseline_score=baseline_score,
        evaluations=game.evaluations,
        notes=notes,
        extras=dict(extras or {}),
        **_of_problem(problem),
    )


def _of_problem(problem: Problem) -> dict[str, Any]:
    return {
        "method": problem.method,
        "settings": {},  # filled in by explain(), which knows them all
        "target": problem.target.text,
        "label": problem.target.label,
        "sample": problem.sample,
    }
