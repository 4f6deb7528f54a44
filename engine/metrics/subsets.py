"""Attributions of sets of features against what their removal does to the score: what many metrics compare."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, printable
from ..masking.label_maps import as_array
from .removal import ALONE, FLAT, is_still
from .similarity import is_constant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..masking.features import Features
    from .trial import Of, Trial

DRAWN_AT_A_TIME = 1 << 18  # features
CONSTANT_SUMS = "the attributions of all sets add up to the same number"
CONSTANT_DROPS = "the score falls by the same amount whatever is removed: it does not move"
ONE_SET = "there is one set only: a correlation takes two"


@dataclass(frozen=True, eq=False)
class Effects:
    """``sums`` (K,) of the attributions of K sets, ``drops`` (K,), f(x) - f(x without the set), and ``score``, f(x).

    ``is_flat`` where the map has the same level on all features: sums then tell how large the features are;
    ``is_alone`` where there is one feature only.
    """

    sums: np.ndarray
    drops: np.ndarray
    score: float
    is_flat: bool = False
    is_alone: bool = False

    @property
    def moves(self) -> bool:
        """Say whether removing any of the sets moves the score by more than rounding."""
        return not is_still(np.append(self.score - self.drops, self.score))

    @property
    def trouble(self) -> str:
        """Why sums and drops have no correlation; empty if they have one."""
        if len(self.sums) < 2 or self.is_alone:
            return ALONE if self.is_alone else ONE_SET
        if is_still(self.score - self.drops):
            return CONSTANT_DROPS
        if self.is_flat:
            return FLAT
        return CONSTANT_SUMS if is_constant(self.sums) else ""


def effects(trial: Trial, features: Features, baseline: Any, of: Of, sets: Iterable[np.ndarray], count: int) -> Effects:
    """Remove sets of features (batches of booleans (b, M), True for what is removed) and compare; streamed.

    The sets must not depend on the explanation: their scores serve all methods of a sample.
    """
    phi = trial.attributions(features)
    game = trial.game(features, baseline, of, expected=count, shared=True)
    full = game.full
    sums: list[np.ndarray] = []
    drops: list[np.ndarray] = []
    for present, scores in game.whole(~chosen for chosen in sets):
        sums.append(~present @ phi)
        drops.append(full - scores)
    found = Effects(np.concatenate(sums), np.concatenate(drops), full)
    return dataclasses.replace(found, is_flat=is_constant(trial.levels(features)), is_alone=features.size == 1)


def drawn(rng: np.random.Generator, features: int, size: int, count: int) -> Iterable[np.ndarray]:
    """Yield ``count`` random sets of ``size`` features, as booleans (b, features).

    Of many features few sets at a time: the model waits while they are drawn. The draws are the same for any number.
    """
    at_a_time = 1 << max(0, min(12, (DRAWN_AT_A_TIME // features).bit_length() - 1))
    for start in range(0, count, at_a_time):
        rows = min(at_a_time, count - start)
        chosen = np.zeros((rows, features), dtype=bool)
        for row in chosen:
            row[rng.choice(features, size, replace=False, shuffle=False)] = True
        yield chosen


def given_sets(sets: Any, features: int, metric: str) -> np.ndarray:
    """Return sets that a user wrote, as booleans (K, features): rows of true and false, or lists of feature numbers."""
    if not isinstance(sets, list | tuple | np.ndarray) or not len(sets):
        raise SettingError(f"{metric}.sets are lists of feature numbers, not {printable(sets)[:60]}")
    rows = np.zeros((len(sets), features), dtype=bool)
    for row, members in zip(rows, sets, strict=True):
        given = np.atleast_1d(as_array(members, f"{metric}.sets"))
        if given.dtype == bool and given.shape == row.shape:
            row[:] = given
            continue
        is_listed = given.dtype.kind in "iu" and given.ndim == 1 and given.size
        if not is_listed or given.min() < 0 or given.max() >= features:
            shown = printable(given.tolist())[:60]
            raise SettingError(f"{metric}.sets name features from 0 to {features - 1}, not {shown}")
        row[given] = True
    return rows
