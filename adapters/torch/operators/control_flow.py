"""If, Loop, Scan and SequenceMap: graphs inside a node become modules inside a module, run as often as values say.

An If whose condition is known when the graph is converted never gets here: its branch takes its place in the graph.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import nn

from ..dtypes import to_tensor
from .registry import Converted, converter, function_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..node import Node


def inner(node: Node, attribute: str) -> tuple[nn.Module, list[int]]:
    """Return a graph attribute as a module, and the positions of the node's inputs that it takes after its own."""
    from ..convert import build  # the walk over a graph knows the converters, and this one needs the walk
    from ..normalise import body_program

    body = node.attributes[attribute]
    places = {name: body.first + k for k, name in enumerate(body.captured)}
    known = {name: node.constants[k] for name, k in places.items() if k in node.constants}
    return build(body_program(body, known)), [k for name, k in places.items() if name not in known]


def as_tuple(result: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return a module's outputs as a tuple, one alone included."""
    return result if isinstance(result, tuple) else (result,)


def as_listed(results: tuple[torch.Tensor, ...], node: Node) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """Return outputs as a node lists them: a tensor where it lists one."""
    return results[0] if len(node.outputs) == 1 else results


class Branches(nn.Module):
    """Both branches of an If; ``then_count`` of the captured tensors belong to the first."""

    def __init__(self, then_branch: nn.Module, else_branch: nn.Module, then_count: int, node: Node) -> None:
        super().__init__()
        self.node = node
        self.then_branch = then_branch
        self.else_branch = else_branch
        self.then_count = then_count

    def forward(self, condition: torch.Tensor, *captured: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the branch that the condition chooses."""
        if bool(condition):
            return as_listed(as_tuple(self.then_branch(*captured[: self.then_count])), self.node)
        return as_listed(as_tuple(self.else_branch(*captured[self.then_count :])), self.node)


@converter("If")
def branch(node: Node) -> Converted:
    """Run one of two graphs, by a condition that is computed."""
    then_branch, then_takes = inner(node, "then_branch")
    else_branch, else_takes = inner(node, "else_branch")
    return function_module(
        Branches(then_branch, else_branch, len(then_takes), node), node, takes=[0, *then_takes, *else_takes]
    )


class Repeat(nn.Module):
    """The body of a Loop: (step, condition, carried ..., captured ...) -> (condition, carried ..., collected ...)."""

    def __init__(self, body: nn.Module, node: Node, carried: int) -> None:
        super().__init__()
        self.body = body
        self.node = node
        self.carried = carried
        own = node.attributes["body"]
        self.collected = len(own.graph.output) - 1 - carried
        for place, value in enumerate(own.graph.output[1 + carried :]):
            kind = value.type.tensor_type
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type or TensorProto.FLOAT)
            empty = np.empty([0, *(max(d.dim_value, 0) for d in kind.shape.dim)], dtype)
            self.register_buffer(f"nothing{place}", to_tensor(own.context.arrays.adapted(empty)))

    def forward(
        self, trips: torch.Tensor | None, condition: torch.Tensor | None, *rest: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Repeat at most ``trips`` times while the condition holds; return what is carried, and stacks of the rest."""
        state, captured = rest[: self.carried], rest[self.carried :]
        collected: list[tuple[torch.Tensor, ...]] = []
        limit = None if trips is None else int(trips)
        device = next((t.device for t in rest if isinstance(t, torch.Tensor)), None)
        going = torch.ones((), dtype=torch.bool, device=device) if condition is None else condition
        for step in count():
            if (limit is not None and step >= limit) or not bool(going):
                break
            results = as_tuple(self.body(torch.tensor(step, device=device), going, *state, *captured))
            going, state = results[0], results[1 : 1 + self.carried]
            collected.append(results[1 + self.carried :])
        stacks = [torch.stack(values) for values in zip(*collected, strict=True)]
        return as_listed((*state, *(stacks if collected else self._nothing())), self.node)

    def _nothing(self) -> list[torch.Tensor]:
        """Return what no step has collected; lengths that the graph does not tell are 0, as in ONNX Runtime."""
        return [self.get_buffer(f"nothing{place}") for place in range(self.collected)]


@converter("Loop")
def loop(node: Node) -> Converted:
    """Repeat a graph; its gradient passes through all steps."""
    body, captured = inner(node, "body")
    first = node.attributes["body"].first
    carried = first - 2
    return function_module(Repeat(body, node, carried), node, takes=[*range(first), *captured])


class Sweep(nn.Module):
    """The body of a Scan: (states ..., slices ..., captured ...) -> (states ..., collected ...)."""

    def __init__(self, body: nn.Module, node: Node, states: int, scanned: int) -> None:
        super().__init__()
        self.body = body
        self.node = node
        self.states = states
        self.scanned = scanned
        collected = len(node.outputs) - states
        self.in_axes = self._listed(node, "scan_input_axes", scanned)
        self.out_axes = self._listed(node, "scan_output_axes", collected)
        inwards = "scan_input_directions" if node.version > 8 else "directions"
        self.in_backward = self._listed(node, inwards, scanned)
        self.out_backward = self._listed(node, "scan_output_directions", collected)

    @staticmethod
    def _listed(node: Node, name: str, length: int) -> list[int]:
        return list(node.attributes.get(name) or [0] * length)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run over the slices of the scanned inputs and list the outputs as the node does."""
        return as_listed(self.swept(*tensors), self.node)

    def swept(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run over the slices of the scanned inputs; return the last states, and stacks of what each step gave."""
        state = tensors[: self.states]
        captured = tensors[self.states + self.scanned :]
        slices = []
        for x, axis, backward in zip(
            tensors[self.states : self.states + self.scanned], self.in_axes, self.in_backward, strict=True
        ):
            parts = x.unbind(axis)
            slices.append(parts[::-1] if backward else parts)
        collected: list[tuple[torch.Tensor, ...]] = []
        for elements in zip(*slices, strict=True):
            results = as_tuple(self.body(*state, *elements, *captured))
            state = results[: self.states]
            collected.append(results[self.states :])
        if not collected:
            raise self.node.refusal("number of slices", 0)
        stacks = []
        for values, axis, backward in zip(zip(*collected, strict=True), self.out_axes, self.out_backward, strict=True):
            stacks.append(torch.stack(values[::-1] if backward else values, axis))
        return (*state, *stacks)


class BatchedSweep(nn.Module):
    """Scan as it was in opset 8: all states and scanned inputs have a batch axis first, and rows run one by one."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__()
        self.sweep = sweep

    def forward(self, lengths: torch.Tensor | None, *tensors: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run each row over as many slices as ``lengths`` says; zeros stand for what later ones would give."""
        states, own = self.sweep.states, self.sweep.states + self.sweep.scanned
        rows = []
        for place, row in enumerate(zip(*tensors[:own], strict=True)):
            longest = row[states].shape[0]
            length = longest if lengths is None else int(lengths[place])
            made = self.sweep.swept(*row[:states], *(x[:length] for x in row[states:]), *tensors[own:])
            behind = [(0, 0) * (stack.ndim - 1) + (0, longest - length) for stack in made[states:]]
            rows.append((*made[:states], *map(nn.functional.pad, made[states:], behind)))
        return as_listed(tuple(torch.stack(values) for values in zip(*rows, strict=True)), self.sweep.node)


@converter("Scan", since=9)
def scan(node: Node) -> Converted:
    """Run a graph over the slices of its inputs."""
    body, captured = inner(node, "body")
    first, scanned = node.attributes["body"].first, node.attributes["num_scan_inputs"]
    sweep = Sweep(body, node, first - scanned, scanned)
    return function_module(sweep, node, takes=[*range(first), *captured])


@converter("Scan", until=8)
def batched_scan(node: Node) -> Converted:
    """Run a graph over the slices of each row of its inputs."""
    body, captured = inner(node, "body")
    first, scanned = node.attributes["body"].first, node.attributes["num_scan_inputs"]
    sweep = Sweep(body, node, first - 1 - scanned, scanned)
    return function_module(BatchedSweep(sweep), node, takes=[*range(first), *captured])


class Each(nn.Module):
    """The body of a SequenceMap: (elements or whole tensors ..., captured ...) -> (elements ...)."""

    def __init__(self, body: nn.Module, node: Node, own: int) -> None:
        super().__init__()
        self.body, self.node, self.own = body, node, own

    def forward(self, *values: torch.Tensor | list[torch.Tensor]) -> Any:
        """Run for each element of the first sequence, along with those of the others; tensors go to every run."""
        own, captured = values[: self.own], values[self.own :]
        made: list[tuple[torch.Tensor, ...]] = []
        for place in range(len(own[0])):
            elements = (v[place] if isinstance(v, list) else v for v in own)
            made.append(as_tuple(self.body(*elements, *captured)))
        listed = tuple([results[k] for results in made] for k in range(len(self.node.outputs)))
        return listed[0] if len(listed) == 1 else listed


@converter("SequenceMap")
def sequence_map(node: Node) -> Converted:
    """Run a graph on each element of a sequence."""
    body, captured = inner(node, "body")
    first = node.attributes["body"].first
    return function_module(Each(body, node, first), node, takes=[*range(first), *captured])
