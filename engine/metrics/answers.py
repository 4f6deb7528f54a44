"""Answers: the explanations that metrics ask for while one sample is judged, so that none is made twice."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..explanation import Explanation
    from ..inputs.sample import Sample
    from ..target import Target

HELD_BYTES = 64 << 20  # of explanations that are kept


class Answers:
    """Explanations by the model that is judged, of one sample and of changed inputs like it; the last that were used.

    Max-sensitivity and local-lipschitz explain the same changed inputs, and ``method-agreement.others`` the same
    methods beside each method. What is kept is read by all who ask, so its values cannot be written to.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Target, int, bytes], Explanation] = {}
        self._bytes = 0

    def of(
        self, method: str, sample: Sample, target: Target, seed: int, make: Callable[[], Explanation]
    ) -> Explanation:
        """Return what a method says of a sample; ``make`` makes it where it is not there.

        ``method`` names a method with its settings, of which it has one set within a run.
        """
        key = (method, target, seed, digest_of(sample.feeds))
        found = self._kept.pop(key, None)
        if found is not None:
            self._kept[key] = found
            return dataclasses.replace(found, sample=sample)
        made = make()
        for array in made.values.values():
            array.flags.writeable = False
        self._keep(key, dataclasses.replace(made, sample=None))
        return made

    def _keep(self, key: tuple[str, Target, int, bytes], made: Explanation) -> None:
        self._kept[key] = made
        self._bytes += _size(made)
        while self._bytes > HELD_BYTES:
            self._bytes -= _size(self._kept.pop(next(iter(self._kept))))


def _size(made: Explanation) -> int:
    return sum(array.nbytes for array in made.arrays().values())


def digest_of(feeds: Mapping[str, np.ndarray]) -> bytes:
    """Return a digest of the numbers or texts that a model is fed, with their names and shapes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts_of(feeds):
        digest.update(part)
    return digest.digest()


def parts_of(feeds: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Yield what a model is fed as bytes, by name: equal feeds yield equal bytes."""
    for name, feed in sorted(feeds.items()):
        yield f"{name}:{feed.dtype.str}:{feed.shape};".encode()
        yield written(feed)


def written(feed: np.ndarray) -> bytes:
    """Return the numbers or texts of a feed as bytes, the same for equal ones."""
    return repr(feed.tolist()).encode() if feed.dtype == object else np.ascontiguousarray(feed).tobytes()
