"""Operators of ai.onnx.ml that have a gradient: scaling, imputation, linear models and support vector machines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from .linear import linear_layer
from .registry import Converted, Function, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

    Elementwise = Callable[[torch.Tensor], torch.Tensor]

ML = "ai.onnx.ml"
WINITZKI = 0.147


def floats(node: Node, name: str) -> torch.Tensor | None:
    """Return a list attribute as a float32 tensor, None where it is absent or empty."""
    values = node.attributes.get(name)
    return None if values is None or len(values) == 0 else torch.tensor(np.asarray(values), dtype=torch.float32)


def stored(node: Node, fn: Callable[..., Any], *values: torch.Tensor | None) -> Converted:
    """Wrap ``fn(x, *values)``; the values, which come from attributes, are buffers and give the type of the result.

    These operators compute in float32 whatever the type of their input, unless the whole module is made wider.
    """
    return Converted(Function(fn, node.op_type, [0, *values]), (0,))


def softmax_zero(x: torch.Tensor) -> torch.Tensor:
    """Softmax over the scores that are not 0; those that are 0 stay 0."""
    zero = x == 0
    weights = torch.exp(x - x.amax(-1, keepdim=True)).masked_fill(zero, 0.0)
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total == 0, torch.ones_like(total), total)


def probit(x: torch.Tensor) -> torch.Tensor:
    """Return the normal distribution's quantile by the approximation that ONNX Runtime takes (Winitzki 2008)."""
    y = 2 * x - 1
    logarithm = torch.log((1 - y) * (1 + y))
    v = 2 / (math.pi * WINITZKI) + 0.5 * logarithm
    return math.sqrt(2) * torch.sign(y) * torch.sqrt(torch.sqrt(v * v - logarithm / WINITZKI) - v)


def post_transform(node: Node) -> Elementwise:
    """Return what is done to the scores (rows, classes) at the end."""
    name = node.attributes.get("post_transform", "NONE")
    table: dict[str, Elementwise] = {
        "NONE": lambda x: x,
        "SOFTMAX": lambda x: torch.softmax(x, -1),
        "LOGISTIC": torch.sigmoid,
        "SOFTMAX_ZERO": softmax_zero,
        "PROBIT": probit,
    }
    if name not in table:
        raise node.refusal("post_transform", name)
    return table[name]


@converter("Scaler", domain=ML)
def scaler(node: Node) -> Converted:
    """``(x - offset) scale``."""
    offset, scale = floats(node, "offset"), floats(node, "scale")
    offset = torch.zeros(1) if offset is None else offset
    scale = torch.ones(1) if scale is None else scale
    return stored(node, lambda x, offset, scale: (x.to(offset.dtype) - offset) * scale, offset, scale)


