"""Operators of com.microsoft that optimisers and exporters write: fused activations, products, normalisations.

onnx has no schemas for them: defaults are those of ONNX Runtime's contrib operators and are filled in here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from ..dtypes import to_tensor
from .activation import SOFTPLUS_LINEAR_FROM
from .normalisation import layer_norm, layer_statistics, rms_norm
from .registry import Converted, converter, find, function_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

MICROSOFT = "com.microsoft"
SKIP_EPSILON = 1e-12  # ONNX Runtime's default for the Skip and Embed layer normalisations


@converter("Gelu", domain=MICROSOFT)
def gelu(node: Node) -> Converted:
    """``x`` times the Gaussian distribution function of ``x``."""
    del node
    return Converted(nn.GELU(), (0,))


@converter("FastGelu", domain=MICROSOFT)
def fast_gelu(node: Node) -> Converted:
    """GELU of ``x + bias`` by its tanh approximation."""
    return function_module(lambda x, bias=None: F.gelu(x if bias is None else x + bias, approximate="tanh"), node)


@converter("BiasGelu", domain=MICROSOFT)
def bias_gelu(node: Node) -> Converted:
    """GELU of ``x + bias``."""
    return function_module(lambda x, bias: F.gelu(x + bias), node)


@converter("QuickGelu", domain=MICROSOFT)
def quick_gelu(node: Node) -> Converted:
    """``x sigmoid(alpha x)``."""
    alpha = node.attributes.get("alpha", 1.702)
    return function_module(lambda x: x * torch.sigmoid(alpha * x), node)


@converter("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(node: Node) -> Converted:
    """Return the first half of the channels of ``x + bias`` times the GELU of the second half."""

    def gated(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        value, gate = (x + bias).chunk(2, -1)
        return value * F.gelu(gate)

    return function_module(gated, node)


@converter("BiasAdd", domain=MICROSOFT)
def bias_add(node: Node) -> Converted:
    """``x + bias + skip``."""
    return function_module(lambda x, bias, skip: x + bias + skip, node)


def _transposed(x: torch.Tensor, *, last: bool, batch: bool) -> torch.Tensor:
    """Undo ``transBatch`` (the first axis belongs behind the batch axes) and then ``trans`` (the last two swap)."""
    if batch:
        x = x.movedim(0, -2)
    return x.transpose(-1, -2) if last and x.ndim > 1 else x


@converter("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(node: Node) -> Converted:
    """``alpha op(A) op(B)``."""
    given = node.attributes
    alpha = given.get("alpha", 1.0)
    a_last, b_last = bool(given.get("transA", 0)), bool(given.get("transB", 0))
    a_batch, b_batch = bool(given.get("transBatchA", 0)), bool(given.get("transBatchB", 0))

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        y = _transposed(a, last=a_last, batch=a_batch) @ _transposed(b, last=b_last, batch=b_batch)
        return y if alpha == 1.0 else alpha * y

    return function_module(product, node)


# name -> (defaults of alpha, beta and gamma, those of the ONNX operator of that name; the function of x and these)
FUSED: dict[str, tuple[tuple[float, ...], Callable[..., torch.Tensor]]] = {
    "": ((), lambda x: x),
    "Relu": ((), torch.relu),
    "Sigmoid": ((), torch.sigmoid),
    "Tanh": ((), torch.tanh),
    "Softsign": ((), F.softsign),
    "Softplus": ((), lambda x: F.softplus(x, threshold=SOFTPLUS_LINEAR_FROM)),
    "Elu": ((1.0,), F.elu),
    "LeakyRelu": ((0.01,), F.leaky_relu),
    "ThresholdedRelu": ((1.0,), lambda x, alpha: torch.where(x > alpha, x, torch.zeros_like(x))),
    "HardSigmoid": ((0.2, 0.5), lambda x, alpha, beta: torch.clamp(alpha * x + beta, 0.0, 1.0)),
    "Clip": ((-math.inf, math.inf), torch.clamp),
    "Selu": ((1.6732632, 1.0, 1.0507010), lambda x, alpha, _, gamma: gamma * F.elu(x, alpha)),
}


class Followed(nn.Module):
    """``activation(first(...) + addend)``; the addend is a constant, or what follows the operator's own tensors."""

    def __init__(
        self, first: Converted, activation: Callable[[torch.Tensor], torch.Tensor], addend: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.first = first.module
        self.own = len(first.takes)
        self.activation = activation
        self.register_buffer("addend", addend)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Run the operator, the addition and the activation."""
        y = self.first(*tensors[: self.own])
        for more in (self.addend, *tensors[self.own :]):
            y = y if more is None else y + more
        return self.activation(y)


def _fused(node: Node, op_type: str, version: int, params: list[float | None]) -> Converted:
    """Convert the first three inputs as the plain operator of ai.onnx, then add the fourth, then the activation."""
    name = node.attributes.get("activation", "")
    if name not in FUSED:
        raise node.refusal("activation", name)
    defaults, function = FUSED[name]
    values = [d if p is None else p for d, p in zip_longest(defaults, params[: len(defaults)])]
    constants = {i: c for i, c in node.constants.items() if i < 3}
    plain = replace(node, op_type=op_type, domain="", version=version, inputs=node.inputs[:3], constants=constants)
    convert = find(plain)
    if convert is None:
        raise node.refusal("operator", op_type)
    first = convert(plain)
    addend = node.constant(3)
    takes = (*first.takes, 3) if node.given(3) and addend is None else first.takes
    followed = Followed(first, lambda x: function(x, *values), None if addend is None else to_tensor(addend))
    return Converted(followed, takes)


@converter("FusedConv", domain=MICROSOFT)
def fused_conv(node: Node) -> Converted:
    """``activation(conv(X, W) + B + Z)``."""
    params = list(node.attributes.get("activation_params", ()))
    node = replace(node, attributes={"auto_pad": "NOTSET", "group": 1} | node.attributes)
    return _fused(node, "Conv", 11, params)


@converter("FusedGemm", domain=MICROSOFT)
def fused_gemm(node: Node) -> Converted:
    """``activation(alpha op(A) op(B) + beta C)``."""
    defaults = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    node = replace(node, attributes=defaults | node.attributes)
    params = [node.attributes.get(f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    return _fused(node, "Gemm", 13, params)


@converter("SimplifiedLayerNormalization", domain=MICROSOFT)
@converter("SimplifiedLayerNormalization")
def simplified_layer_normalization(node: Node) -> Converted:
    """RMS normalisation; the second output is the inverse root mean square, in float32 for 16-bit inputs."""
    axis, epsilon = node.attributes.get("axis", -1), node.attributes.get("epsilon", 1e-5)
    statistics = node.wanted(1)

    def normalised(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        y = rms_norm(x, scale, axis, epsilon)
        if not statistics:
            return y
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = tuple(range(axis % x.ndim, x.ndim))
        return y, torch.rsqrt(wide.square().mean(axes, keepdim=True) + epsilon)

    return function_module(normalised, node)


@converter("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(node: Node) -> Converted:
    """Layer normalisation of ``x + skip + bias``; further outputs are its statistics and that sum."""
    epsilon, outputs = node.attributes.get("epsilon", SKIP_EPSILON), len(node.outputs)

    def normalised(
        x: torch.Tensor,
        skip: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        total = x + skip if bias is None else x + skip + bias
        y = layer_norm(total, gamma, beta, -1, epsilon)
        return y if outputs == 1 else (y, *layer_statistics(total, -1, epsilon), total)[:outputs]

    return function_module(normalised, node)


@converter("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(node: Node) -> Converted:
    """RMS normalisation of ``x + skip + bias``; the fourth output is that sum."""
    epsilon, outputs = node.attributes.get("epsilon", SKIP_EPSILON), len(node.outputs)

    def normalised(
        x: torch.Tensor, skip: torch.Tensor, gamma: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        total = x + skip if bias is None else x + skip + bias
        y = rms_norm(total, gamma, -1, epsilon)
        if outputs == 1:
            return y
        inverse = torch.rsqrt(total.square().mean(-1, keepdim=True) + epsilon)
        return (y, torch.zeros_like(inverse), inverse, total)[:outputs]

    return function_module(normalised, node)


@converter("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(node: Node) -> Converted:
    """Layer normalisation of the sum of word, position and segment embeddings.

    Outputs: the normalised sum, the count of unmasked tokens per row (0 without a mask), the sum itself.
    """
    epsilon, outputs = node.attributes.get("epsilon", SKIP_EPSILON), len(node.outputs)

    def embedded(  # noqa: PLR0913, PLR0917 - the operator has nine inputs
        ids: torch.Tensor,
        segments: torch.Tensor | None,
        words: torch.Tensor,
        places: torch.Tensor,
        kinds: torch.Tensor | None,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        where = torch.arange(ids.shape[1], device=ids.device) if positions is None else positions
        total = F.embedding(ids.long(), words) + F.embedding(where.long(), places)
        if kinds is not None:
            total = total + (kinds[0] if segments is None else F.embedding(segments.long(), kinds))
        y = layer_norm(total, gamma, beta, -1, epsilon)
        count = ids.new_zeros(ids.shape[0]) if mask is None else mask.sum(-1)
        return y if outputs == 1 else (y, count.to(torch.int32), total)[:outputs]

    return function_module(embedded, node)
