"""Which coalitions Kernel SHAP evaluates: sizes in full from the outside in, the others drawn without repeats.

Coalitions come in pairs (z, 1 - z). Stratum s holds all pairs of the sizes s and M - s; z is the smaller of the two,
and where both have M/2 members it is the one that holds feature 0.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    # coalitions z (B, M), and the masses (B,) of their pairs; None for those sampled
    Block = tuple[np.ndarray, np.ndarray | None]
    Round = tuple[np.ndarray, list[Block]]

DENSE = 2  # with at most this many pairs per draw, a stratum is listed and shuffled; else repeats are drawn again
MANY = 20  # there are more coalitions of this size, and of any between it and M/2, than can be listed
FEW = 16  # of so few features all coalitions are listed to find those of one size
DRAWN_NUMBERS = 1 << 20  # random numbers in memory at a time
KEPT_NUMBERS = 1 << 20  # pairs times features up to which coalitions are kept for the next game


@dataclass(frozen=True)
class Design:
    """The pairs to evaluate, of a game of ``size`` features M.

    All pairs of the strata ``enumerated`` are evaluated. ``packed`` (K, bytes) holds, as bits, the smaller coalitions
    of K different pairs of the other strata in random order; together they stand for the mass ``rest``.
    """

    size: int
    enumerated: tuple[int, ...]
    packed: np.ndarray
    rest: float
    _kept: dict[tuple[int, int], list[Round]] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def count(self) -> int:
        """The number of pairs."""
        return sum(pairs_of(self.size, s) for s in self.enumerated) + len(self.packed)

    def sampled(self, start: int, stop: int) -> np.ndarray:
        """Return the sampled coalitions (stop - start, M)."""
        return np.unpackbits(self.packed[start:stop], axis=1, count=self.size).view(np.bool_)

    def listed(self, length: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the coalitions (at most ``length``, M) of each stratum that is enumerated, and its s."""
        for s in self.enumerated:
            for block in _listed(self.size, s, length):
                yield s, block

    def rounds(self, length: int, batch: int) -> Iterable[Round]:
        """Return what goes to a game at a time: coalitions, z and its complement alternating, and the blocks of z.

        Small blocks come together, so that they fill batches; a block is told of where the first of its coalitions is.
        """
        if self.count * self.size > KEPT_NUMBERS:
            return self._rounds(length, batch)
        if (length, batch) not in self._kept:
            self._kept.clear()
            self._kept[length, batch] = list(self._rounds(length, batch))
        return self._kept[length, batch]

    def _rounds(self, length: int, batch: int) -> Iterator[Round]:
        ready, blocks = np.empty((0, self.size), dtype=bool), []
        for z, mass in self.blocks(length):
            blocks.append((z, mass))
            pairs = np.stack([z, ~z], axis=1).reshape(-1, self.size)
            ready = np.concatenate([ready, pairs]) if len(ready) else pairs
            whole = len(ready) // batch * batch
            if whole:
                yield ready[:whole], blocks
                ready, blocks = ready[whole:], []
        if len(ready):
            yield ready, blocks

    def blocks(self, length: int) -> Iterator[Block]:
        """Yield coalitions z (at most ``length``, M) and the masses of their pairs; None for those sampled.

        Strata come together as far as ``length`` allows.
        """
        listed: list[np.ndarray] = []
        masses: list[np.ndarray] = []
        count = 0
        for s, block in self.listed(length):
            if count + len(block) > length:
                yield np.concatenate(listed), np.concatenate(masses)
                listed, masses, count = [], [], 0
            listed.append(block)
            masses.append(np.full(len(block), stratum_mass(self.size, s) / pairs_of(self.size, s)))
            count += len(block)
        if count:
            yield np.concatenate(listed), np.concatenate(masses)
        for start in range(0, len(self.packed), length):
            yield self.sampled(start, start + length), None


def stratum_mass(size: int, s: int) -> float:
    """Return the mass of a stratum under the Shapley kernel, up to a factor: 1 / (s (M - s)) for each of its sizes.

    Per coalition the kernel is (M - 1) / (C(M, s) s (M - s)) (Lundberg and Lee 2017, theorem 2).
    """
    return (1 if 2 * s == size else 2) / (s * (size - s))


