"""Support vector machines of ai.onnx.ml: regression and classification with any of the four kernels.

Shapes: N rows, F features, M support vectors, K classes; pairs of classes are (0, 1), (0, 2), ..., (1, 2), ...
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import torch

from .classic_ml import ML, class_labels, floats, labelled, post_transform, stored
from .registry import Converted, converter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

    Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

CERTAIN = 1e-7  # probabilities of a pair stay this far from 0 and 1
COUPLING_STEPS, COUPLING_TOLERANCE = 100, 0.005  # those of LIBSVM and ONNX Runtime


def squared_distances(x: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Return (N, M) squared distances; both are centred first, so that the differences of large numbers stay exact."""
    centre = vectors.mean(0)
    x, vectors = x - centre, vectors - centre
    return x.square().sum(1, keepdim=True) + vectors.square().sum(1) - 2 * x @ vectors.T


def kernel_of(node: Node) -> Kernel:
    """Return the kernel as a function of (N, F) and (M, F)."""
    name = node.attributes["kernel_type"]
    gamma, offset, degree = node.attributes.get("kernel_params") or (0.0, 0.0, 0.0)
    table: dict[str, Kernel] = {
        "LINEAR": lambda x, v: x @ v.T,
        "POLY": lambda x, v: torch.pow(gamma * (x @ v.T) + offset, degree),
        "RBF": lambda x, v: torch.exp(-gamma * squared_distances(x, v)),
        "SIGMOID": lambda x, v: torch.tanh(gamma * (x @ v.T) + offset),
    }
    if name not in table:
        raise node.refusal("kernel_type", name)
    return table[name]


def required(node: Node, name: str) -> torch.Tensor:
    """Return a list attribute that must be there."""
    values = floats(node, name)
    if values is None:
        raise node.refusal(name, "none")
    return values


@converter("SVMRegressor", domain=ML)
def svm_regressor(node: Node) -> Converted:
    """``sum(coefficient K(x, v)) + rho``; its sign for a one-class machine; a plain linear model without vectors."""
    kernel, count = kernel_of(node), node.attributes["n_supports"]
    coefficients, rho = required(node, "coefficients"), required(node, "rho")
    vectors = required(node, "support_vectors").reshape(count, -1) if count else None
    if node.attributes["post_transform"] != "NONE":
        raise node.refusal("post_transform", node.attributes["post_transform"])
    one_class = bool(node.attributes["one_class"])

    def regressed(
        x: torch.Tensor, coefficients: torch.Tensor, rho: torch.Tensor, vectors: torch.Tensor | None
    ) -> torch.Tensor:
        x = x.to(rho.dtype)
        weighted = kernel(x, coefficients) if vectors is None else kernel(x, vectors) @ coefficients.T
        score = weighted + rho[0]
        return torch.where(score > 0, 1.0, -1.0).to(rho.dtype) if one_class else score

    return stored(node, regressed, coefficients.unsqueeze(0), rho, vectors)


def coupled(pairs: torch.Tensor) -> torch.Tensor:
    """Return class probabilities (N, K) from those of pairs, (N, K, K): ``r[i, j]`` is that of i against j.

    The second method of Wu, Lin and Weng 2004 (JMLR 5), by LIBSVM's iteration, which stops for each row on its own.
    """
    k = pairs.shape[-1]
    diagonal = torch.eye(k, dtype=torch.bool, device=pairs.device)
    Q = torch.where(diagonal, 0.0, -pairs.transpose(1, 2) * pairs)
    Q = Q + torch.diag_embed(pairs.masked_fill(diagonal, 0.0).square().sum(1))
    p = torch.full_like(pairs[:, 0], 1 / k)
    running = torch.ones_like(p[:, :1], dtype=torch.bool)
    for _ in range(COUPLING_STEPS):
        Qp = (Q @ p.unsqueeze(-1)).squeeze(-1)
        pQp = (p * Qp).sum(1, keepdim=True)
        running = running & ((Qp - pQp).abs().amax(1, keepdim=True) >= COUPLING_TOLERANCE / k)
        if not bool(running.any()):
            break
        new = p
        for t in range(k):
            step = (pQp - Qp[:, t : t + 1]) / Q[:, t, t].unsqueeze(1)
            new = (new + step * diagonal[t]) / (1 + step)
            pQp = (pQp + step * (step * Q[:, t, t].unsqueeze(1) + 2 * Qp[:, t : t + 1])) / (1 + step).square()
            Qp = (Qp + step * Q[:, t]) / (1 + step)
        p = torch.where(running, new, p)
    return p


@converter("SVMClassifier", domain=ML)
def svm_classifier(node: Node) -> Converted:
    """Label by the votes of all pairs of classes, and scores.

    Scores are the decision values of the pairs, negated and as they are for two classes; with ``prob_a`` they are
    probabilities of the classes (Platt 1999 for each pair, then coupled).
    """
    sizes = list(node.attributes.get("vectors_per_class") or ())
    transform = post_transform(node)
    if not sizes:
        raise node.refusal("vectors_per_class", "none")
    kernel, labels = kernel_of(node), class_labels(node)
    vectors = required(node, "support_vectors").reshape(sum(sizes), -1)
    coefficients = required(node, "coefficients").reshape(len(sizes) - 1, -1)
    rho = required(node, "rho")
    a, b = floats(node, "prob_a"), floats(node, "prob_b")
    pairs = list(combinations(range(len(sizes)), 2))
    weight = pair_weights(coefficients, sizes, pairs)

    def classified(
        x: torch.Tensor,
        vectors: torch.Tensor,
        weight: torch.Tensor,
        rho: torch.Tensor,
        a: torch.Tensor | None,
        b: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        x = x.to(rho.dtype)
        values = kernel(x, vectors) @ weight.T + rho
        votes = torch.zeros(len(x), len(sizes), device=x.device)
        for place, (i, j) in enumerate(pairs):
            first = (values[:, place] > 0).float()
            votes[:, i] += first
            votes[:, j] += 1 - first
        if a is not None and b is not None:
            each = torch.sigmoid(-(values * a + b)).clamp(CERTAIN, 1 - CERTAIN)
            matrix = x.new_zeros(len(x), len(sizes), len(sizes))
            rows, columns = (torch.tensor(side, device=x.device) for side in zip(*pairs, strict=True))
            matrix = matrix.index_put((slice_all(x), rows, columns), each).index_put(
                (slice_all(x), columns, rows), 1 - each
            )
            scores = coupled(matrix)
        else:
            scores = torch.cat((-values, values), 1) if len(pairs) == 1 else values
        return labelled(node, transform(scores), votes.argmax(1), labels)

    return stored(node, classified, vectors, weight, rho, a, b)


def slice_all(x: torch.Tensor) -> torch.Tensor:
    """Return the numbers of all rows as a column, to index with."""
    return torch.arange(len(x), device=x.device).unsqueeze(1)


def pair_weights(coefficients: torch.Tensor, sizes: list[int], pairs: list[tuple[int, int]]) -> torch.Tensor:
    """Return (pairs, M) weights of the support vectors; ``coefficients`` (K - 1, M) are those that LIBSVM stores.

    In the pair (i, j) the vectors of class i have those of row j - 1, and the vectors of class j those of row i.
    """
    starts = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    weight = torch.zeros(len(pairs), sum(sizes))
    for place, (i, j) in enumerate(pairs):
        weight[place, starts[i] : starts[i + 1]] = coefficients[j - 1, starts[i] : starts[i + 1]]
        weight[place, starts[j] : starts[j + 1]] = coefficients[i, starts[j] : starts[j + 1]]
    return weight
