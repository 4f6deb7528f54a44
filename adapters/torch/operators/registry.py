"""The table of operator converters: who turns a Node into a torch module, by operator and range of versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..dtypes import to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..node import Node


@dataclass(frozen=True)
class Converted:
    """A node as a torch module.

    ``module`` is called with the tensors of ``takes``, positions of the node's inputs, in that order; left-out inputs
    are never among them. It returns a tensor where the node lists one output, else a tuple in the order of the outputs.
    """

    module: nn.Module
    takes: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """A converter and the versions, first and last (None: all later ones), that it is for."""

    convert: Callable[[Node], Converted]
    since: int
    until: int | None

    def covers(self, version: int) -> bool:
        """Whether an operator of this version is converted here."""
        return self.since <= version and (self.until is None or version <= self.until)


CONVERTERS: dict[tuple[str, str], list[Entry]] = {}  # (domain, operator) -> entries with disjoint versions


def converter(
    *op_types: str, domain: str = "", since: int = 1, until: int | None = None
) -> Callable[[Callable[[Node], Converted]], Callable[[Node], Converted]]:
    """Register ``f(node) -> Converted`` for operators of versions ``since`` to ``until``, both included.

    Versions are those of ``Node.version``. Raises ``ValueError`` where another converter has a version in common.
    """

    def register(function: Callable[[Node], Converted]) -> Callable[[Node], Converted]:
        for op_type in op_types:
            entries = CONVERTERS.setdefault((domain, op_type), [])
            for entry in entries:
                if (until is None or entry.since <= until) and (entry.until is None or since <= entry.until):
                    raise ValueError(f"two converters for {domain or 'ai.onnx'} {op_type} from version {since}")
            entries.append(Entry(function, since, until))
        return function

    return register


def find(node: Node) -> Callable[[Node], Converted] | None:
    """Return the converter of a node, or None."""
    entries = CONVERTERS.get((node.domain, node.op_type), ())
    return next((entry.convert for entry in entries if entry.covers(node.version)), None)


class Function(nn.Module):
    """A pure function of tensors as a module; constants among its arguments are buffers."""

    def __init__(self, fn: Callable[..., Any], op_type: str, arguments: Sequence[torch.Tensor | int | None]) -> None:
        """``arguments``: for each argument of ``fn``, a constant, None (left out), or its place in ``forward``."""
        super().__init__()
        self.fn = fn
        self.op_type = op_type
        self._plan: list[int | str | None] = []
        for place, argument in enumerate(arguments):
            if isinstance(argument, torch.Tensor):
                self.register_buffer(f"constant{place}", argument)
                self._plan.append(f"constant{place}")
            else:
                self._plan.append(argument)
        self._plain = all(a == i for i, a in enumerate(self._plan))

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Call the function with the tensors and the constants in their places."""
        if self._plain:
            return self.fn(*tensors)
        return self.fn(
            *(tensors[p] if isinstance(p, int) else None if p is None else getattr(self, p) for p in self._plan)
        )

    def extra_repr(self) -> str:
        """Name the operator."""
        return self.op_type


def function_module(fn: Callable[..., Any], node: Node, takes: Sequence[int] | None = None) -> Converted:
    """Wrap a pure function of tensors.

    ``fn`` is called with one argument per position in ``takes`` (default: all inputs up to the last one given): the
    tensor, a buffer where the input is constant, or None where it is left out.
    """
    if takes is None:
        takes = range(max((i + 1 for i, name in enumerate(node.inputs) if name), default=0))
    arguments: list[torch.Tensor | int | None] = []
    running: list[int] = []
    for position in takes:
        if not node.given(position):
            arguments.append(None)
        elif (value := node.constant(position)) is not None:
            arguments.append(to_tensor(value))
        else:
            arguments.append(len(running))
            running.append(position)
    return Converted(Function(fn, node.op_type, arguments), tuple(running))
