"""What small networks need to be trained in NumPy: first weights, a loss with its gradient, and Adam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Weights = dict[str, np.ndarray]

FIRST, SECOND = 0.9, 0.999  # how much of its running moments Adam keeps from step to step
TINY = 1e-8


def initial_weights(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Weights:
    """Draw ``NAME.weight`` with variance 2 / fan-in (He et al. 2015, arXiv:1502.01852); ``NAME.bias`` is zero.

    A shape's first axis counts outputs, as in Conv and in Gemm with transB.
    """
    weights: Weights = {}
    for layer, shape in shapes.items():
        scale = np.sqrt(2 / np.prod(shape[1:]))
        weights[f"{layer}.weight"] = (rng.standard_normal(shape) * scale).astype(np.float32)
        weights[f"{layer}.bias"] = np.zeros(shape[0], np.float32)
    return weights


def cross_entropy(logits: np.ndarray, classes: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy of logits (n, classes), and its gradient with respect to them."""
    rows = np.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    gradient = np.exp(log_probabilities)
    gradient[rows, classes] -= 1
    return -float(log_probabilities[rows, classes].mean()), gradient / len(logits)


def kernel_gradients(layer: str, gradient: np.ndarray, neighbours: np.ndarray, weights: Weights) -> Weights:
    """Return a convolution's gradients, from that of its output (..., channels) and the patches that it read."""
    flat = gradient.reshape(-1, gradient.shape[-1])
    products = flat.T @ neighbours.reshape(-1, neighbours.shape[-1])
    return {f"{layer}.weight": products.reshape(weights[f"{layer}.weight"].shape), f"{layer}.bias": flat.sum(axis=0)}


class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) with decoupled weight decay (arXiv:1711.05101)."""

    def __init__(self, weights: Weights, decay: float) -> None:
        """Start at rest; ``decay`` is the share of a weight that a step of rate 1 takes away."""
        self._weights = weights
        self._decay = decay
        self._first = {name: np.zeros_like(w) for name, w in weights.items()}
        self._second = {name: np.zeros_like(w) for name, w in weights.items()}
        self._steps = 0

    def step(self, gradients: Mapping[str, np.ndarray], rate: float) -> None:
        """Move the weights, in place."""
        self._steps += 1
        for name, gradient in gradients.items():
            first, second, weight = self._first[name], self._second[name], self._weights[name]
            first += (1 - FIRST) * (gradient - first)
            second += (1 - SECOND) * (gradient**2 - second)
            m, v = first / (1 - FIRST**self._steps), second / (1 - SECOND**self._steps)
            weight -= rate * (m / (np.sqrt(v) + TINY) + self._decay * weight)
