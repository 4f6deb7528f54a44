"""How each operator that can hold an old batch is rewritten, and which operators mix rows; see ``batch``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .rebuild import copy_of
from .structure import attribute_of, is_default, opset_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onnx import NodeProto

    from .batch import Freeing

    Rule = Callable[[Freeing, NodeProto], NodeProto]

RATIO = 7  # the graph is followed with so many times the rows that it was exported with
# Inputs that must have equally many rows: a constant among them is repeated for each row.
_ALIGNED = {"Attention": (0, 1, 2), "GatherElements": (0, 1), "GridSample": (0, 1), "ScatterElements": (0, 1, 2)}
# Operators that work along the axis of this attribute (with its default), or along it and all axes after it.
_ALONG = {"Concat": 0, "Hardmax": -1, "LogSoftmax": -1, "LpNormalization": -1, "Softmax": -1, "Split": 0}
_ONWARDS = {"LayerNormalization": -1, "RMSNormalization": -1}
_ONWARDS_BEFORE_13 = {"Hardmax": 1, "LogSoftmax": 1, "Softmax": 1}
# Operators whose result for one row cannot be told apart from that for the others.
_MIXING = ("Compress", "MeanVarianceNormalization", "NonMaxSuppression", "NonZero", "ScatterND", "Unique")
_EXPAND_SINCE = 8


class Stuck(Exception):  # noqa: N818 - never leaves this package
    """The batch axis cannot be freed."""


def check_rows_apart(freeing: Freeing, node: NodeProto) -> None:
    """Raise ``Stuck`` for an operator that works along the batch axis: one row's result would depend on the others."""
    carrier = next((name for name in node.input if name and freeing.axis(name) is not None), None)
    if carrier is None or not is_default(node, node.op_type):
        return
    axis, rank = freeing.axis(carrier), len(freeing.before.shape(carrier) or ())
    onwards = dict(_ONWARDS)
    if opset_of(freeing.proto) < 13:
        onwards |= _ONWARDS_BEFORE_13
    mixed = node.op_type in _MIXING
    if node.op_type in onwards:
        mixed = axis is not None and axis >= attribute_of(node, "axis", onwards[node.op_type]) % rank
    elif node.op_type in _ALONG:
        mixed = axis == attribute_of(node, "axis", _ALONG[node.op_type]) % rank
    elif node.op_type == "CumSum":
        along = freeing.before.integers(node.input[1])
        mixed = bool(along) and along is not None and axis == along[0] % rank
    if mixed:
        raise Stuck


