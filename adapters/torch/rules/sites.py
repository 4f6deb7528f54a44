"""Sites: the nodes of a part as rules see them, and where they stand in the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from torch import fx, nn

from ..view import NAMES
from .kinds import CONV, DENSE, ENDS, KIND_OF, LINEAR, SHAPE, SQUASHING
from .recognise import recognised
from .signs import without_negatives

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..node import Node
    from .linear import Linear


@dataclass(frozen=True)
class Site:
    """A node of a part as rules see it.

    ``kind`` is one of ``KINDS``, or ``other``; ``form`` tells linear nodes apart (``FORMS``) and is the operator else.
    ``linear`` is the map that a linear node or a sum is. ``node`` is the ONNX node that the module came from, the last
    one where several were put together: ``inside`` has the names of all of these and of their tensors. ``tensor`` is
    the name of the tensor that is made; ``reads`` and ``makes`` name the fx nodes of what the module reads while
    running and of what it makes; ``signals`` says which of ``reads`` depend
    on the values of an input. ``gates`` says which of them are squashed between two numbers right before (sigmoid,
    softmax and the like). ``nonnegative``: nothing that is read is ever below zero. ``rectified``: nothing comes back
    to what is made at or below zero; both as far as the graph tells (see ``signs``). For layers, that is, convolutions
    and dense ones, ``depth`` counts from 1 to ``deepest`` on the longest way through the graph; it is 0 for other
    nodes. ``first`` and ``last`` say whether no layer is before and behind.
    """

    kind: str
    form: str
    node: Node
    module: nn.Module
    target: str
    tensor: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    signals: tuple[bool, ...]
    gates: tuple[bool, ...]
    linear: Linear | None = None
    nonnegative: bool = False
    rectified: bool = False
    depth: int = 0
    deepest: int = 0
    first: bool = False
    last: bool = False
    inside: tuple[str, ...] = ()

    @cached_property
    def third(self) -> str:
        """Where a layer stands: lower, middle or upper; empty for what is no layer."""
        if not self.depth:
            return ""
        return ("lower", "middle", "upper")[min(2, (self.depth - 1) * 3 // self.deepest)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a pattern may match: of the tensors that are made, and of the ONNX node or nodes."""
        return tuple(n for n in (self.tensor, *self.node.outputs, self.node.name, *self.inside) if n)

    def __str__(self) -> str:
        """Kind, operator and name, for messages."""
        return f"{self.kind} node {self.node.label}"


def sites_of(part: fx.GraphModule, sources: Mapping[str, Node]) -> dict[fx.Node, Site]:
    """Return the nodes of a part that signals go through, in graph order."""
    signals = _signals(part, sources)
    found = {}
    for node in part.graph.nodes:
        if node.op == "call_module" and node in signals:
            found[node] = _site(part, node, sources[node.name], signals, sources)
    placed = _placed(found, signals)
    above = without_negatives(part, placed)
    return {
        node: replace(site, nonnegative=all(a in above for a in node.args if isinstance(a, fx.Node)))
        for node, site in placed.items()
    }


def _signals(part: fx.GraphModule, sources: Mapping[str, Node]) -> set[fx.Node]:
    """Return the nodes that depend on values of inputs, not only on their shapes."""
    found: set[fx.Node] = set()
    for node in part.graph.nodes:
        source = sources.get(node.name)
        ends = source is not None and source.op_type in ENDS
        if node.op == "placeholder" or (not ends and any(n in found for n in node.all_input_nodes)):
            found.add(node)
    return found


def _site(
    part: fx.GraphModule, node: fx.Node, source: Node, signals: set[fx.Node], sources: Mapping[str, Node]
) -> Site:
    module = part.get_submodule(str(node.target))
    reads = tuple(a for a in node.args if isinstance(a, fx.Node))
    run = tuple(a in signals for a in reads)
    kind, form, linear = recognised(module, source, run)
    several = [u for u in node.users if u.op == "call_function" and "getitem" in str(u.target)]
    makes = {int(str(u.args[1])): u.name for u in several}
    count = max(makes, default=0) + 1 if several else 1
    outputs = [o for o in source.outputs if o]
    return Site(
        kind=kind,
        form=form,
        node=source,
        module=module,
        target=str(node.target),
        tensor=outputs[0] if outputs else node.name,
        reads=tuple(_name(_untapped(a), sources) for a in reads),
        makes=tuple(makes.get(k, "") for k in range(max(count, len(source.outputs))))
        if several
        else (_name(node, sources),),
        signals=run,
        gates=tuple(_is_gate(part, a, sources) for a in reads),
        linear=linear,
        inside=node.meta.get(NAMES, ()),
    )


def _name(node: fx.Node, sources: Mapping[str, Node]) -> str:
    """Return the name that a node had in the whole graph: of several that were put together, that of the last."""
    source = sources.get(node.name)
    return next((name for name, other in sources.items() if other is source), node.name) if source else node.name


def _untapped(node: fx.Node) -> fx.Node:
    """Return the node whose value a tap hands on."""
    tap = node.op == "call_function" and "tapped" in str(node.target)
    return node.args[0] if tap and isinstance(node.args[0], fx.Node) else node


def _is_gate(part: fx.GraphModule, node: fx.Node, sources: Mapping[str, Node]) -> bool:
    """Whether a tensor lies between two numbers because of the operator right before it (shape operations apart)."""
    while True:
        node = _untapped(node)
        source = sources.get(node.name)
        if source is None:
            return False
        if source.op_type in SQUASHING:
            return True
        module = part.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, (nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid)):
            return True
        inputs = [a for a in node.args if isinstance(a, fx.Node)]
        if KIND_OF.get(source.op_type) != SHAPE or not inputs:
            return False
        node = inputs[0]


def _placed(found: Mapping[fx.Node, Site], signals: set[fx.Node]) -> dict[fx.Node, Site]:
    """Put a number on each layer by the longest way of signals to it, and tell the first and last ones."""
    above: dict[fx.Node, int] = {}
    followed: set[fx.Node] = set()
    before: dict[fx.Node, set[fx.Node]] = {}
    nodes = list(next(iter(found)).graph.nodes) if found else []
    for node in nodes:
        reads = [n for n in node.all_input_nodes if n in signals]
        depth = max((above[n] for n in reads), default=0)
        layers = set().union(*(before[n] for n in reads)) if reads else set()
        if node in found and found[node].form in {CONV, DENSE} and found[node].kind == LINEAR:
            followed |= layers
            depth, layers = depth + 1, {node}
        above[node], before[node] = depth, layers
    layers_of = {n for n, s in found.items() if s.kind == LINEAR and s.form in {CONV, DENSE}}
    deepest = max((above[n] for n in layers_of), default=0)
    firsts = _firsts(nodes, layers_of, signals)
    return {
        n: replace(site, depth=above[n], deepest=deepest, first=n in firsts, last=n not in followed)
        if n in layers_of
        else site
        for n, site in found.items()
    }


def _firsts(nodes: list[fx.Node], layers: set[fx.Node], signals: set[fx.Node]) -> set[fx.Node]:
    """Return the layers that an input comes to without having passed another one; its shape alone is none."""
    bare: set[fx.Node] = set()
    found = set()
    for node in nodes:
        if node.op == "placeholder" or (node in signals and any(n in bare for n in node.all_input_nodes)):
            if node in layers:
                found.add(node)
            else:
                bare.add(node)
    return found
