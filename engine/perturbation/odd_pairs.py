"""Pairs of coalitions in the order in which `shapley` evaluates them, and half the difference of their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .coalitions import design, even_mass
from .odd_process import share_of_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..game import Game

BLOCK = 512  # pairs as booleans at a time, or one batch where that is more
SPARE = 1.2  # pairs per feature from which on those of one feature are evaluated before all others


def ordered_pairs(size: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Return the larger coalition of the first pair and the smaller ones of the others, as bits (pairs, bytes).

    First comes N with the empty coalition; then, with at least ``SPARE`` pairs per feature, each feature alone with
    its complement; then different pairs in random order, drawn so that each size of coalitions is as frequent as any
    other, as far as there are enough.
    """
    first = size if pairs >= SPARE * size else 0
    chosen = design(size, pairs - 1, rng, even_mass, always=1 if first else 0)
    others = np.concatenate([*(np.packbits(z, axis=1) for _, z in chosen.listed(BLOCK)), chosen.packed])
    order = np.append(np.arange(first), first + rng.permutation(len(others) - first))
    return np.concatenate([np.packbits(np.ones((1, size), dtype=bool), axis=1), others[order]])


class PairScores:
    """The pairs ``packed`` (K, bytes) of a game, and the scores seen so far.

    ``odd`` (K,) is half of what a coalition scores more than its complement; NaN where it has not been evaluated.
    """

    def __init__(self, game: Game, packed: np.ndarray) -> None:
        self.packed = packed
        self.odd = np.full(len(packed), np.nan)
        self._game = game
        self._done = 0

    def evaluate(self, upto: int) -> None:
        """Evaluate the pairs up to the given number."""
        if not self._done:
            self.odd[0] = (self._game.full - self._game.empty) / 2
            self._done = 1
        got = [scores for _, scores in self._game.stream(self._blocks(self._done, upto), distinct=True)]
        if got:
            scores = np.concatenate(got)
            self.odd[self._done : upto] = (scores[::2] - scores[1::2]) / 2
        self._done = upto

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        length = self._game.batch * max(1, BLOCK // self._game.batch)
        for begin in range(start, stop, length):
            z = unpacked(self.packed[begin : min(begin + length, stop)], self._game.size)
            yield np.stack([z, ~z], axis=1).reshape(-1, self._game.size)


def unpacked(packed: np.ndarray, size: int) -> np.ndarray:
    """Return coalitions (K, M) from their bits."""
    return np.unpackbits(packed, axis=1, count=size).astype(bool)


def exact_values(game: Game) -> np.ndarray:
    """Evaluate all coalitions and return the Shapley values (M,)."""
    full, empty = game.full, game.empty
    phi = np.full(game.size, (full - empty) / game.size)

    def between() -> Iterator[np.ndarray]:
        bits = np.arange(game.size)
        for start in range(1, (1 << game.size) - 1, game.batch):
            numbers = np.arange(start, min(start + game.batch, (1 << game.size) - 1))
            yield (numbers[:, None] >> bits & 1).astype(bool)

    for z, scores in game.stream(between(), distinct=True):
        phi += scores @ share_of_pairs(z, z)
    return phi
