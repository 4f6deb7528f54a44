"""An fx graph read as ONNX operators, for those who look for patterns in it and put other modules in their place."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import fx, nn

if TYPE_CHECKING:
    import numpy as np

    from .node import Node

NAMES = "names"  # node.meta[NAMES]: of a module in the place of several ONNX nodes, their names and their tensors'


@dataclass(frozen=True)
class View:
    """An fx graph read as ONNX operators."""

    module: fx.GraphModule
    sources: dict[str, Node]

    def op_type(self, node: Any) -> str:
        """Return the ONNX operator that an fx node runs; empty for others and for other domains than the default."""
        if not isinstance(node, fx.Node) or node.op != "call_module":
            return ""
        source = self.sources.get(node.name)
        return source.op_type if source is not None and not source.domain else ""

    def inputs(self, node: Any, op_type: str, count: int) -> list[fx.Node]:
        """Return what a node of an operator reads while running, where it is so many nodes; empty otherwise."""
        if self.op_type(node) != op_type or len(node.args) != count:
            return []
        return [a for a in node.args if isinstance(a, fx.Node)]

    def alone(self, *nodes: fx.Node) -> bool:
        """Whether each of the nodes is read once."""
        return all(len(node.users) == 1 for node in nodes)

    def part(self, node: fx.Node) -> nn.Module:
        """Return the module that an fx node calls."""
        return self.module.get_submodule(str(node.target))

    def with_constant(self, node: Any, op_type: str) -> tuple[np.ndarray, fx.Node] | None:
        """Return the constant and the other operand of an operator on two, or None."""
        inputs = self.inputs(node, op_type, 1)
        constants = self.sources[node.name].constants if inputs else {}
        return (next(iter(constants.values())), inputs[0]) if len(constants) == 1 else None

    def scalar(self, node: Any, op_type: str) -> tuple[float, fx.Node] | None:
        """Return c and x where a node is ``x op c`` with one number c (for Div, Sub, Pow: on the right)."""
        found = self.with_constant(node, op_type)
        if found is None or found[0].size != 1 or found[0].dtype.kind != "f":
            return None
        if op_type in {"Div", "Sub", "Pow"} and 1 not in self.sources[node.name].constants:
            return None
        return float(found[0].reshape(-1)[0]), found[1]

    def axes(self, node: fx.Node) -> list[int] | None:
        """Return the axes that a node names, as an attribute or a constant; None where it does not."""
        source = self.sources[node.name]
        axes = source.attributes.get("axes", source.constants.get(1))
        return None if axes is None else [int(a) for a in axes]

    def only_user(self, node: fx.Node, op_type: str) -> fx.Node | None:
        """Return the one node that reads a tensor, where there is one and it is of this operator."""
        user = next(iter(node.users)) if len(node.users) == 1 else None
        return user if self.op_type(user) == op_type else None

    @cached_property
    def of_shapes(self) -> set[fx.Node]:
        """The nodes whose values come from shapes alone; not those behind a tap, which have a gradient."""
        found: set[fx.Node] = set()
        for node in self.module.graph.nodes:
            read = node.all_input_nodes
            made = node.op == "call_module" or node.target is operator.getitem
            if self.op_type(node) in {"Shape", "Size"} or (made and read and all(n in found for n in read)):
                found.add(node)
        return found

    def replace(self, node: fx.Node, part: nn.Module, arguments: tuple[fx.Node, ...]) -> None:
        """Put a module in the place of a node and of what it alone reads; ``meta[NAMES]`` keeps the names of these."""
        target = self.added(f"Fused_{node.name}", part)
        names = self._names_inside(node, arguments)
        with self.module.graph.inserting_before(node):
            made = self.module.graph.call_module(target, arguments)
        node.replace_all_uses_with(made)
        self.sources[made.name] = self.sources[node.name]
        made.meta[NAMES] = names

    def _names_inside(self, node: fx.Node, arguments: tuple[fx.Node, ...]) -> tuple[str, ...]:
        """Return the names of a node, of those before it that it alone needs, and of what they make."""
        inside, waiting = {node: None}, [node]
        while waiting:
            for one in waiting.pop().all_input_nodes:
                if one not in arguments and one not in inside and inside.keys() >= one.users.keys():
                    inside[one] = None
                    waiting.append(one)
        found = [n for one in inside for n in one.meta.get(NAMES, ())]
        found += [n for one in inside if (s := self.sources.get(one.name)) for n in (*s.outputs, s.name) if n]
        return tuple(dict.fromkeys(found))

    def added(self, stem: str, part: nn.Module) -> str:
        """Add a module under a name that is free, and return the name."""
        target, count = stem, 0
        while hasattr(self.module, target):
            count += 1
            target = f"{stem}_{count}"
        held = next((t.device for t in (*self.module.parameters(), *self.module.buffers())), None)
        self.module.add_module(target, part.eval() if held is None else part.eval().to(held))
        return target