def pairs_of(size: int, s: int) -> int:
    """Return the number of pairs in a stratum."""
    return math.comb(size, s) // (2 if 2 * s == size else 1)


def even_mass(size: int, s: int) -> float:
    """Return a mass that is the same for every size of coalitions: 2 for a stratum, 1 for that of M/2 alone."""
    return 1.0 if 2 * s == size else 2.0


def design(
    size: int,
    pairs: int,
    rng: np.random.Generator,
    mass_of: Callable[[int, int], float] = stratum_mass,
    always: int = 1,
) -> Design:
    """Choose ``pairs`` pairs (all, where there are fewer), by the masses of the strata.

    From the outside in, a stratum is enumerated where its share of the pairs left, by mass, would cover it; the
    first ``always`` are anyway. What is left is dealt out to the other strata in proportion to their mass
    (systematic sampling: every share is rounded up or down at random, keeping its mean), and drawn from them without
    repeats. So all sampled pairs stand for the same mass; by default it is that of the Shapley kernel.
    """
    strata = list(range(1, size // 2 + 1))
    left = pairs
    while strata:
        mass = [mass_of(size, s) for s in strata]
        count = pairs_of(size, strata[0])
        covered = left * (mass[0] / math.fsum(mass)) >= count
        few = left < count or left < sum(pairs_of(size, s) for s in strata)
        if strata[0] > always and not covered and few:
            break
        left -= count
        strata.pop(0)
    enumerated = tuple(range(1, size // 2 + 1 - len(strata)))
    if not strata:
        return Design(size, enumerated, np.empty((0, -(-size // 8)), dtype=np.uint8), 0.0)
    ends = np.append(0.0, np.cumsum(mass)) * (left / math.fsum(mass))
    ends[-1] = left
    dealt = np.diff(np.floor(ends + rng.random())).astype(int)
    drawn = np.concatenate([_drawn(size, s, n, rng) for s, n in zip(strata, dealt.tolist(), strict=True)])
    return Design(size, enumerated, drawn[rng.permutation(left)], math.fsum(mass))


def _drawn(size: int, s: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw different pairs of a stratum, uniformly; packed."""
    if pairs_of(size, min(s, MANY)) <= DENSE * count:
        listed = np.concatenate([np.packbits(z, axis=1) for z in _listed(size, s, 1 << 12)])
        return listed[rng.choice(len(listed), count, replace=False)]
    found: dict[bytes, None] = {}
    most = max(1, DRAWN_NUMBERS // size)
    while len(found) < count:
        order = rng.random((min(most, count - len(found)), size)).argpartition(s - 1, axis=1)
        z = np.zeros(order.shape, dtype=bool)
        np.put_along_axis(z, order[:, :s], values=True, axis=1)
        if 2 * s == size:
            z ^= ~z[:, :1]
        found.update((row.tobytes(), None) for row in np.packbits(z, axis=1))
    width = -(-size // 8)
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(count, width)


def _listed(size: int, s: int, length: int) -> Iterator[np.ndarray]:
    """Yield all coalitions of a stratum, ``length`` at a time."""
    halves = 2 * s == size
    if size <= FEW:  # the same in the same order: the first feature is the highest bit
        every = np.arange((1 << size) - 1, (1 << size - 1) - 1 if halves else -1, -1, dtype=np.uint32)
        bits = (every[np.bitwise_count(every) == s] << (32 - size)).astype(">u4")
        for start in range(0, len(bits), length):
            block = bits[start : start + length, None].view(np.uint8)
            yield np.unpackbits(block, axis=1, count=size).view(np.bool_)
        return
    members = itertools.combinations(range(1, size), s - 1) if halves else itertools.combinations(range(size), s)
    while some := list(itertools.islice(members, length)):
        z = np.zeros((len(some), size), dtype=bool)
        if halves:
            z[:, 0] = True
        np.put_along_axis(z, np.array(some, dtype=np.intp).reshape(len(some), -1), values=True, axis=1)
        yield z