@converter("Normalizer", domain=ML)
def normalizer(node: Node) -> Converted:
    """Divide each row by its largest value (MAX), the sum of absolute values (L1) or the Euclidean norm (L2).

    A row whose divisor is 0 stays as it is.
    """
    norm = node.attributes["norm"]
    table: dict[str, Elementwise] = {
        "MAX": lambda x: x.amax(-1, keepdim=True),
        "L1": lambda x: x.abs().sum(-1, keepdim=True),
        "L2": lambda x: torch.linalg.vector_norm(x, 2, -1, keepdim=True),
    }
    if norm not in table:
        raise node.refusal("norm", norm)

    def normalised(x: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
        y = x.to(one.dtype)
        divisor = table[norm](y)
        return y / torch.where(divisor == 0, one, divisor)

    return stored(node, normalised, torch.ones(()))


@converter("Imputer", domain=ML)
def imputer(node: Node) -> Converted:
    """Replace one value, often NaN, by another, the same for all columns or one for each."""
    given = node.attributes
    real = given.get("imputed_value_floats")
    value = torch.tensor(np.asarray(real if real is not None else given["imputed_value_int64s"]))
    missing = given["replaced_value_float"] if real is not None else given["replaced_value_int64"]

    def imputed(x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        gone = torch.isnan(x) if math.isnan(missing) else x == missing
        return torch.where(gone, value.to(x.dtype), x)

    return stored(node, imputed, value)


@converter("FeatureVectorizer", domain=ML)
def feature_vectorizer(node: Node) -> Converted:
    """All inputs side by side."""
    sizes = list(node.attributes.get("inputdimensions") or ())

    def joined(one: torch.Tensor, *columns: torch.Tensor) -> torch.Tensor:
        wide = [(c.unsqueeze(0) if c.ndim == 1 else c).to(one.dtype) for c in columns]
        if sizes and [w.shape[1] for w in wide] != sizes:  # ONNX Runtime cuts or pads such inputs
            raise node.refusal("inputdimensions", sizes)
        return torch.cat(wide, 1)

    places = range(len(node.inputs))
    return Converted(Function(joined, node.op_type, [torch.ones(()), *places]), tuple(places))


@converter("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(node: Node) -> Converted:
    """Pick columns: (rows, columns) -> (rows, picked)."""

    def picked(x: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        found = x.index_select(-1, columns.long().flatten())
        return found.unsqueeze(0) if found.ndim == 1 else found

    return function_module(picked, node)


class LinearModel(nn.Module):
    """A linear layer and what is made of its scores (N, rows)."""

    def __init__(self, node: Node, rows: int, finish: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        coefficients, intercepts = floats(node, "coefficients"), floats(node, "intercepts")
        if coefficients is None:
            raise node.refusal("coefficients", "none")
        self.linear = linear_layer(coefficients.reshape(rows, -1), intercepts)
        self.finish = finish

    def forward(self, x: torch.Tensor) -> Any:
        """Score rows of features, or one row without a leading axis."""
        x = x.to(self.linear.weight.dtype)
        return self.finish(self.linear(x if x.ndim > 1 else x.unsqueeze(0)))


@converter("LinearRegressor", domain=ML)
def linear_regressor(node: Node) -> Converted:
    """``x W^T + b``; of the transforms only PROBIT acts on a single target, as in ONNX Runtime."""
    targets = node.attributes["targets"]
    acts = targets > 1 or node.attributes["post_transform"] == "PROBIT"
    transform = post_transform(node)
    return Converted(LinearModel(node, targets, transform if acts else lambda scores: scores), (0,))


def class_labels(node: Node) -> torch.Tensor | None:
    """Return the labels of a classifier; None for strings, which torch has no tensors for."""
    ints = node.attributes.get("classlabels_ints")
    return None if ints is None or len(ints) == 0 else torch.tensor(np.asarray(ints), dtype=torch.int64)


def labelled(
    node: Node, scores: torch.Tensor, best: torch.Tensor, labels: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """Return (label, scores); where labels are strings, the position of the label stands for it if it is not used."""
    if labels is None:
        if node.wanted(0) and not node.wanted(1):
            raise node.refusal("classlabels_strings", "the only output")
        return best, scores
    return labels.to(best.device)[best], scores


@converter("LinearClassifier", domain=ML)
def linear_classifier(node: Node) -> Converted:
    """Label and scores ``transform(x W^T + b)``.

    A binary model with one row of weights has the scores ``(1 - s, s)`` where ``s`` is transformed by LOGISTIC only.
    """
    transform, labels, name = post_transform(node), class_labels(node), node.attributes["post_transform"]
    classes = len(node.attributes.get("classlabels_ints") or node.attributes.get("classlabels_strings") or ())
    rows = len(node.attributes.get("intercepts") or ()) or classes
    if rows == 1 and (classes != 2 or name == "PROBIT"):
        raise node.refusal("one row of weights", f"{classes} classes and post_transform {name}")

    def finish(scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if rows > 1:
            return labelled(node, transform(scores), scores.argmax(-1), labels)
        positive = torch.sigmoid(scores) if name == "LOGISTIC" else scores
        return labelled(node, torch.cat((1 - positive, positive), 1), (scores[:, 0] > 0).long(), labels)

    return Converted(LinearModel(node, rows, finish), (0,))
