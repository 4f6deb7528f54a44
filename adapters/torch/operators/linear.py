"""Linear operators: matrix products, batch normalisation in use, Einstein sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from ..dtypes import to_tensor
from .registry import Converted, converter, function_module
from .unsigned import through_int64

if TYPE_CHECKING:
    import numpy as np

    from ..node import Node


class BatchNorm(nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  # the base that takes any rank has no public name
    """Batch normalisation with stored statistics, for inputs (batch, channels, ...) of any rank."""

    def __init__(
        self, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, eps: float
    ) -> None:
        super().__init__(len(scale), eps)
        self.weight, self.bias = frozen(scale), frozen(bias)
        self.running_mean, self.running_var = mean, var

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002  # torch's name
        del input


def frozen(tensor: torch.Tensor) -> nn.Parameter:
    """Return a weight that is not trained."""
    return nn.Parameter(tensor.contiguous(), requires_grad=False)


@converter("MatMul")
def matmul(node: Node) -> Converted:
    """Matrix product ``A B`` with NumPy's rules for ranks; a linear layer where B is a constant matrix."""
    right = node.constant(1)
    if right is not None and right.ndim == 2 and is_float(right) and 0 not in node.constants:
        return Converted(linear_layer(to_tensor(right).T, None), (0,))
    return function_module(through_int64(torch.matmul), node)


def linear_layer(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """Return a matrix product with a constant matrix (out, in), and a constant (out,) added."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = frozen(weight)
    if bias is not None:
        layer.bias = frozen(bias)
    return layer


@converter("Gemm")
def gemm(node: Node) -> Converted:
    """``alpha A' B' + beta C``; a linear layer where B and C are constant and C is the same for every row."""
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    flip_a, flip_b = bool(node.attributes["transA"]), bool(node.attributes["transB"])
    right, added = node.constant(1), node.constant(2)
    by_row = not node.given(2) or (added is not None and _same_for_rows(added))
    if right is not None and right.ndim == 2 and is_float(right) and not flip_a and by_row and 0 not in node.constants:
        weight = to_tensor(right if flip_b else right.T)
        bias = None
        if added is not None:
            bias = beta * to_tensor(added).reshape(-1).expand(len(weight))
        return Converted(linear_layer(weight if alpha == 1 else alpha * weight, bias), (0,))

    def product(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        result = (a.T if flip_a else a) @ (b.T if flip_b else b)
        result = result if alpha == 1 else scaled(alpha, result)
        return result if c is None else result + (c if beta == 1 else scaled(beta, c))

    def scaled(factor: float, value: torch.Tensor) -> torch.Tensor:
        return (factor * value).to(value.dtype)

    return function_module(product, node)


@converter("Einsum")
def einsum(node: Node) -> Converted:
    """Einstein sum of the inputs by the equation."""
    equation = node.attributes["equation"].replace(" ", "")
    return function_module(lambda *tensors: torch.einsum(equation, *tensors), node)


@converter("BatchNormalization")
def batch_normalization(node: Node) -> Converted:
    """``(x - mean) / sqrt(var + epsilon) * scale + bias`` per channel; in training with the batch's own."""
    if not node.attributes.get("spatial", 1):
        raise node.refusal("spatial", 0)
    epsilon = node.attributes["epsilon"]
    training = node.attributes.get("training_mode", 0) or any(node.wanted(k) for k in range(1, len(node.outputs)))
    if training:
        return function_module(_batch_statistics(epsilon, node.attributes["momentum"], len(node.outputs)), node)
    stored = [node.constant(k) for k in range(1, 5)]
    same = {a.dtype for a in stored if a is not None}
    if all(a is not None and is_float(a) for a in stored) and len(same) == 1:
        scale, bias, mean, var = (to_tensor(a) for a in stored if a is not None)
        return Converted(BatchNorm(scale, bias, mean, var, epsilon), (0,))

    def normalise(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        scale, bias, mean, var = (p.to(x.dtype).reshape(-1, *[1] * (x.dim() - 2)) for p in parameters)
        return (x - mean) * (scale * torch.rsqrt(var + epsilon)) + bias  # torch's own has no gradient at mean and var

    return function_module(normalise, node)


def _batch_statistics(epsilon: float, momentum: float, outputs: int) -> Any:
    def normalise(
        x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, var: torch.Tensor
    ) -> tuple[torch.Tensor, ...] | torch.Tensor:
        axes = [0, *range(2, x.dim())]
        now, spread = x.mean(axes).to(mean.dtype), x.var(axes, unbiased=False).to(var.dtype)
        result = F.batch_norm(x, None, None, scale.to(x.dtype), bias.to(x.dtype), training=True, eps=epsilon)
        kept = (mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum))
        return (result, *kept, now, spread)[:outputs] if outputs > 1 else result

    return normalise


def is_float(array: np.ndarray) -> bool:
    """Whether an array holds floating-point numbers, those that NumPy does not know itself included."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _same_for_rows(added: np.ndarray) -> bool:
    return added.ndim <= 1 or (added.ndim == 2 and added.shape[0] == 1)
