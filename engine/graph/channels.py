"""The channels of a graph's hidden layers, and the graph in which they can be taken away one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .rebuild import copy_of, read_in, rebuilt
from .structure import (
    all_names,
    attribute_of,
    constants,
    fresh_name,
    is_default,
    output_names,
    used_names,
)
from .tensors import inferred_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx import ModelProto, NodeProto

# What belongs to the layer that it alone reads: a bias or a factor for each channel, normalisation, an activation.
_WITH_CONSTANT = ("Add", "Sub", "Mul", "Div")
# fmt: off
_ACTIVATIONS = (
    "Abs", "Celu", "Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu",
    "Selu", "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu",
)
# fmt: on
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Channels:
    """The channels that a convolution or dense layer makes.

    ``layer`` names the node, ``made`` is what it makes. ``tensor`` is where its channels end: behind the bias,
    normalisation and activation that alone read them; they lie on the ``axis`` there, counted from the last one.
    ``weight`` is the stored tensor of the weights, with a slice per channel on ``weight_axis``.
    """

    layer: str
    made: str
    tensor: str
    axis: int
    count: int
    weight: str
    weight_axis: int
    groups: int = 1

    @property
    def names(self) -> tuple[str, str, str]:
        """What a pattern may match."""
        return self.layer, self.made, self.tensor

    def norms(self, weights: np.ndarray) -> np.ndarray:
        """Return the Euclidean length (count,) of the weights of each channel."""
        wide = weights.astype(np.float64)
        if self.groups > 1 and self.weight_axis == 1:  # ConvTranspose: (groups x in, out, ...)
            parts = np.stack(np.split(wide, self.groups))
            wide = np.moveaxis(parts, 2, 1).reshape(self.count, -1)
        else:
            wide = np.moveaxis(wide, self.weight_axis, 0).reshape(self.count, -1)
        lengths: np.ndarray = np.sqrt((wide**2).sum(axis=1))
        return lengths


def hidden_channels(proto: ModelProto, target: str) -> tuple[Channels, ...]:
    """Return the layers before a tensor that another layer stands behind, in graph order.

    Layers are convolutions, and products with stored weights (Gemm, MatMul) whose channels are the last axis.
    """
    graph = proto.graph
    stored = constants(graph.node, graph)
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in used_names(node):
            readers.setdefault(name, []).append(node)
    found = {node.output[0]: layer for node in graph.node if (layer := _layer(node, stored)) is not None}
    needed = _needed(graph.node, target)
    followed = _followed(graph.node, set(found), needed)
    outputs = set(output_names(proto))
    return tuple(
        _ended(layer, readers, stored, outputs) for name, layer in found.items() if name in needed and name in followed
    )


def gated(
    proto: ModelProto, layers: Sequence[Channels], folder: Path | None = None, batches: Sequence[int] = ()
) -> tuple[ModelProto, str, int]:
    """Return a graph with another input: a number per channel of the layers, one layer after the other.

    Where a layer's channels end they are multiplied with these numbers, so 1 keeps a channel and 0 takes it away.
    Returns the graph, the input's name and its length, which is that of no batch in ``batches``: it may have an element
    more, which nothing reads. Weights that lie in files of ``folder`` are read, so that the result stands by itself.
    """
    taken, types = all_names(proto), inferred_types(proto)
    name, total = fresh_name("kept", taken), sum(layer.count for layer in layers)
    length = next(n for n in range(total, total + len(batches) + 1) if n not in batches)
    after: dict[str, list[NodeProto]] = {}
    renamed: dict[str, str] = {}
    numbers, start = [], 0
    for layer in layers:
        places = np.arange(start, start + layer.count).reshape(-1, *[1] * (-layer.axis - 1))
        start += layer.count
        whole, which, gate = (fresh_name(f"{layer.tensor}_{n}", taken) for n in ("whole", "channels", "gate"))
        numbers.append(numpy_helper.from_array(places.astype(np.int64), which))
        nodes = [helper.make_node("Gather", [name, which], [gate])]
        kind = types[layer.tensor].tensor_type.elem_type if layer.tensor in types else TensorProto.FLOAT
        if kind in FLOATS[1:]:
            nodes.append(helper.make_node("Cast", [gate], [gate := fresh_name(f"{gate}_cast", taken)], to=kind))
        after[whole] = [*nodes, helper.make_node("Mul", [whole, gate], [layer.tensor])]
        renamed[layer.tensor] = whole
    nodes = []
    for node in proto.graph.node:
        changed = _renamed(node, renamed)
        nodes += [changed, *(more for made in changed.output for more in after.get(made, ()))]
    given = helper.make_tensor_value_info(name, TensorProto.FLOAT, [length])
    model = rebuilt(proto, nodes=nodes, inputs=[*proto.graph.input, given])
    model.graph.initializer.extend(numbers)
    return read_in(model, folder), name, length


def _layer(node: NodeProto, stored: Mapping[str, TensorProto]) -> Channels | None:
    """Return the channels of a node, None if it is no layer."""
    weight = stored.get(node.input[1]) if len(node.input) > 1 else None
    if weight is None or weight.data_type not in FLOATS:
        return None
    dims, made = list(weight.dims), node.output[0]
    layer = node.name or made
    if node.op_type in {"Conv", "FusedConv"} and len(dims) > 2:
        return Channels(layer, made, made, 1 - len(dims), dims[0], node.input[1], 0)
    if is_default(node, "ConvTranspose") and len(dims) > 2:
        groups = int(attribute_of(node, "group", 1))
        return Channels(layer, made, made, 1 - len(dims), dims[1] * groups, node.input[1], 1, groups)
    if is_default(node, "Gemm") and len(dims) == 2:
        axis = 0 if attribute_of(node, "transB", 0) else 1
        return Channels(layer, made, made, -1, dims[axis], node.input[1], axis)
    if is_default(node, "MatMul") and len(dims) == 2:
        return Channels(layer, made, made, -1, dims[1], node.input[1], 1)
    return None


def _needed(nodes: Sequence[NodeProto], target: str) -> set[str]:
    """Return the tensors that the target depends on."""
    wanted = {target}
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted |= used_names(node)
    return wanted


def _followed(nodes: Sequence[NodeProto], layers: set[str], needed: set[str]) -> set[str]:
    """Return the tensors that a layer depends on which the target needs."""
    followed: set[str] = set()
    for node in reversed(nodes):
        made = set(node.output)
        if made & followed or (made & layers and made & needed):
            followed |= used_names(node)
    return followed


def _ended(
    layer: Channels, readers: Mapping[str, list[NodeProto]], stored: Mapping[str, TensorProto], outputs: set[str]
) -> Channels:
    """Follow what belongs to the layer alone, to where its channels end."""
    tensor = layer.tensor
    while tensor not in outputs and len(readers.get(tensor, ())) == 1:
        (node,) = readers[tensor]
        is_end = is_default(node, *_ACTIVATIONS) and node.input[0] == tensor
        if not is_end and not _by_channel(node, tensor, layer, stored):
            break
        tensor = node.output[0]
        if is_end:
            break
    return Channels(**{**vars(layer), "tensor": tensor})


def _by_channel(node: NodeProto, tensor: str, layer: Channels, stored: Mapping[str, TensorProto]) -> bool:
    """Say whether a node normalises, shifts or scales each channel by itself."""
    if is_default(node, "BatchNormalization"):
        return node.input[0] == tensor and layer.axis < -1
    if not is_default(node, *_WITH_CONSTANT) or list(node.input).count(tensor) != 1:
        return False
    if node.op_type == "Div" and node.input[0] != tensor:
        return False
    other = stored.get(next(name for name in node.input if name != tensor))
    if other is None:
        return False
    dims = list(other.dims)
    return math.prod(dims) == 1 or (len(dims) >= -layer.axis and dims[layer.axis] == layer.count == math.prod(dims))


def _renamed(node: NodeProto, renamed: Mapping[str, str]) -> NodeProto:
    """Return the node with other names for what it makes."""
    if not any(name in renamed for name in node.output):
        return node
    fresh = copy_of(node)
    for place, name in enumerate(node.output):
        fresh.output[place] = renamed.get(name, name)
    return fresh
