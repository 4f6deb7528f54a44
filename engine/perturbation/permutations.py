"""Random orders of features, walked one feature at a time: what the score gains when each one joins those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..game import Game

CHECKED_EVERY = 16  # orders, or pairs of them, where a tolerance may end the sampling


def gains(game: Game, orders: np.ndarray, full: float) -> Iterator[np.ndarray]:
    """Yield, for each order (M,) of ``orders`` (K, M), the gains of the features (M,); they add up to full - empty.

    ``full`` is the score of the input, which the game need not evaluate. Coalitions are made a batch at a time: an
    order costs M - 1 evaluations, and no memory to speak of.
    """
    size = game.size
    walk = np.empty(size + 1)
    walk[0], walk[-1] = game.empty, full
    seen, waiting = 1, iter(orders)
    if size == 1:
        yield from (np.diff(walk) for _ in orders)
        return
    for _, scores in game.stream(_prefixes(orders, game.batch)):
        start = 0
        while start < len(scores):
            part = scores[start : start + size - seen]
            walk[seen : seen + len(part)] = part
            seen, start = seen + len(part), start + len(part)
            if seen == size:
                gain = np.empty(size)
                gain[next(waiting)] = np.diff(walk)
                yield gain
                seen = 1


def _prefixes(orders: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Yield the coalitions of the first 1 .. M - 1 features of each order, at most ``batch`` at a time.

    Of short orders several come together.
    """
    size = orders.shape[1]
    together = max(1, batch // (size - 1))
    for first in range(0, len(orders), together):
        some = orders[first : first + together]
        ranks = np.empty_like(some)
        np.put_along_axis(ranks, some, np.arange(size)[None], axis=1)
        for start in range(1, size, batch):
            lengths = np.arange(start, min(start + batch, size))
            yield (ranks[:, None] < lengths[:, None]).reshape(-1, size)


class Mean:
    """The mean of gains and its standard error, from their sums and sums of squares."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self._mean, self._squares = np.zeros((2, size))

    def add(self, gain: np.ndarray) -> None:
        """Take in one order's gains (M,), or the mean of several that were drawn together."""
        self.count += 1
        away = gain - self._mean
        self._mean += away / self.count
        self._squares += away * (gain - self._mean)

    def values(self) -> np.ndarray:
        """Return the mean (M,)."""
        return self._mean.copy()

    def standard_error(self) -> np.ndarray:
        """Return its standard error (M,), from the variance with divisor K - 1; infinite for K = 1."""
        if self.count < 2:
            return np.full(len(self._mean), np.inf)
        error: np.ndarray = np.sqrt(self._squares / (self.count - 1) / self.count)
        return error


def drawn_orders(size: int, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return random orders (count, M); the draws follow one another, whatever the count at a time."""
    return np.stack([rng.permutation(size) for _ in range(count)])
