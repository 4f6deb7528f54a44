"""Blend: write an input's rows for a batch of coalitions, features present or replaced, into a buffer."""

from __future__ import annotations

from functools import cached_property

import numpy as np

AT_A_TIME = 1 << 20  # bytes of rows that are written in one go, so that masks stay in the cache
SHORT = 64  # elements of an input up to which NumPy's loop over a row costs more than what is done in it
SHORT_AT_A_TIME = 1 << 16  # bytes of such rows


class Blend:
    """One input and its references, made ready for masking.

    ``feed`` is (1, ...), ``references`` (R, ...) of the same dtype. ``write`` fills ``out`` (B, R, ...): the feed where
    the mask is one, the reference where it is zero, the mixture in between. Boolean masks are exact to the bit: they
    are applied to the bits of the numbers, which is also several times faster than a conditional copy.
    """

    def __init__(self, feed: np.ndarray, references: np.ndarray) -> None:
        self._feed = np.ascontiguousarray(feed)[None]
        self._references = np.ascontiguousarray(references)[None]
        self._zero = references.dtype != object and not references.any() and not np.signbit(references).any()
        if feed.dtype != object:
            self._bits = np.dtype(f"i{feed.dtype.itemsize}")
            self._reference_bits = self._references.view(self._bits)
            self._changed_bits = self._feed.view(self._bits) ^ self._reference_bits
            self._repeated = self._changed_bits, self._reference_bits

    def write(self, mask: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` (B, R, ...) from a mask (B, 1, ...) that broadcasts to it."""
        step = max(1, (AT_A_TIME if self._feed.size > SHORT else SHORT_AT_A_TIME) // max(1, out[:1].nbytes))
        for start in range(0, len(out), step):
            self._write(mask[start : start + step], out[start : start + step])

    def _write(self, mask: np.ndarray, out: np.ndarray) -> None:
        if mask.dtype != np.bool_:
            if self._feed.dtype.kind != "f":
                raise TypeError("partly present features need inputs of floating-point numbers")
            np.multiply(mask, self._difference, out=out, casting="same_kind")
            if not self._zero:
                np.add(out, self._references, out=out)
        elif out.dtype == object:
            out[...] = np.where(mask, self._feed, self._references)
        else:
            bits = out.view(self._bits)
            chosen = np.negative(mask.view(np.int8)).astype(self._bits)  # all bits of what is present
            changed, references = self._changed_bits, self._reference_bits
            if self._feed.size <= SHORT:
                chosen, changed, references = self._lengthened(chosen, out.shape)
            np.bitwise_and(chosen, changed, out=bits)
            if not self._zero:
                np.bitwise_xor(bits, references, out=bits)

    @cached_property
    def _difference(self) -> np.ndarray:
        """What masks of fractions are multiplied by, (1, R, ...)."""
        difference: np.ndarray = self._feed - self._references
        return difference

    def _lengthened(self, chosen: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return masks and bits repeated, so that the loops over them go on from row to row."""
        if shape[1] > 1:
            return np.repeat(chosen, shape[1], axis=1), self._changed_bits, self._reference_bits
        if len(self._repeated[0]) < shape[0]:
            once = self._changed_bits, self._reference_bits
            self._repeated = np.repeat(once[0], shape[0], axis=0), np.repeat(once[1], shape[0], axis=0)
        changed, references = self._repeated
        return chosen, changed[: shape[0]], references[: shape[0]]
