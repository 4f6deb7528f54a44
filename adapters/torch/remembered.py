"""What is calculated from shapes alone, such as the shape of a Reshape: done once for each shape, not in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx, nn

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from .view import View

MOST = 8  # results of different shapes that are kept


class Remembered(nn.Module):
    """A graph whose result depends on the shapes of its arguments only."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.known: dict[tuple[Any, ...], Any] = {}

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Return what is known for these shapes, or find it out."""
        key = tuple((t.shape, t.device) for t in tensors)
        if key not in self.known:
            if len(self.known) >= MOST:
                self.known.clear()
            self.known[key] = self.graph(*tensors)
        return self.known[key]


def remember(view: View) -> None:
    """Let what is calculated from shapes be remembered, where the rest of the graph reads it."""
    shapes = view.of_shapes
    for node in [n for n in view.module.graph.nodes if n in shapes]:
        readers = [user for user in node.users if user not in shapes and user.op != "output"]
        inside = _inside(node, shapes)
        if readers and len(inside) > 1:
            _replace(view, node, inside, readers)


def _inside(node: fx.Node, shapes: Collection[fx.Node]) -> set[fx.Node]:
    """Return a node and all that it is calculated from, down to the shapes themselves."""
    found = {node}
    waiting = [node]
    while waiting:
        more = {n for n in waiting.pop().all_input_nodes if n in shapes} - found
        found |= more
        waiting.extend(more)
    return found


def _replace(view: View, node: fx.Node, inside: set[fx.Node], readers: list[fx.Node]) -> None:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    order = [n for n in view.module.graph.nodes if n in inside]
    read = list(dict.fromkeys(n for one in order for n in one.all_input_nodes if n not in inside))
    for n in read:
        copies[n] = graph.placeholder(n.name)
    for one in order:
        copies[one] = graph.node_copy(one, lambda n: copies[n])
    graph.output(copies[node])
    target = view.added(f"Remembered_{node.name}", Remembered(fx.GraphModule(view.module, graph)))
    with view.module.graph.inserting_after(node):
        made = view.module.graph.call_module(target, tuple(read))
    view.sources[made.name] = next(view.sources[n.name] for n in reversed(order) if n.name in view.sources)
    for reader in readers:
        reader.replace_input_with(node, made)
