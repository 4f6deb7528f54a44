"""Operators whose converters onnx2torch has right."""

from __future__ import annotations

import importlib
import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from onnx import helper

from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..node import Node

# By operator, the version whose converter is taken for all: others differ in the types that they allow, no more.
SAME_AS = {
    "Acos": 7,
    "Asin": 7,
    "Atan": 7,
    "Ceil": 13,
    "Cos": 7,
    "Exp": 13,
    "Floor": 13,
    "Log": 13,
    "Neg": 13,
    "Reciprocal": 13,
    "Round": 11,  # halves to the even neighbour
    "Sin": 7,
    "Sqrt": 13,
    "Tan": 7,
}
_importing = threading.Lock()


@converter(*SAME_AS)
def borrowed(node: Node) -> Converted:
    """One function of each element, as onnx2torch's module."""
    with _importing, _torchvision_or_stand_in():
        importlib.import_module("onnx2torch.node_converters")
        registry = importlib.import_module("onnx2torch.node_converters.registry")
        graphs = importlib.import_module("onnx2torch.onnx_graph")
        nodes = importlib.import_module("onnx2torch.onnx_node")
    proto = helper.make_node(node.op_type, ["x"], ["y"], name=node.op_type)
    graph = graphs.OnnxGraph(helper.make_graph([proto], "node", [], []))
    convert = registry.get_converter(node.op_type, SAME_AS[node.op_type])
    return function_module(convert(nodes.OnnxNode(proto, unique_name=node.op_type), graph).torch_module, node)


@contextmanager
def _torchvision_or_stand_in() -> Iterator[None]:
    """Let onnx2torch be imported where torchvision is missing or broken: it needs it for two operators only.

    The stand-in is there during the import and no longer; neither of those operators is borrowed.
    """
    if "onnx2torch.node_converters" in sys.modules:
        yield
        return
    try:
        importlib.import_module("torchvision.ops")
    except (ImportError, OSError, RuntimeError, AttributeError):  # missing, or built for another torch
        kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".", 1)[0] == "torchvision"}
        package, ops = ModuleType("torchvision"), ModuleType("torchvision.ops")
        package.ops = ops  # type: ignore[attr-defined]
        ops.roi_align = None  # type: ignore[attr-defined]
        sys.modules.update({"torchvision": package, "torchvision.ops": ops})
        try:
            yield
        finally:
            del sys.modules["torchvision"], sys.modules["torchvision.ops"]
            sys.modules.update(kept)
    else:
        yield
