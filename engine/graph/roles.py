"""What the graph tells of its inputs: which hold the state of a recurrent network, and which axes are time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..token_inputs import grows, words_in
from .structure import attribute_of, constants, input_names, is_default, scopes, small_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

    Readers = Mapping[str, list[tuple[NodeProto, int]]]

_RECURRENT = ("LSTM", "GRU", "RNN")
_STATE_INPUTS = (5, 6)  # initial_h and initial_c
# Operators that hand a state on, whole or in parts.
_HANDING_ON = (
    "Cast",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
# Operators of one array that leave its axes as they are.
_SAME_AXES = (
    "Abs",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Dropout",
    "Identity",
    "InstanceNormalization",
    "Log",
    "Neg",
    "Pad",
    "Relu",
    "Sigmoid",
    "Sqrt",
    "Tanh",
)
_WITH_CONSTANT = ("Add", "Sub", "Mul", "Div", "Pow")
_STATE_WORDS = {"state", "states", "hidden", "cell", "memory", "cache", "past", "present"}
_STATE_WORDS |= {"h", "c", "h0", "c0", "hx", "cx", "hn", "cn", "staten", "hout", "cout"}


def states(proto: ModelProto) -> tuple[frozenset[str], frozenset[str]]:
    """Return the inputs and the outputs that hold the state of a recurrent network.

    An input does if it is where an LSTM, GRU or RNN starts from, handed on by nothing but changes of shape, or if its
    name says so and an output of the same kind and rank has such a name too. An output does if it is the other one of
    such a pair, or where a recurrent operator ends, in a model with such inputs. A model of nothing but states has
    none.
    """
    stored = set(input_names(proto))
    given = [value for value in proto.graph.input if value.name in stored]
    readers = _readers(proto)
    starts = {value.name for value in given if _starts_recurrence(value.name, readers)}
    pairs = [(i.name, o.name) for i in given for o in proto.graph.output if _is_pair(i, o)]
    inputs = starts | {name for name, _ in pairs}
    outputs = {name for _, name in pairs} | (_ends(proto) if inputs else set())
    if inputs >= {value.name for value in given}:
        return frozenset(), frozenset()
    return frozenset(inputs), frozenset(outputs & {value.name for value in proto.graph.output})


def _readers(proto: ModelProto) -> Readers:
    """Return who reads each tensor and as which input, the graphs inside nodes included."""
    found: dict[str, list[tuple[NodeProto, int]]] = {}
    for scope in scopes(proto):
        for node in scope.nodes:
            for place, name in enumerate(node.input):
                if name:
                    found.setdefault(name, []).append((node, place))
    return found


def _starts_recurrence(name: str, readers: Readers) -> bool:
    seen, pending = {name}, [name]
    while pending:
        for node, place in readers.get(pending.pop(), ()):
            if is_default(node, *_RECURRENT) and place in _STATE_INPUTS:
                return True
            if place == 0 and is_default(node, *_HANDING_ON):
                new = [output for output in node.output if output and output not in seen]
                seen.update(new)
                pending.extend(new)
    return False


def _is_pair(given: ValueInfoProto, made: ValueInfoProto) -> bool:
    """Say whether the names and types of an input and an output are those of a state before and after."""
    told, answered = words_in(given.name) & _STATE_WORDS, words_in(made.name) & _STATE_WORDS
    if not any(len(a) > 2 < len(b) or a[0] == b[0] for a in told for b in answered):  # h and hn, but not c and hn
        return False
    before, after = given.type.tensor_type, made.type.tensor_type
    rank = len(before.shape.dim)
    if before.elem_type != after.elem_type or rank < 2 or rank != len(after.shape.dim):
        return False
    sizes = [(a.dim_value, b.dim_value) for a, b in zip(before.shape.dim, after.shape.dim, strict=True)]
    return grows(given.name) or all(a == b or 0 in {a, b} for a, b in sizes)


def _ends(proto: ModelProto) -> set[str]:
    """Return the tensors that hold the last states of recurrent operators, handed on by changes of shape only."""
    found: set[str] = set()
    for node in proto.graph.node:
        if is_default(node, *_RECURRENT):
            found.update(name for name in node.output[1:] if name)
        elif node.input and node.input[0] in found and is_default(node, *_HANDING_ON):
            found.update(node.output)
    return found


def sequence_axes(proto: ModelProto) -> dict[str, str]:
    """Return a letter per axis (N rows, C channels, T time) for inputs whose use tells them, as ``{"x": "TNC"}``.

    These go to a recurrent operator, a one-dimensional convolution or an STFT through nothing but changes that keep
    axes apart.
    """
    readers = {name: found for name, found in _readers(proto).items() if found}
    stored = {name: tensor for s in scopes(proto) for name, tensor in constants(s.nodes, s.graph).items()}
    found = {}
    for value in proto.graph.input:
        rank = len(value.type.tensor_type.shape.dim)
        if value.name in stored or not 1 <= rank <= 3:
            continue
        letters = next(_letters(value.name, rank, readers, stored), "")
        if "T" in letters:
            found[value.name] = letters
    return found


def _letters(name: str, rank: int, readers: Readers, stored: Mapping[str, TensorProto]) -> Iterator[str]:
    """Yield the letters that each use of an input tells; axes that were put in on the way are None."""
    pending: list[tuple[str, list[int | None]]] = [(name, list(range(rank)))]
    seen = {name}
    while pending:
        tensor, axes = pending.pop(0)
        for node, place in readers.get(tensor, ()):
            meant = _meaning(node, place, stored)
            if meant and len(meant) >= len(axes):
                letters = dict(zip(axes, meant, strict=False))
                if all(axis in letters for axis in range(rank)):
                    yield "".join(letters[axis] for axis in range(rank))
            after = _axes_after(node, place, axes, stored)
            if after is not None and node.output[0] not in seen:
                seen.add(node.output[0])
                pending.append((node.output[0], after))


def _meaning(node: NodeProto, place: int, stored: Mapping[str, TensorProto]) -> str:
    """Return a letter per axis of what a node reads, empty where the node says nothing of them."""
    if place != 0:
        return ""
    if is_default(node, *_RECURRENT):
        return "NTC" if attribute_of(node, "layout", 0) == 1 else "TNC"
    if is_default(node, "Conv") and len(node.input) > 1 and node.input[1] in stored:
        return "NCT" if len(stored[node.input[1]].dims) == 3 else ""
    return "NTC" if is_default(node, "STFT") else ""


def _axes_after(
    node: NodeProto, place: int, axes: list[int | None], stored: Mapping[str, TensorProto]
) -> list[int | None] | None:
    """Return the axes of the node's output by their numbers in the input, None where they cannot be told."""
    if is_default(node, *_WITH_CONSTANT):
        other = node.input[1 - place] if len(node.input) == 2 else ""
        return axes if other in stored and len(stored[other].dims) <= len(axes) else None
    if place != 0:
        return None
    if is_default(node, *_SAME_AXES):
        return axes
    if is_default(node, "Transpose"):
        order = attribute_of(node, "perm") or list(reversed(range(len(axes))))
        return [axes[k] for k in order] if sorted(order) == list(range(len(axes))) else None
    if is_default(node, "Unsqueeze", "Squeeze"):
        return _with_ones(node, axes, stored)
    return None


def _with_ones(node: NodeProto, axes: list[int | None], stored: Mapping[str, TensorProto]) -> list[int | None] | None:
    """Return the axes after an Unsqueeze, or after a Squeeze of named axes."""
    given = attribute_of(node, "axes")
    if given is None and len(node.input) > 1 and node.input[1] in stored:
        value = small_value(stored[node.input[1]])
        given = None if value is None else value.ravel().tolist()
    if given is None:
        return None
    if node.op_type == "Squeeze":
        gone = {int(k) % len(axes) for k in given}
        return [axis for k, axis in enumerate(axes) if k not in gone]
    rank = len(axes) + len(given)
    new = {int(k) % rank for k in given}
    left = iter(axes)
    return [None if k in new else next(left, None) for k in range(rank)]
