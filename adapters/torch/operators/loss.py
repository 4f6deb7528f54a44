"""Losses, as graphs exported for training end in: the negative logarithm of the true class's probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

_NONE = -100  # a class that no target has, as torch's functions want one


def loss_of(
    node: Node, log_probability: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``-w_t log p_t`` for targets t (rows, ...) of log-probabilities (rows, classes, ...), added up or not.

    The mean is over the weights of the targets. Targets of the class ``ignore_index`` do not count.
    """
    ignored = node.attributes.get("ignore_index", _NONE)
    reduction = node.attributes["reduction"]
    return F.nll_loss(log_probability, target.long(), weight, ignore_index=ignored, reduction=reduction)


@converter("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node) -> Converted:
    """Loss of log-probabilities."""
    return function_module(lambda *tensors: loss_of(node, *tensors), node)


@converter("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(node: Node) -> Converted:
    """Loss of scores before softmax, and the log-probabilities where they are asked for."""

    def apply(scores: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        log_probability = torch.log_softmax(scores, 1)
        loss = loss_of(node, log_probability, *rest)
        return (loss, log_probability) if len(node.outputs) > 1 else loss

    return function_module(apply, node)
