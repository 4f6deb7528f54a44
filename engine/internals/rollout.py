"""Rollout: how layers of attention, of one kind of tokens or of several, add up to what tokens are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CapabilityError, printable
from .token_maps import TokenRelevance, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..graph.attention import Attention
    from .attention import Tokens


@dataclass
class Relevance:
    """Matrices R[s, t] (tokens of kind s now, tokens of kind t at the start): what each token is made from.

    R[s, s] starts as the identity and R[s, t] as zero. ``sizes`` are the numbers of tokens.
    """

    sizes: Mapping[Tokens, int]
    _matrices: dict[tuple[Tokens, Tokens], np.ndarray] = field(default_factory=dict)

    def __getitem__(self, kinds: tuple[Tokens, Tokens]) -> np.ndarray:
        """Return R[s, t]."""
        if kinds not in self._matrices:
            now, start = kinds
            size = (self.sizes[now], self.sizes[start])
            self._matrices[kinds] = np.eye(*size) if now == start else np.zeros(size)
        return self._matrices[kinds]

    def __setitem__(self, kinds: tuple[Tokens, Tokens], matrix: np.ndarray) -> None:
        """Set R[s, t]."""
        self._matrices[kinds] = matrix

    def roll(self, layer: Attention, A: np.ndarray, residual: float) -> None:
        """Go through a layer: ``R[s, t] <- (1 - a) A R[q, t] + a R[s, t]`` for all t; rows of the sum add up to 1.

        s are the kind of the queries, q those of the keys, a is the share of the residual connection.
        """
        s, q = layer.query_inputs, layer.key_inputs
        total = (1 - residual) * A.sum(axis=1, keepdims=True) + residual
        mixed = {t: ((1 - residual) * A @ self[q, t] + residual * self[s, t]) / total for t in self.sizes}
        for t, matrix in mixed.items():
            self[s, t] = matrix

    def start_kinds(self, now: Tokens) -> list[Tokens]:
        """Return the kinds of tokens that tokens of one kind are made from, these first."""
        return [t for t in dict.fromkeys((now, *self.sizes)) if t == now or np.any(self[now, t])]


def sizes_of(layers: Mapping[Attention, np.ndarray]) -> dict[Tokens, int]:
    """Return how many tokens of each kind there are, from the weights (..., queries, keys) of all layers.

    Raises ``CapabilityError`` where the number changes from layer to layer.
    """
    sizes: dict[Tokens, int] = {}
    for layer, A in layers.items():
        for kind, size in ((layer.query_inputs, A.shape[-2]), (layer.key_inputs, A.shape[-1])):
            if sizes.setdefault(kind, size) != size:
                raise CapabilityError(
                    f"layers cannot be put together: there are {sizes[kind]} tokens of {named(kind)} and then {size}",
                    where=f"attention '{printable(layer.weights)}'",
                    tip="name a tensor behind the change with --wrt, or use attention-map, which shows one layer",
                )
    return sizes


def fused(A: np.ndarray, how: str, discard: float) -> np.ndarray:
    """Put heads (heads, queries, keys) into one matrix: their mean, maximum or minimum.

    The share ``discard`` of smallest weights is set to zero.
    """
    matrix: np.ndarray = getattr(A, how)(axis=0)
    count = int(discard * matrix.size)
    if count:
        matrix = matrix.copy()
        matrix.flat[np.argsort(matrix, axis=None, kind="stable")[:count]] = 0
    return matrix


def relevance_of(
    R: Relevance,
    now: Tokens,
    start: Tokens,
    rows: np.ndarray,
    layers: Sequence[Attention],
    *,
    itself: bool = True,
) -> TokenRelevance:
    """Return the mean of some rows of R[now, start], with the tensor at which these tokens first meet attention.

    Without ``itself`` the identity that R[now, now] started as is left out of the rows: it tells only which they are.
    """
    met = next(layer for layer in layers if start in {layer.query_inputs, layer.key_inputs})
    matrix = R[now, start]
    told = matrix if itself or now != start else matrix - np.eye(len(matrix))
    return TokenRelevance(start, told[rows].mean(axis=0), matrix, rows, met.weights, now)
