"""Normalisations by statistics of the input itself: layer, RMS, group, instance, Lp, mean and variance, LRN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from onnx import TensorProto
from torch import nn
from torch.nn import functional as F

from ..dtypes import to_tensor, torch_dtype
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from ..node import Node

EPSILON = 1e-5  # where a node older than the schema (ONNX Runtime's LayerNormalization before opset 17) gives none
MVN_EPSILON = 1e-9  # added to the standard deviation by ONNX's definition of MeanVarianceNormalization


def layer_norm(
    x: torch.Tensor, scale: torch.Tensor | None, bias: torch.Tensor | None, axis: int, epsilon: float
) -> torch.Tensor:
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias``, with statistics over all axes from ``axis`` on.

    ``scale`` and ``bias`` have the shape of those axes or broadcast to ``x``.
    """
    shape = x.shape[axis:]
    if (scale is None or scale.shape == shape) and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    y = F.layer_norm(x, shape, None, None, epsilon)
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


def layer_statistics(x: torch.Tensor, axis: int, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and ``1 / sqrt(variance + epsilon)`` over all axes from ``axis`` on, kept with length 1."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return mean, torch.rsqrt(variance + epsilon)


def rms_norm(x: torch.Tensor, scale: torch.Tensor | None, axis: int, epsilon: float) -> torch.Tensor:
    """``x / sqrt(mean(x^2) + epsilon) * scale`` over all axes from ``axis`` on (Zhang, Sennrich 2019, 1910.07467)."""
    wide = x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = (wide * torch.rsqrt(wide.square().mean(axes, keepdim=True) + epsilon)).to(x.dtype)
    return y if scale is None else y * scale


class LayerNorm(nn.Module):
    """LayerNormalization; a constant scale and bias are the buffers ``weight`` and ``bias``.

    Returns the normalised input, or with ``statistics`` (normalised, mean, inverse standard deviation), the last two
    of that element type.
    """

    weight: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(self, node: Node, statistics: torch.dtype | None) -> None:
        super().__init__()
        self.axis: int = node.attributes.get("axis", -1)
        self.epsilon: float = node.attributes.get("epsilon", EPSILON)
        self.statistics = statistics
        scale, bias = node.constant(1), node.constant(2)
        self.register_buffer("weight", None if scale is None else to_tensor(scale))
        self.register_buffer("bias", None if bias is None else to_tensor(bias))

    def forward(self, x: torch.Tensor, *computed: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Normalise; ``computed`` are of scale and bias those that are no constants, in this order."""
        rest = list(computed)
        weight = rest.pop(0) if self.weight is None else self.weight
        bias = rest.pop(0) if rest else self.bias
        y = layer_norm(x, weight, bias, self.axis, self.epsilon)
        if self.statistics is None:
            return y
        mean, inverse = layer_statistics(x, self.axis, self.epsilon)
        return y, mean.to(self.statistics), inverse.to(self.statistics)

    def extra_repr(self) -> str:
        """Axis and epsilon."""
        return f"axis={self.axis}, epsilon={self.epsilon}"


@converter("LayerNormalization")
def layer_normalization(node: Node) -> Converted:
    """Layer normalisation (Ba et al. 2016, 1607.06450), with its statistics where they are asked for."""
    wanted = node.wanted(1) or node.wanted(2)
    statistics = torch_dtype(node.attributes.get("stash_type", TensorProto.FLOAT)) if wanted else None
    takes = [i for i in range(3) if node.given(i) and (i == 0 or node.constant(i) is None)]
    return Converted(LayerNorm(node, statistics), tuple(takes))


@converter("RMSNormalization")
def rms_normalization(node: Node) -> Converted:
    """RMS normalisation (Zhang, Sennrich 2019, 1910.07467)."""
    axis, epsilon = node.attributes["axis"], node.attributes["epsilon"]
    return function_module(lambda x, scale=None: rms_norm(x, scale, axis, epsilon), node)


@converter("GroupNormalization")
def group_normalization(node: Node) -> Converted:
    """Group normalisation (Wu, He 2018, 1803.08494); before opset 21 scale and bias are per group."""
    groups, epsilon = node.attributes["num_groups"], node.attributes["epsilon"]
    per_group = node.version < 21

    def normalised(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        if per_group:
            each = x.shape[1] // groups
            scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
        return torch.group_norm(x, groups, scale, bias, epsilon)

    return function_module(normalised, node)


@converter("InstanceNormalization")
def instance_normalization(node: Node) -> Converted:
    """Instance normalisation (Ulyanov et al. 2016, 1607.08022): group normalisation with one channel per group."""
    epsilon = node.attributes["epsilon"]
    return function_module(lambda x, scale, bias: torch.group_norm(x, x.shape[1], scale, bias, epsilon), node)


@converter("MeanVarianceNormalization")
def mean_variance_normalization(node: Node) -> Converted:
    """``(x - mean) / (deviation + 1e-9)`` over the axes; where there is no variance, the deviation has gradient 0."""
    axes = tuple(node.attributes["axes"])

    def normalised(x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        deviation = variance.clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        return (x - mean) / (deviation + MVN_EPSILON)

    return function_module(normalised, node)


@converter("LpNormalization")
def lp_normalization(node: Node) -> Converted:
    """``x`` divided by its norm along an axis, 0 where the norm is 0."""
    axis, p = node.attributes["axis"], node.attributes["p"]
    if p not in {1, 2}:
        raise node.refusal("p", p)

    def normalised(x: torch.Tensor) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
        return x / torch.where(norm == 0, torch.ones_like(norm), norm)

    return function_module(normalised, node)


@converter("LRN")
def local_response_normalization(node: Node) -> Converted:
    """``x / (bias + alpha / size * sum of x^2 over neighbouring channels)^beta`` (Krizhevsky et al. 2012).

    The neighbours are ``floor((size - 1) / 2)`` channels before and ``ceil((size - 1) / 2)`` after.
    """
    alpha, beta, bias = (node.attributes[name] for name in ("alpha", "beta", "bias"))
    size = node.attributes["size"]

    def normalised(x: torch.Tensor) -> torch.Tensor:
        squares = x.square().reshape(x.shape[0], 1, x.shape[1], -1)
        padded = F.pad(squares, (0, 0, (size - 1) // 2, size // 2))
        mean = F.avg_pool2d(padded, (size, 1), stride=1)
        return x / torch.pow(bias + alpha * mean.reshape(x.shape), beta)

    return function_module(normalised, node)
