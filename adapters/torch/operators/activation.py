"""Activations: element by element, or softmax-like along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..node import Node

SOFTPLUS_LINEAR_FROM = 40.0  # log(1 + e^x) equals x there even in float64, and e^x is still a float32


@converter("Relu")
def relu(node: Node) -> Converted:
    """``max(0, x)``."""
    del node
    return Converted(nn.ReLU(), (0,))


@converter("LeakyRelu")
def leaky_relu(node: Node) -> Converted:
    """``x`` where ``x >= 0``, else ``alpha x``."""
    return Converted(nn.LeakyReLU(node.attributes["alpha"]), (0,))


@converter("Sigmoid")
def sigmoid(node: Node) -> Converted:
    """``1 / (1 + e^-x)``."""
    del node
    return Converted(nn.Sigmoid(), (0,))


@converter("Tanh")
def tanh(node: Node) -> Converted:
    """Hyperbolic tangent."""
    del node
    return Converted(nn.Tanh(), (0,))


@converter("Erf")
def erf(node: Node) -> Converted:
    """Error function."""
    return function_module(torch.erf, node)


@converter("Elu")
def elu(node: Node) -> Converted:
    """``x`` where ``x >= 0``, else ``alpha (e^x - 1)``."""
    return Converted(nn.ELU(node.attributes["alpha"]), (0,))


@converter("Celu")
def celu(node: Node) -> Converted:
    """``max(0, x) + min(0, alpha (e^(x / alpha) - 1))``."""
    return Converted(nn.CELU(node.attributes["alpha"]), (0,))


@converter("Selu")
def selu(node: Node) -> Converted:
    """``gamma x`` where ``x > 0``, else ``gamma alpha (e^x - 1)``."""
    alpha, gamma = node.attributes["alpha"], node.attributes["gamma"]
    return function_module(lambda x: gamma * F.elu(x, alpha), node)


@converter("Gelu")
def gelu(node: Node) -> Converted:
    """``x`` times the Gaussian distribution function of ``x``, exact or with tanh (Hendrycks, Gimpel 2016)."""
    approximate = node.attributes["approximate"]
    if approximate not in {"none", "tanh"}:
        raise node.refusal("approximate", approximate)
    return Converted(nn.GELU(approximate), (0,))


@converter("Mish")
def mish(node: Node) -> Converted:
    """``x tanh(softplus(x))``."""
    del node
    return Converted(nn.Mish(), (0,))


@converter("Swish")
def swish(node: Node) -> Converted:
    """``x sigmoid(alpha x)``."""
    alpha = node.attributes["alpha"]
    if alpha == 1.0:
        return Converted(nn.SiLU(), (0,))
    return function_module(lambda x: x * torch.sigmoid(alpha * x), node)


@converter("SwiGLU")
def swiglu(node: Node) -> Converted:
    """Return ``a sigmoid(alpha a) b``."""
    alpha = node.attributes["alpha"]
    return function_module(lambda a, b: a * torch.sigmoid(alpha * a) * b, node)


@converter("HardSwish")
def hard_swish(node: Node) -> Converted:
    """``x max(0, min(1, x / 6 + 0.5))``."""
    del node
    return Converted(nn.Hardswish(), (0,))


@converter("HardSigmoid")
def hard_sigmoid(node: Node) -> Converted:
    """``max(0, min(1, alpha x + beta))``."""
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    return function_module(lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0), node)


@converter("ThresholdedRelu")
def thresholded_relu(node: Node) -> Converted:
    """``x`` where ``x > alpha``, else 0."""
    return Converted(nn.Threshold(node.attributes["alpha"], 0.0), (0,))


@converter("Shrink")
def shrink(node: Node) -> Converted:
    """``x + bias`` where ``x < -lambd``, ``x - bias`` where ``x > lambd``, else 0."""
    bias, lambd = node.attributes["bias"], node.attributes["lambd"]

    def shrunk(x: torch.Tensor) -> torch.Tensor:
        moved = torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))
        return moved.to(x.dtype)

    return function_module(shrunk, node)


@converter("Softplus")
def softplus(node: Node) -> Converted:
    """``log(1 + e^x)``."""
    del node
    return Converted(nn.Softplus(threshold=SOFTPLUS_LINEAR_FROM), (0,))


@converter("Softsign")
def softsign(node: Node) -> Converted:
    """``x / (1 + |x|)``."""
    del node
    return Converted(nn.Softsign(), (0,))


@converter("PRelu", until=6)
def prelu_by_channel(node: Node) -> Converted:
    """PRelu with one slope per channel, or one for all."""

    def per_channel(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        if slope.numel() > 1:
            slope = slope.reshape(-1, *[1] * (x.ndim - 2))
        return torch.where(x < 0, slope * x, x)

    return function_module(per_channel, node)


@converter("PRelu", since=7)
def prelu(node: Node) -> Converted:
    """``x`` where ``x >= 0``, else ``slope x``, the slope broadcast to ``x`` from the right."""
    return function_module(lambda x, slope: torch.where(x < 0, slope * x, x), node)


@converter("Clip", until=10)
def clip_by_attributes(node: Node) -> Converted:
    """``min(max, max(min, x))`` with bounds that are attributes."""
    low, high = node.attributes["min"], node.attributes["max"]
    return function_module(lambda x: _clipped(x, low, high), node)


@converter("Clip", since=11)
def clip(node: Node) -> Converted:
    """``min(max, max(min, x))``; a bound that is left out does not act."""
    known = [node.constant(i) for i in (1, 2)]
    if any(bound is None and node.given(i) for i, bound in enumerate(known, 1)):
        return function_module(_clip_computed, node)
    low, high = (None if bound is None else bound.reshape(()).item() for bound in known)
    if low is None and high is None:
        return Converted(nn.Identity(), (0,))
    return function_module(lambda x: _clipped(x, low, high), node, takes=(0,))


def _clipped(x: torch.Tensor, low: float | None, high: float | None) -> torch.Tensor:
    """Clamp; where that is a ReLU or has two bounds, by functions whose way back is several times as fast.

    Their derivative at a bound is 0, as that of ReLU and ReLU6 in torch; that of ``torch.clamp`` is 1.
    """
    if x.is_floating_point() and low is not None:
        if high is not None and low < high:
            return F.hardtanh(x, low, high)
        if high is None and low == 0:
            return F.relu(x)
    return torch.clamp(x, low, high)


def _clip_computed(x: torch.Tensor, low: torch.Tensor | None = None, high: torch.Tensor | None = None) -> torch.Tensor:
    if low is not None:
        x = torch.maximum(x, low.reshape(()))
    return x if high is None else torch.minimum(x, high.reshape(()))


def _flattened(fn: Callable[[torch.Tensor], torch.Tensor], axis: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Apply ``fn`` along the last axis of the input coerced to 2-D: all axes from ``axis`` on become one."""
    return lambda x: fn(x.flatten(axis)).reshape(x.shape)


