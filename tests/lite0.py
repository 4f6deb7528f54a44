"""EfficientNet-Lite0 as the benchmarks have it: with random weights at 64 x 64 pixels, or trained, on a photograph."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import onnxplain
import whole_models
from onnxplain.engine.inputs.load import load_samples
from onnxplain.models import home, photograph
from onnxplain.models.efficientnet import BATCH_NORM_EPSILON, same_padding
from source_tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

NAME = "efficientnet-lite0"
BUILT = home() / NAME / f"{NAME}.onnx"  # the user's own: asked for before tests have theirs


@contextlib.contextmanager
def _networks() -> Iterator[ModuleType]:
    """Yield benchmarks/networks.py."""
    spec = importlib.util.spec_from_file_location("benchmark_networks", ROOT / "benchmarks" / "networks.py")
    networks = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, networks)
        spec.loader.exec_module(networks)
        yield networks


@contextlib.contextmanager
def efficientnet() -> Iterator[tuple[torch.nn.Module, torch.Tensor]]:
    """Yield the network and one input; inside, ``whole_models.exported(NAME, ...)`` knows it."""
    with _networks() as networks, pytest.MonkeyPatch.context() as patch:
        drawn = whole_models.Whole(networks.efficientnet_lite0, whole_models.pixels(3, 64, 64))
        patch.setitem(whole_models.MODELS, NAME, drawn)
        (x,) = drawn.draw(1)
        yield whole_models.network(NAME), x


class SamePadding(torch.nn.Conv2d):
    """A convolution with TensorFlow's padding, which is not the same on both sides where it takes every other pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ends = same_padding(x.shape[-1], self.kernel_size[0], self.stride[0])
        return super().forward(torch.nn.functional.pad(x, 2 * ends))


def trained() -> tuple[torch.nn.Module, onnxplain.Model, torch.Tensor]:
    """Return the network with the weights of the built model, that model, and a photograph as both take it."""
    proto = onnx.load(BUILT)
    stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
    with _networks() as networks:
        module = networks.efficientnet_lite0()
    layers = [node.name.removesuffix("/conv") for node in proto.graph.node if node.op_type == "Conv"]
    convolutions = (m for m in module.modules() if isinstance(m, torch.nn.Conv2d))
    norms = (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    for layer, conv, norm in zip(layers, convolutions, norms, strict=True):
        conv.__class__, conv.padding = SamePadding, (0, 0)
        conv.weight.data = stored[f"{layer}/conv.weight"]
        norm.eps = BATCH_NORM_EPSILON
        norm.weight.data, norm.bias.data = stored[f"{layer}/bn.scale"], stored[f"{layer}/bn.bias"]
        norm.running_mean, norm.running_var = stored[f"{layer}/bn.mean"], stored[f"{layer}/bn.var"]
    module[-1].weight.data, module[-1].bias.data = stored["classifier.weight"], stored["classifier.bias"]
    model = onnxplain.load(BUILT, device="cpu", threads=1)
    (sample,) = load_samples(str(photograph("chelsea")), model.inputs, model.spec)
    return module.eval().requires_grad_(requires_grad=False), model, torch.from_numpy(sample.feeds["images"])


def assert_alike(found: np.ndarray, expected: torch.Tensor, *, atol: float = 2e-4) -> None:
    """Compare maps of this network that two libraries made, ``atol`` in parts of the largest value.

    A pass goes by half a million ReLU6 units, integrated gradients by millions: now and then one lies within rounding
    of its kink. Either slope is right there, and which one is taken depends on the kernels and threads of the machine.
    It moves the pixels that the unit sees by little: 99 of 100 must agree, and all together to a hundredth.
    """
    wide = expected.detach().numpy().astype(np.float64)
    off = np.abs(found - wide)
    assert (off > atol * np.abs(wide).max()).mean() < 0.01
    assert off.sum() < 0.01 * np.abs(wide).sum()
