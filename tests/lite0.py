"""EfficientNet-Lite0 as the benchmarks have it, with random weights and statistics of batches, at 64 x 64 pixels."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from typing import TYPE_CHECKING

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