def _hardmax(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Return 1 at the first largest value along the axis, 0 elsewhere."""
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


@converter("Softmax", since=13)
def softmax(node: Node) -> Converted:
    """``e^x / sum(e^x)`` along an axis."""
    return Converted(nn.Softmax(node.attributes["axis"]), (0,))


@converter("LogSoftmax", since=13)
def log_softmax(node: Node) -> Converted:
    """Logarithm of softmax along an axis."""
    return Converted(nn.LogSoftmax(node.attributes["axis"]), (0,))


@converter("Hardmax", since=13)
def hardmax(node: Node) -> Converted:
    """1 at the first largest value along an axis, 0 elsewhere; its gradient is 0."""
    axis = node.attributes["axis"]
    return function_module(lambda x: _hardmax(x, axis), node)


@converter("Softmax", "LogSoftmax", "Hardmax", until=12)
def softmax_of_flattened(node: Node) -> Converted:
    """Before opset 13 the input is coerced to 2-D at the axis, and all columns compete."""
    axis = node.attributes["axis"]
    last = {"Softmax": softmax, "LogSoftmax": log_softmax}
    if axis == -1 and node.op_type in last:
        return last[node.op_type](node)
    fn = {
        "Softmax": lambda x: torch.softmax(x, -1),
        "LogSoftmax": lambda x: torch.log_softmax(x, -1),
        "Hardmax": lambda x: _hardmax(x, -1),
    }[node.op_type]
    return function_module(_flattened(fn, axis), node)


@converter("Dropout")
def dropout(node: Node) -> Converted:
    """Identity: a model that is explained is not in training. The mask, where asked for, keeps everything."""
    ratio, training = node.constant(1), node.constant(2)
    if node.given(2) and (training is None or training.item()) and (ratio is None or ratio.item() > 0):
        raise node.refusal("training_mode", "true" if training is not None else "a computed value")
    if not node.wanted(1):
        return Converted(nn.Identity(), (0,))
    if node.version < 10:
        return function_module(lambda x: (x, torch.ones_like(x)), node, takes=(0,))
    return function_module(lambda x: (x, torch.ones_like(x, dtype=torch.bool)), node, takes=(0,))
