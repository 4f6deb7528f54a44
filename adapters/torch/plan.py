"""Parts of a twin's graph: cut to a target, with taps at the tensors that gradients are wanted for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import fx

from ...engine.errors import CapabilityError, printable
from .convert import SOURCES, Refused
from .fuse import fuse
from .node import BLACK_BOX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .node import Node

_SHAPES_ONLY = frozenset({"Shape", "Size", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike"})
MISSING = object()  # what a node gives that torch cannot express, and all nodes behind it


class Rules(Protocol):
    """Another way back through the graph; hashable, as a part is kept for each (see ``rules.RuleSet``)."""

    def rewrite(self, part: fx.GraphModule, sources: dict[str, Node]) -> None:
        """Put modules in the place of those of a part whose outputs are the same and whose gradients follow a rule.

        ``part`` belongs to these rules alone, its modules do not: they are replaced, never changed. ``sources`` gives
        the ONNX node of each fx node that calls a module.
        """

    def start(self, made: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Return what goes back from the target's tensor; ``slope`` is the gradient of the score there."""


@dataclass(frozen=True)
class Probe:
    """What one run shows of every fx node: shapes for one row and for two, dtypes, and bytes for one row."""

    one: dict[str, tuple[int, ...]]
    two: dict[str, tuple[int, ...]]
    dtypes: dict[str, torch.dtype]
    bytes: int

    def is_float(self, name: str) -> bool:
        """Whether a gradient can flow through this node's tensor."""
        dtype = self.dtypes.get(name)
        return dtype is not None and (dtype.is_floating_point or dtype.is_complex)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps the shape and dtype of each tensor; nodes behind a refused one are left out."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.sources: dict[str, Node] = module.meta[SOURCES]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self.bytes = 0

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and note what it gives."""
        if n.op == "output" or any(self.env.get(a) is MISSING for a in n.all_input_nodes):
            return MISSING
        if n.op == "call_module" and isinstance(self.fetch_attr(str(n.target)), Refused):
            return MISSING
        try:
            result = super().run_node(n)
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
            raise self._failure(n, error) from error
        if isinstance(result, torch.Tensor):
            self.shapes[n.name], self.dtypes[n.name] = tuple(result.shape), result.dtype
            if n.op in {"call_module", "call_function"}:
                self.bytes += result.numel() * result.element_size()
        return result

    def _failure(self, n: fx.Node, error: Exception) -> CapabilityError:
        source = self.sources.get(n.name)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return CapabilityError(
            f"the torch twin fails where ONNX Runtime does not: {printable(reason)[:200]}",
            where=source.label if source is not None else n.name,
            tip=f"please report it with the model's file; {BLACK_BOX}",
        )


def probed(module: fx.GraphModule, one: Sequence[torch.Tensor], two: Sequence[torch.Tensor] | None) -> Probe:
    """Run a graph on one row and, unless that is None, on two."""
    first = _recorded(module, one)
    second = first if two is None else _recorded(module, two)
    return Probe(first.shapes, second.shapes, first.dtypes, first.bytes)


def _recorded(module: fx.GraphModule, tensors: Sequence[torch.Tensor]) -> _Recorder:
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(*tensors)
    return recorder


def tapped(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor of its own with the same elements, that gradients are taken at.

    Where nothing before it needs a gradient, nothing before it is kept for the way back.
    """
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def cut(
    module: fx.GraphModule, outputs: Sequence[str], taps: Sequence[str] = (), rules: Rules | None = None
) -> fx.GraphModule:
    """Return the part of a graph that makes some fx nodes' values: a module that returns them as a tuple.

    The arguments stay those of the whole module. The nodes in ``taps`` are followed by ``tapped``, and it is the tapped
    tensor that the rest of the graph and the outputs get. Raises the ``CapabilityError`` of a node in this part that
    torch cannot express.
    """
    needed = before(module, outputs)
    graph = fx.Graph()
    parts: dict[str, Any] = {}
    copies: dict[fx.Node, fx.Node] = {}
    sources: dict[str, Node] = {}
    for node in module.graph.nodes:
        if node.op == "output" or (node.op != "placeholder" and node.name not in needed):
            continue
        copies[node] = copy = graph.node_copy(node, lambda n: copies[n])
        if node.op in {"call_module", "get_attr"}:
            parts[str(node.target)] = _part(module, node)
        if node.name in module.meta[SOURCES]:
            sources[copy.name] = module.meta[SOURCES][node.name]
        if node.name in taps:
            copies[node] = graph.call_function(tapped, (copy,))
    by_name = {node.name: copy for node, copy in copies.items()}
    graph.output(tuple(by_name[name] for name in outputs))
    result = fx.GraphModule(parts, graph, class_name="Part")
    result.meta[SOURCES] = sources
    if rules is None:
        fuse(result, sources)
    else:
        rules.rewrite(result, sources)
    return result


def _part(module: fx.GraphModule, node: fx.Node) -> Any:
    if node.op == "get_attr":
        return getattr(module, str(node.target))
    part = module.get_submodule(str(node.target))
    if isinstance(part, Refused):
        raise part.error
    return part


def before(module: fx.GraphModule, names: Iterable[str]) -> set[str]:
    """Return the fx nodes that these depend on, themselves included."""
    wanted = set(names)
    for node in reversed(list(module.graph.nodes)):
        if node.name in wanted:
            wanted.update(n.name for n in node.all_input_nodes)
    return wanted


def after(module: fx.GraphModule, name: str) -> set[str]:
    """Return the fx nodes that depend on this one, itself included."""
    found = {name}
    for node in module.graph.nodes:
        if any(n.name in found for n in node.all_input_nodes):
            found.add(node.name)
    return found


def first_floats(module: fx.GraphModule, probe: Probe, name: str) -> list[str]:
    """Return, in graph order, the floating-point values that are the first on the ways from an integer one."""
    reached, found = {name}, []
    for node in module.graph.nodes:
        source = module.meta[SOURCES].get(node.name)
        if not any(n.name in reached for n in node.all_input_nodes) or (source and source.op_type in _SHAPES_ONLY):
            continue
        if probe.is_float(node.name):
            found.append(node.name)
        elif node.op != "output":
            reached.add(node.name)
    return found


def blocking(part: fx.GraphModule, tensors: Sequence[torch.Tensor]) -> Node | None:
    """Return the first ONNX node that gets something with a gradient and returns nothing that has one."""
    found: list[Node] = []

    class Follower(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            """Run a node and see whether the gradient ends at it."""
            result = super().run_node(n)
            fed = any(_needs_gradient(self.env.get(a)) for a in n.all_input_nodes)
            maker = n.args[0] if n.op == "call_function" and n.args else n  # of one output of several
            source = part.meta[SOURCES].get(getattr(maker, "name", ""))
            if source is not None and fed and not _needs_gradient(result) and source.op_type not in _SHAPES_ONLY:
                found.append(source)
            return result

    with torch.enable_grad():
        Follower(part, garbage_collect_values=False).run(*tensors)
    return found[0] if found else None


def _needs_gradient(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_needs_gradient(v) for v in value)
    return isinstance(value, torch.Tensor) and value.requires_grad
