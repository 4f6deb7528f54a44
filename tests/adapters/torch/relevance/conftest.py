"""The peer that several files of tests compare with."""

import importlib.util
import sys
import types

import pytest


@pytest.fixture(scope="session")
def zennit():
    """zennit, whose import asks for two classes of a torchvision that may be missing or made for another torch."""
    import torch

    if not importlib.util.find_spec("zennit"):
        pytest.skip("zennit is not installed")
    with pytest.MonkeyPatch.context() as patched:
        blocks = type("Bottleneck", (torch.nn.Module,), {}), type("BasicBlock", (torch.nn.Module,), {})
        resnet = types.ModuleType("torchvision.models.resnet")
        resnet.Bottleneck, resnet.BasicBlock = blocks
        for name in ("torchvision", "torchvision.models"):
            patched.setitem(sys.modules, name, types.ModuleType(name))
        patched.setitem(sys.modules, "torchvision.models.resnet", resnet)
        found = importlib.import_module("zennit")
        for name in ("attribution", "canonizers", "composites"):
            importlib.import_module(f"zennit.{name}")
        return found
