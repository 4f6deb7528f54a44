"""From a method's numbers to an Explanation: the fields that every method fills in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..explanation import Explanation
from ..masking.features import TEXT_KINDS, qualified
from ..masking.groups import table_columns
from ..masking.layout import masked_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..game import Game
    from ..problem import Problem

# Kinds of features worth naming one by one.
NAMED = {"columns", "groups", "grid", "superpixels", "channels", "inputs", "labels", "windows", *TEXT_KINDS}


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
    whole = {n: np.broadcast_to(v, shapes[n]).astype(np.float64) for n, v in values.items()}
    spread = {n: np.broadcast_to(e, shapes[n]).astype(np.float64) for n, e in (errors or {}).items()}
    return Explanation(
        values=whole,
        standard_error=None if errors is None else spread,
        score=game.full,
        baseline_score=baseline_score,
        evaluations=game.evaluations,
        notes=notes,
        extras=dict(extras or {}),
        **_of_problem(problem),
        **_of_columns(problem, whole, None if errors is None else spread),
    )


def _of_columns(
    problem: Problem, values: Mapping[str, np.ndarray], errors: Mapping[str, np.ndarray] | None
) -> dict[str, Any]:
    """Return the values of a table by column: there each element has a name; nothing for other inputs."""
    if problem.sample.modality != "table":
        return {}
    inputs = {name: entry for name, entry in masked_inputs(problem.model, problem.sample).items() if name in values}
    if not inputs or len(inputs) < len(values) or not all(entry.is_table for entry in inputs.values()):
        return {}
    columns = table_columns(inputs)
    order = list(dict.fromkeys(column.input for column in columns))
    starts = {name: min(k for k, c in enumerate(columns) if c.input == name) for name in order}
    return {
        "feature_values": np.concatenate([values[name].ravel() for name in order]),
        "feature_errors": None if errors is None else np.concatenate([errors[name].ravel() for name in order]),
        "feature_names": qualified([(column.input, column.name) for column in columns]),
        "feature_labels": {n: starts[n] + np.arange(values[n].size).reshape(values[n].shape) for n in order},
    }


def _of_problem(problem: Problem) -> dict[str, Any]:
    return {
        "method": problem.method,
        "settings": {},  # filled in by explain(), which knows them all
        "target": problem.target.text,
        "label": problem.target.label,
        "sample": problem.sample,
    }
