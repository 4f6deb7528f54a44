"""The walk over the graph: one torch module per ONNX node, in an fx graph whose nodes are named after ONNX values."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from ...engine.errors import CapabilityError
from .dtypes import to_tensor
from .modules import module_of
from .normalise import Program, flatten
from .operators import Converted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import ModelProto

    from .node import Node

NAMES = "names"  # module.meta[NAMES]: ONNX value name -> fx node name
SOURCES = "sources"  # module.meta[SOURCES]: fx node name of a module -> the ONNX node that it came from


def convert(proto: ModelProto, folder: Path | None = None) -> fx.GraphModule:
    """Return an ONNX model as a torch module.

    It is called with tensors in the order of the graph's inputs and returns the outputs in the graph's order: a single
    tensor where there is one. ``folder`` is where external data lies. ``module.meta["names"]`` maps names of ONNX
    values to names of fx nodes. Raises ``CapabilityError`` for an operator that cannot be expressed.

    >>> import onnxplain, torch
    >>> module = convert(onnxplain.load(onnxplain.models.path("digits-cnn")).proto)
    >>> tuple(module(torch.zeros(2, 1, 8, 8)).shape)
    (2, 10)
    """
    return build(flatten(proto, folder))


def build(program: Program, *, tolerant: bool = False) -> fx.GraphModule:
    """Return a program as a torch module.

    With ``tolerant``, a node that cannot be expressed becomes a module that raises its ``CapabilityError`` when it is
    run: what does not depend on it can be cut out and used.
    """
    walk = _Build(program.constants, tolerant=tolerant)
    for name in program.inputs:
        walk.add_input(name)
    for node in program.nodes:
        walk.add_node(node)
    results = tuple(walk.result(name) for name in program.outputs)
    walk.graph.output(results[0] if len(results) == 1 else results)
    module = fx.GraphModule(walk.parts, walk.graph, class_name="Twin")
    module.meta[NAMES] = {onnx: walk.values[name].name for onnx, name in program.names.items() if name in walk.values}
    module.meta[SOURCES] = walk.sources
    return module.eval().requires_grad_(requires_grad=False)


class Refused(nn.Module):
    """Stands for a node that torch cannot express; raises the reason when it is run."""

    def __init__(self, error: CapabilityError) -> None:
        super().__init__()
        self.error = error

    def forward(self, *_: torch.Tensor) -> torch.Tensor:
        """Raise the reason."""
        raise self.error


@dataclass
class _Build:
    """Collects fx nodes; ``parts`` are the modules and constants that they call, by target."""

    constants: Mapping[str, Any]
    tolerant: bool
    graph: fx.Graph = field(default_factory=fx.Graph)
    parts: dict[str, Any] = field(default_factory=dict)
    values: dict[str, fx.Node] = field(default_factory=dict)
    sources: dict[str, Node] = field(default_factory=dict)

    def add_input(self, name: str) -> None:
        """Add an argument of the module."""
        target = _identifier(name)
        while any(node.target == target for node in self.graph.nodes):
            target += "_"
        self.values[name] = self.graph.create_node("placeholder", target, name=target)

    def value(self, name: str) -> fx.Node:
        """Return the fx node of a value; a constant becomes a buffer of the module when it is first asked for."""
        if name not in self.values:
            target = self._free(f"constant_{_identifier(name)}")
            self.parts[target] = to_tensor(self.constants[name])
            self.values[name] = self.graph.create_node("get_attr", target, name=_identifier(name))
        return self.values[name]

    def result(self, name: str) -> fx.Node | None:
        """Return the fx node of an output; None for a constant that torch has no type for, if that is tolerated."""
        try:
            return self.value(name)
        except CapabilityError:
            if not self.tolerant:
                raise
            return None

    def add_node(self, node: Node) -> None:
        """Add the module of an ONNX node, and one fx node for each of its outputs that has a name."""
        try:
            converted = module_of(node)
            arguments = tuple(self.value(node.inputs[k]) for k in converted.takes)
        except CapabilityError as error:
            if not self.tolerant:
                raise
            running = tuple(k for k, name in enumerate(node.inputs) if name and k not in node.constants)
            converted = Converted(Refused(error), running)
            arguments = tuple(self.value(node.inputs[k]) for k in running)
        outputs = node.outputs
        target = self._free(f"{node.op_type}_{_identifier(next(o for o in outputs if o))}")
        self.parts[target] = converted.module
        name = _identifier(outputs[0]) if len(outputs) == 1 else target
        made = self.graph.create_node("call_module", target, arguments, name=name)
        self.sources[made.name] = node
        if len(outputs) == 1:
            self.values[outputs[0]] = made
            return
        for place, output in enumerate(outputs):
            if output:
                self.values[output] = self.graph.create_node(
                    "call_function", operator.getitem, (made, place), name=_identifier(output)
                )

    def _free(self, target: str) -> str:
        name, count = target, 0
        while name in self.parts:
            count += 1
            name = f"{target}_{count}"
        return name


def _identifier(name: str) -> str:
    """Return a name of a value as an identifier; fx makes it unique."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"v{plain}" if not plain or plain[0].isdigit() else plain
