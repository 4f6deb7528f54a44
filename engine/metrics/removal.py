"""Curves of scores as features are taken away, or put in, in the order of the map: what many metrics are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from .similarity import is_constant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..game import Game
    from .trial import Of, Trial

Order = Literal["most", "least"]
Rank = Literal["signed", "absolute"]
Area = Literal["trapezoid", "steps", "mean"]

ROUNDING = 1e-6  # relative: scores of float32 models that differ by no more are the same
STILL = "the score does not move when features are replaced by the baseline"
ALONE = "there is one feature only: nothing to compare it with"
FLAT = "the map is constant: it ranks nothing"


def order_of(levels: np.ndarray, rank: Rank, order: Order = "most") -> np.ndarray:
    """Return features (M,) from the first to be removed to the last; of equal ones the lower number comes first."""
    keyed = np.abs(levels) if rank == "absolute" else levels
    first: np.ndarray = np.argsort(-keyed if order == "most" else keyed, kind="stable")
    return first


def cuts_of(size: int, steps: int, share: float = 1.0, step: int | None = None) -> np.ndarray:
    """Return how many features are removed after each step (steps + 1,), from none to ``share`` of them.

    In at most ``steps`` steps of nearly equal size; or of ``step`` features each, the last with what is left.
    """
    last = max(1, round(size * share))
    if step is not None:
        return np.append(np.arange(0, last, step), last)
    return np.unique(np.rint(np.linspace(0, last, min(steps, last) + 1)).astype(np.intp))


def curve(game: Game, order: np.ndarray, cuts: np.ndarray, *, insert: bool = False) -> np.ndarray:
    """Return the score after each cut: the first features of the order absent, or (``insert``) only they present."""
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))

    def coalitions() -> Iterator[np.ndarray]:
        for start in range(0, len(cuts), max(1, game.batch)):
            at = cuts[start : start + game.batch, None]
            yield place[None] < at if insert else place[None] >= at

    return np.concatenate([scores for _, scores in game.stream(coalitions())])


def area_under(x: np.ndarray, y: np.ndarray, how: Area) -> float:
    """Return the area under a curve, divided by its length: by trapezoids, or the plain mean of its points.

    ``steps`` takes trapezoids of equal width whatever x is, as Petsiuk's code does where the last step is shorter.
    """
    if how == "mean" or len(x) < 2:
        return float(y.mean())
    if how == "steps":
        x = np.arange(len(x))
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def is_still(*scores: np.ndarray) -> bool:
    """Say whether scores are all the same but for the runtime's last bits."""
    joined = np.concatenate([np.ravel(s) for s in scores])
    return float(joined.max() - joined.min()) <= ROUNDING * float(np.abs(joined).max())


class Removing(Protocol):
    """The settings of a metric that removes features in the order of the map."""

    @property
    def features(self) -> Any:
        """What is removed."""

    @property
    def baseline(self) -> Any:
        """What replaces it."""

    @property
    def steps(self) -> int:
        """Most steps."""

    @property
    def rank(self) -> Rank:
        """What features are ordered by."""

    @property
    def of(self) -> Of:
        """What is measured."""


def ranked_curve(
    trial: Trial,
    settings: Removing,
    *,
    insert: bool = False,
    order: Order = "most",
    share: float = 1.0,
    step: int | None = None,
    image: str = "pixels",
) -> tuple[np.ndarray, np.ndarray, float, float] | str:
    """Return x (fraction of features), y (scores), f(x) and f(baseline), or why there is no such curve."""
    chosen = trial.features(settings.features, image)
    levels = trial.levels(chosen)
    if chosen.size == 1:
        return ALONE
    if is_constant(levels):
        return FLAT
    cuts = cuts_of(chosen.size, settings.steps, share, step)
    game = trial.game(chosen, settings.baseline, settings.of, expected=len(cuts) + 1)
    y = curve(game, order_of(levels, settings.rank, order), cuts, insert=insert)
    if is_still(y, np.array([game.full, game.empty])):
        return STILL
    return cuts / chosen.size, y, game.full, game.empty
