"""Operators of ai.onnx.ml that have a gradient: scaling, imputation, linear models and support vector machines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from .registry import Converted, converter, function_module

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


def as_float(x: torch.Tensor) -> torch.Tensor:
    """Return floating-point input as it is and any other in float32."""
    return x if x.is_floating_point() else x.float()


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

    def scaled(x: torch.Tensor) -> torch.Tensor:
        y = as_float(x)
        y = y if offset is None else y - offset.to(y)
        return y if scale is None else y * scale.to(y)

    return function_module(scaled, node)


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

    def normalised(x: torch.Tensor) -> torch.Tensor:
        y = as_float(x)
        divisor = table[norm](y)
        return y / torch.where(divisor == 0, torch.ones_like(divisor), divisor)

    return function_module(normalised, node)


@converter("Imputer", domain=ML)
def imputer(node: Node) -> Converted:
    """Replace one value, often NaN, by another, the same for all columns or one for each."""
    given = node.attributes
    real = given.get("imputed_value_floats")
    value = torch.tensor(np.asarray(real if real is not None else given["imputed_value_int64s"]))
    missing = given["replaced_value_float"] if real is not None else given["replaced_value_int64"]

    def imputed(x: torch.Tensor) -> torch.Tensor:
        gone = torch.isnan(x) if math.isnan(missing) else x == missing
        return torch.where(gone, value.to(x), x)

    return function_module(imputed, node)


@converter("FeatureVectorizer", domain=ML)
def feature_vectorizer(node: Node) -> Converted:
    """All inputs side by side, in float32 or wider."""
    sizes = list(node.attributes.get("inputdimensions") or ())

    def joined(*columns: torch.Tensor) -> torch.Tensor:
        wide = [as_float(c.unsqueeze(0) if c.ndim == 1 else c) for c in columns]
        if sizes and [w.shape[1] for w in wide] != sizes:  # ONNX Runtime cuts or pads such inputs
            raise node.refusal("inputdimensions", sizes)
        return torch.cat(wide, 1)

    return function_module(joined, node)


@converter("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(node: Node) -> Converted:
    """Pick columns: (rows, columns) -> (rows, picked)."""

    def picked(x: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        found = x.index_select(-1, columns.long().flatten())
        return found.unsqueeze(0) if found.ndim == 1 else found

    return function_module(picked, node)


@converter("LinearRegressor", domain=ML)
def linear_regressor(node: Node) -> Converted:
    """``x W^T + b``; of the transforms only PROBIT acts on a single target, as in ONNX Runtime."""
    coefficients, intercepts = floats(node, "coefficients"), floats(node, "intercepts")
    transform, targets = post_transform(node), node.attributes["targets"]
    if coefficients is None:
        raise node.refusal("coefficients", "none")
    weight = coefficients.reshape(targets, -1)
    acts = targets > 1 or node.attributes["post_transform"] == "PROBIT"

    def regressed(x: torch.Tensor) -> torch.Tensor:
        y = as_float(x)
        scores = y @ weight.to(y).T
        scores = scores if intercepts is None else scores + intercepts.to(y)
        return transform(scores) if acts else scores

    return function_module(regressed, node)


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
    coefficients, intercepts = floats(node, "coefficients"), floats(node, "intercepts")
    transform, labels = post_transform(node), class_labels(node)
    name = node.attributes["post_transform"]
    classes = len(node.attributes.get("classlabels_ints") or node.attributes.get("classlabels_strings") or ())
    if coefficients is None:
        raise node.refusal("coefficients", "none")
    rows = classes if intercepts is None else intercepts.numel()
    weight = coefficients.reshape(rows, -1)
    if rows == 1 and (classes != 2 or name == "PROBIT"):
        raise node.refusal("one row of weights", f"{classes} classes and post_transform {name}")

    def classified(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = as_float(x)
        scores = (y if y.ndim > 1 else y.unsqueeze(0)) @ weight.to(y).T
        scores = scores if intercepts is None else scores + intercepts.to(y)
        if rows > 1:
            return labelled(node, transform(scores), scores.argmax(-1), labels)
        positive = torch.sigmoid(scores) if name == "LOGISTIC" else scores
        return labelled(node, torch.cat((1 - positive, positive), 1), (scores[:, 0] > 0).long(), labels)

    return function_module(classified, node)
