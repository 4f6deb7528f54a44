"""Memory: the scores of coalitions that have been evaluated, kept a chunk at a time, and shared among games."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .masking.baselines import Baseline
    from .masking.features import Features
    from .target import Target

WORD = 64  # bits
LONG = 256  # bytes
STEP = np.uint64(0x9E3779B97F4A7C15)
# SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64-bit words that spreads every bit over all of them.
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)), (31, np.uint64(1)))


class Memory:
    """Scores of boolean coalitions by a place each; equal coalitions have the same place.

    Coalitions of up to 64 features are told apart by their bits, larger ones by a hash of 64 bits: that two of 65,536
    have the same by chance happens once in 10**10 times. A place is taken when a coalition is first seen; its score
    follows.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._scores = np.empty(0)

    def __len__(self) -> int:
        return len(self._places)

    def find(self, coalitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of each coalition (B,), and the rows of those never seen before, each once."""
        known, before = self._places, len(self._places)
        places = np.array([known.setdefault(key, len(known)) for key in _keys(coalitions).tolist()], dtype=np.intp)
        if len(known) > len(self._scores):
            grown = np.full(max(2 * len(self._scores), len(known), 256), np.nan)
            grown[: len(self._scores)] = self._scores
            self._scores = grown
        rows = np.flatnonzero(places >= before)
        if len(rows) > len(known) - before:
            _, first = np.unique(places[rows], return_index=True)
            rows = rows[first]
        return places, rows

    def put(self, places: np.ndarray, scores: np.ndarray) -> None:
        """Keep the scores of these places."""
        self._scores[places] = scores

    def scores(self, places: np.ndarray) -> np.ndarray:
        """Return the scores of these places; NaN where none has been put yet."""
        found: np.ndarray = self._scores[places]
        return found

    def keep(self, coalition: np.ndarray, score: float) -> None:
        """Keep the score of one coalition (M,)."""
        places, _ = self.find(coalition[None])
        self._scores[places] = score

    def score(self, coalition: np.ndarray) -> float | None:
        """Return the score of one coalition (M,); None where it is not known."""
        place = self._places.get(int(_keys(coalition[None])[0])) if self._places else None
        return None if place is None or np.isnan(self._scores[place]) else float(self._scores[place])

    def settled(self, most: int) -> Memory:
        """Return a memory of what has a score: this one where all have; an empty one if they are more than ``most``."""
        there = ~np.isnan(self._scores[: len(self)])
        if there.sum() > most:
            return Memory()
        if there.all():
            return self
        kept, memory = np.flatnonzero(there), Memory()
        keys = list(self._places)  # in the order of their places
        memory._places = {keys[place]: number for number, place in enumerate(kept)}
        memory._scores = self._scores[kept]
        return memory


class Memories:
    """A memory for each game of one sample: one for equal purposes, targets, features and baselines.

    What is asked for another purpose is run again, as it would be without it: then batches are made up alike, and
    scores agree to the last bit, whatever is known from before.
    """

    def __init__(self) -> None:
        self._memories: dict[bytes, Memory] = {}

    def of(self, purpose: str, target: Target, features: Features, baseline: Baseline) -> Memory:
        """Return the memory of the game of these."""
        digest = hashlib.blake2b(repr((purpose, target.tensor, target.index)).encode(), digest_size=16)
        digest.update(repr((baseline.reduce, sorted(baseline.across.items()), baseline.removed)).encode())
        weights = {} if baseline.weights is None else {"weights": baseline.weights}
        for arrays in (features.labels, baseline.references, weights):
            for name, array in sorted(arrays.items()):
                digest.update(repr((name, array.shape, array.dtype.str)).encode())
                digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes())
        return self._memories.setdefault(digest.digest(), Memory())


def _keys(coalitions: np.ndarray) -> np.ndarray:
    """Return a number per coalition (B,): its bits, or a hash of them."""
    packed = np.packbits(coalitions, axis=1)
    bytes_each = packed.shape[1]
    if bytes_each > LONG:  # few rows of very many features: quicker one by one
        digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in packed)
        return np.frombuffer(digests, dtype=np.uint64)
    words = -(-bytes_each * 8 // WORD)
    padded = np.zeros((len(packed), words * 8), dtype=np.uint8)
    padded[:, :bytes_each] = packed
    parts = padded.view(np.uint64)
    if words == 1:
        return parts[:, 0]
    places = np.arange(1, words + 1, dtype=np.uint64) * STEP  # so that equal words in other places count differently
    return _mixed(np.bitwise_xor.reduce(_mixed(parts + places), axis=1))


def _mixed(key: np.ndarray) -> np.ndarray:
    key = key + STEP
    for shift, factor in _MIX:
        key = (key ^ (key >> np.uint64(shift))) * factor
    return key
