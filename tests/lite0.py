"""EfficientNet-Lite0 as the benchmarks have it, with random weights and statistics of batches, at 64 x 64 pixels."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import whole_models
from source_tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

NAME = "efficientnet-lite0"


@contextlib.contextmanager
def efficientnet() -> Iterator[tuple[torch.nn.Module, torch.Tensor]]:
    """Yield the network and one input; inside, ``whole_models.exported(NAME, ...)`` knows it."""
    spec = importlib.util.spec_from_file_location("benchmark_networks", ROOT / "benchmarks" / "networks.py")
    networks = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, networks)
        spec.loader.exec_module(networks)
        drawn = whole_models.Whole(networks.efficientnet_lite0, whole_models.pixels(3, 64, 64))
        patch.setitem(whole_models.MODELS, NAME, drawn)
        (x,) = drawn.draw(1)
        yield whole_models.network(NAME), x


def assert_alike(found: np.ndarray, expected: torch.Tensor, *, rtol: float = 0.0, atol: float = 2e-4) -> None:
    """Compare maps of this network that two libraries made, ``atol`` in parts of the largest value.

    A pass goes by half a million ReLU6 units, integrated gradients by millions: now and then one lies within rounding
    of its kink. Either slope is right there, and which one is taken depends on the kernels and threads of the machine.
    It moves the pixels that the unit sees by little: 99 of 100 must agree, and all together to a hundredth.
    """
    wide = expected.detach().numpy().astype(np.float64)
    off = np.abs(found - wide)
    assert (off > rtol * np.abs(wide) + atol * np.abs(wide).max()).mean() < 0.01
    assert off.sum() < 0.01 * np.abs(wide).sum()
