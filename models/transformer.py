"""A small transformer in NumPy: each step there gives its way back too, which adds up the gradients of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .training import Weights

Back = Callable[[np.ndarray], np.ndarray]  # from the gradient of what a step made to that of what it read
Step = tuple[np.ndarray, Back]

EPSILON = 1e-5  # of layer normalisation
HIDDEN = -1e9  # added to the logits of tokens that must not be read
LAYERS = ("q", "k", "v", "o", "up", "down")  # of a block


def block_shapes(name: str, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a block's dense layers; it is ``hidden`` wide between the last two."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.{layer}": (width, width) for layer in "qkvo"}
    return shapes | {f"{name}.up": (hidden, width), f"{name}.down": (width, hidden)}


def norm_weights(name: str, width: int) -> Weights:
    """Return the weights of a norm that changes nothing yet."""
    return {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": np.zeros(width, np.float32)}


@dataclass
class Pass:
    """One pass of a batch through a network; ``gradients`` are filled on the way back."""

    weights: Weights
    heads: int
    gradients: Weights = field(default_factory=dict)

    def add(self, name: str, gradient: np.ndarray) -> None:
        """Add to the gradient of a weight."""
        self.gradients[name] = self.gradients[name] + gradient if name in self.gradients else gradient

    def dense(self, x: np.ndarray, layer: str) -> Step:
        """Return ``x W^T + b`` for rows in the last axis."""
        weight = self.weights[f"{layer}.weight"]

        def back(dy: np.ndarray) -> np.ndarray:
            rows = dy.reshape(-1, dy.shape[-1])
            self.add(f"{layer}.weight", rows.T @ x.reshape(-1, x.shape[-1]))
            self.add(f"{layer}.bias", rows.sum(axis=0))
            return dy @ weight

        return x @ weight.T + self.weights[f"{layer}.bias"], back

    def norm(self, x: np.ndarray, layer: str) -> Step:
        """Return layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450)."""
        weight = self.weights[f"{layer}.weight"]
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        whole = centred * scale

        def back(dy: np.ndarray) -> np.ndarray:
            self.add(f"{layer}.weight", (dy * whole).reshape(-1, dy.shape[-1]).sum(axis=0))
            self.add(f"{layer}.bias", dy.reshape(-1, dy.shape[-1]).sum(axis=0))
            d = dy * weight
            along = (d * whole).mean(axis=-1, keepdims=True)
            found: np.ndarray = scale * (d - d.mean(axis=-1, keepdims=True) - whole * along)
            return found

        return whole * weight + self.weights[f"{layer}.bias"], back

    def attention(self, x: np.ndarray, name: str, mask: np.ndarray | None) -> Step:
        """Return self-attention of tokens (B, L, width); ``mask`` (B, L) is added to the logits of keys."""
        (q, back_q), (k, back_k), (v, back_v) = (self.dense(x, f"{name}.{part}") for part in "qkv")
        Q, K, V = (self._in_heads(part) for part in (q, k, v))
        root = 1 / np.sqrt(Q.shape[-1]).astype(x.dtype)
        logits = Q @ K.swapaxes(-1, -2) * root
        A = _softmax(logits if mask is None else logits + mask[:, None, None])
        y, back_o = self.dense(self._together(A @ V), f"{name}.o")

        def back(dy: np.ndarray) -> np.ndarray:
            d = self._in_heads(back_o(dy))
            dA = d @ V.swapaxes(-1, -2)
            dlogits = A * (dA - (dA * A).sum(axis=-1, keepdims=True)) * root
            parts = (dlogits @ K, dlogits.swapaxes(-1, -2) @ Q, A.swapaxes(-1, -2) @ d)
            ways = zip((back_q, back_k, back_v), parts, strict=True)
            found: np.ndarray = np.sum([way(self._together(part)) for way, part in ways], axis=0)
            return found

        return y, back

    def block(self, x: np.ndarray, name: str, mask: np.ndarray | None = None) -> Step:
        """Return a block: attention and then two dense layers, each behind a norm and added to what it read."""
        first, back_first = self.norm(x, f"{name}.norm1")
        mixed, back_mixed = self.attention(first, name, mask)
        middle = x + mixed
        second, back_second = self.norm(middle, f"{name}.norm2")
        up, back_up = self.dense(second, f"{name}.up")
        down, back_down = self.dense(np.maximum(up, 0), f"{name}.down")

        def back(dy: np.ndarray) -> np.ndarray:
            d = dy + back_second(back_up(back_down(dy) * (up > 0)))
            return d + back_first(back_mixed(d))

        return middle + down, back

    def _in_heads(self, x: np.ndarray) -> np.ndarray:
        """Return (B, L, width) as (B, heads, L, size)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

    def _together(self, x: np.ndarray) -> np.ndarray:
        """Undo ``_in_heads``."""
        turned = x.transpose(0, 2, 1, 3)
        return turned.reshape(*turned.shape[:2], -1)


def unit(x: np.ndarray) -> Step:
    """Return rows (B, width) divided by their Euclidean lengths."""
    length = np.sqrt((x**2).sum(axis=-1, keepdims=True))
    whole = x / length

    def back(dy: np.ndarray) -> np.ndarray:
        found: np.ndarray = (dy - whole * (dy * whole).sum(axis=-1, keepdims=True)) / length
        return found

    return whole, back


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares
