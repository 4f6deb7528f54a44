"""Where on the way back a gradient becomes NaN or infinite: the operator that makes it so, for messages."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ...engine.errors import ModelError, printable
from .convert import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .node import Node

TIP = (
    "a root, logarithm, power or quotient at 0 has such gradients, also in a branch that a Where does not choose, and "
    "torch gives the same; try another target or tensor, or move the input a little"
)


class _Keeper(fx.Interpreter):
    """Runs a part and keeps the tensors that have a gradient."""

    def __init__(self, part: fx.GraphModule) -> None:
        super().__init__(part, garbage_collect_values=False)
        self.kept: dict[fx.Node, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and result.requires_grad:
            self.kept[n] = result
        return result


def nonfinite(
    target: str,
    name: str,
    part: fx.GraphModule,
    arguments: Sequence[torch.Tensor],
    scores: Callable[[torch.Tensor], torch.Tensor],
) -> ModelError:
    """Return the error for a gradient of ``target`` at tensor ``name`` that is not finite.

    ``part`` is run once more; ``scores`` makes the target's rows of what it returns first. The error names the operator
    at which the gradient stops being finite on its way back.
    """
    keeper = _Keeper(part)
    with torch.enable_grad():
        made = keeper.run(*arguments)
        nodes = list(keeper.kept)
        found = torch.autograd.grad(
            scores(made[0]).sum(), [keeper.kept[n] for n in nodes], retain_graph=True, allow_unused=True
        )
        gradients = {n: g for n, g in zip(nodes, found, strict=True) if g is not None}
        reason = _origin(keeper.kept, gradients, part.meta[SOURCES])
    return ModelError(
        f"the gradient of '{printable(target)}' at '{printable(name)}' holds NaN or infinity", where=reason, tip=TIP
    )


def _origin(kept: dict[fx.Node, torch.Tensor], gradients: dict[fx.Node, torch.Tensor], sources: dict[str, Node]) -> str:
    """Return words for the first tensor on the way back whose gradient is not finite; empty where it is not found."""
    for node in reversed(list(gradients)):
        if bool(torch.isfinite(gradients[node]).all()):
            continue
        for user in node.users:
            reader = sources.get(user.name)
            if reader is None or user not in gradients:
                continue
            (slope,) = torch.autograd.grad(
                kept[user], kept[node], gradients[user], retain_graph=True, allow_unused=True
            )
            if slope is not None and not bool(torch.isfinite(slope).all()):
                return f"it arises at {reader.label}, on the way back to tensor '{printable(_tensor(node, sources))}'"
        return f"it arises on the way back to tensor '{printable(_tensor(node, sources))}'"
    return ""


def _tensor(node: fx.Node, sources: dict[str, Node]) -> str:
    """Return the ONNX name of what a node makes."""
    place = 0
    while node.op == "call_function" and isinstance(node.args[0], fx.Node):  # a tap, or one output of several
        place = int(str(node.args[1])) if node.target is operator.getitem else place
        node = node.args[0]
    source = sources.get(node.name)
    return source.outputs[place] if source is not None and place < len(source.outputs) else str(node.target)