def landing(old: Sequence[int], axis: int, outer: int, new: Sequence[int], batch: int) -> tuple[int, int] | None:
    """Say where the batch lands when a tensor in row-major order changes its shape: the axis, and its new ``outer``.

    ``outer`` counts what precedes the rows within their axis. Where several axes are possible (lengths of 1), an axis
    that holds the batch alone is taken, then one that leaves all axes to its right as they were; the last axis holds
    features and is taken only if there is no other. None if there is no such axis.
    """
    ahead = math.prod(old[:axis]) * outer
    choices = []
    for place in range(len(new)):
        lead = math.prod(new[:place])
        if lead and ahead % lead == 0 and new[place] % (ahead // lead * batch) == 0:
            choices.append((place, ahead // lead))

    def rank(choice: tuple[int, int]) -> tuple[bool, ...]:
        place, inside = choice
        alone = inside == 1 and new[place] == batch
        same_tail = tuple(new[place + 1 :]) == tuple(old[axis + 1 :])
        return (alone and place == axis, alone, same_tail, inside == 1 and place < len(new) - 1, place < len(new) - 1)

    return max(choices, key=rank, default=None)


def _reshape(freeing: Freeing, node: NodeProto) -> NodeProto:
    if len(node.input) < 2:  # before opset 5 the shape is an attribute
        return node
    data, shape = node.input[:2]
    old, out, axis = freeing.before.shape(data), freeing.before.shape(node.output[0]), freeing.axis(data)
    target = freeing.before.integers(shape)
    if old is None:
        return _reshape_of_unknown(freeing, node)
    if axis is None or out is None:
        return node
    place = landing(old, axis, freeing.outer.get(data, 1), out, freeing.batch)
    if place is None:
        raise Stuck
    to, freeing.outer[node.output[0]] = place
    if _carries(freeing, node, out, to):
        return node
    if target is not None and shape in freeing.after.fixed:
        filled = [i for i, size in enumerate(target) if size == -1 and i != to]
        if not (filled and freeing.made_up):
            sizes = [out[i] if i in filled else size for i, size in enumerate(target)]
            sizes[to] = -1
            return _with_input(node, 1, freeing.integers(sizes))
    elif freeing.made_up and out[to] != freeing.batch:
        raise Stuck
    return _with_input(node, 1, freeing.with_rows(shape, len(out), to, out[to]))


def _reshape_of_unknown(freeing: Freeing, node: NodeProto) -> NodeProto:
    """Rewrite a first element that equals the old batch, the only thing to go by where the data's shape is unknown."""
    target = freeing.before.integers(node.input[1])
    if target is None or node.input[1] not in freeing.before.fixed or not target or target[0] != freeing.batch:
        return node
    if -1 in target and attribute_of(node, "allowzero", 0):
        return node
    return _with_input(node, 1, freeing.integers([0 if -1 in target else -1, *target[1:]]))


def _flatten(freeing: Freeing, node: NodeProto) -> NodeProto:
    old, axis = freeing.before.shape(node.input[0]), freeing.axis(node.input[0])
    if old is None or axis is None:
        return node
    if axis >= attribute_of(node, "axis", 1) % (len(old) + 1):
        raise Stuck
    freeing.outer[node.output[0]] = math.prod(old[:axis]) * freeing.outer.get(node.input[0], 1)
    return node


def _expand(freeing: Freeing, node: NodeProto) -> NodeProto:
    old, out = freeing.before.shape(node.input[0]), freeing.before.shape(node.output[0])
    axis = freeing.axis(node.input[0])
    if old is None or out is None or axis is None:
        return node
    to = axis + len(out) - len(old)
    target = freeing.before.integers(node.input[1])
    if _carries(freeing, node, out, to):
        return node
    if target is None:
        raise Stuck
    place = to - (len(out) - len(target))
    return _with_input(node, 1, freeing.with_rows(node.input[1], len(target), place, out[to]))


def _resize(freeing: Freeing, node: NodeProto) -> NodeProto:
    old, out = freeing.before.shape(node.input[0]), freeing.before.shape(node.output[0])
    axis = freeing.axis(node.input[0])
    if old is None or out is None or axis is None or len(node.input) < 4 or not node.input[3]:
        return node
    sized = [along % len(old) for along in attribute_of(node, "axes", range(len(old)))]
    if axis not in sized or _carries(freeing, node, out, axis):
        return node
    return _with_input(node, 3, freeing.with_rows(node.input[3], len(sized), sized.index(axis), out[axis]))


def _affine_grid(freeing: Freeing, node: NodeProto) -> NodeProto:
    out, axis = freeing.before.shape(node.output[0]), freeing.axis(node.input[0])
    sizes = freeing.before.integers(node.input[1])
    if out is None or axis is None or sizes is None or _carries(freeing, node, out, axis):
        return node
    return _with_input(node, 1, freeing.with_rows(node.input[1], len(sizes), 0, sizes[0]))


def _slice(freeing: Freeing, node: NodeProto) -> NodeProto:
    old, axis = freeing.before.shape(node.input[0]), freeing.axis(node.input[0])
    if old is None or axis is None or len(node.input) < 3:  # before opset 10 the ends are attributes
        return node
    starts, ends, axes, steps = (
        freeing.before.integers(node.input[i]) if i < len(node.input) else None for i in range(1, 5)
    )
    if not starts or not ends or len(starts) != len(ends):
        return node
    along = [a % len(old) for a in axes] if axes is not None else list(range(len(starts)))
    if axis not in along or len(along) != len(ends):
        return node
    place = along.index(axis)
    if starts[place] % old[axis] or ends[place] < old[axis] or (steps is not None and steps[place] != 1):
        raise Stuck
    freed = freeing.before.values[node.input[2]].copy()
    freed[place] = np.iinfo(freed.dtype).max
    return _with_input(node, 2, freeing.constant(freed, node.input[2]))


def _concat(freeing: Freeing, node: NodeProto) -> NodeProto:
    return _aligned(freeing, node, range(len(node.input)))


def _same_rows(freeing: Freeing, node: NodeProto) -> NodeProto:
    return _aligned(freeing, node, [i for i in _ALIGNED[node.op_type] if i < len(node.input)])


def _aligned(freeing: Freeing, node: NodeProto, inputs: Sequence[int]) -> NodeProto:
    """Repeat, for each row, the inputs that are the same for all rows."""
    axis = next((axis for i in inputs if (axis := freeing.axis(node.input[i])) is not None), None)
    if axis is None:
        return node
    for i in inputs:
        node = _with_input(node, i, _repeated(freeing, node.input[i], axis))
    return node


def _einsum(freeing: Freeing, node: NodeProto) -> NodeProto:
    """Repeat operands for each row along the letter that stands for the rows in another operand."""
    terms = (
        attribute_of(node, "equation", b"").decode("utf-8", errors="replace").replace(" ", "").split("->")[0].split(",")
    )
    if "." in "".join(terms) or len(terms) != len(node.input):
        return node
    carried = ((term, freeing.axis(name)) for term, name in zip(terms, node.input, strict=True))
    letter = next((term[axis] for term, axis in carried if axis is not None and axis < len(term)), None)
    for i, term in enumerate(terms):
        if letter is not None and letter in term:
            node = _with_input(node, i, _repeated(freeing, node.input[i], term.index(letter)))
    return node


def _recurrent(freeing: Freeing, node: NodeProto) -> NodeProto:
    axis = 1 if attribute_of(node, "layout", 0) == 0 else 0
    if freeing.axis(node.input[0]) is None:
        return node
    if freeing.axis(node.input[0]) != axis:  # the rows would be steps of one sequence
        raise Stuck
    for i, along in ((4, 0), (5, axis), (6, axis)):  # sequence_lens, initial_h, initial_c
        if i < len(node.input) and node.input[i]:
            node = _with_input(node, i, _repeated(freeing, node.input[i], along))
    return node


def _repeated(freeing: Freeing, name: str, axis: int) -> str:
    """Return the tensor with its single row along the axis repeated for every row of the input."""
    shape = freeing.before.shape(name)
    if shape is None or freeing.axis(name) is not None or axis >= len(shape):
        return name
    if freeing.batch != 1 or shape[axis] != 1 or opset_of(freeing.proto) < _EXPAND_SINCE:
        raise Stuck
    ones = [1] * len(shape)
    return freeing.emit("Expand", [name, freeing.shape_with_rows(ones, axis, name)], name)


def _carries(freeing: Freeing, node: NodeProto, out: Sequence[int], axis: int) -> bool:
    """Whether the node as it stands already gives ``out`` with the batch, and only it, freed at this axis."""
    kinds = freeing.after.infer(node)
    shape = kinds[node.output[0]].tensor_type.shape.dim if kinds and node.output[0] in kinds else []
    found = [dim.dim_value for dim in shape]
    return len(found) == len(out) and all(
        new == (old * RATIO if i == axis else old) for i, (old, new) in enumerate(zip(out, found, strict=True))
    )


def _with_input(node: NodeProto, index: int, name: str) -> NodeProto:
    if node.input[index] == name:
        return node
    changed = copy_of(node)
    changed.input[index] = name
    return changed


RULES: dict[str, Rule] = {
    "AffineGrid": _affine_grid,
    "Concat": _concat,
    "Einsum": _einsum,
    "Expand": _expand,
    "Flatten": _flatten,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    **dict.fromkeys(_ALIGNED, _same_rows),
}
