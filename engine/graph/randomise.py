"""Models that have forgotten what they learned: the weights of some layers drawn anew, or shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from .raw_scores import is_added
from .rebuild import copy_of, rebuilt
from .structure import constants, is_default, producers

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from onnx import ModelProto

How = Literal["normal", "permute"]

# Operators that learn, and which of their inputs hold what they learned; -1: all that are stored.
_LEARNED = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (1,),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3,),
    "Einsum": (0, 1),
    "Gather": (0,),
    "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
}
_MICROSOFT = {"FusedConv": (1, 2), "FusedMatMul": (0, 1), "FusedGemm": (0, 1, 2), "Attention": (1, 2)}
# Attributes of ai.onnx.ml that hold what was learned.
_ATTRIBUTES = ("coefficients", "class_weights", "target_weights", "leaf_weights", "intercepts")
_THROUGH = ("DequantizeLinear", "Identity", "Cast", "Transpose", "Reshape")  # between a stored weight and its use
SMALLEST = 2  # numbers; a single one is a scale or an exponent


@dataclass(frozen=True)
class Layer:
    """A node with weights: its place among the nodes, what to call it, and the stored tensors that it learned."""

    place: int
    name: str
    tensors: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


def layers(proto: ModelProto) -> tuple[Layer, ...]:
    """Return the layers of the main graph that hold weights, from the input to the output.

    A weight that several nodes share belongs to the first. A constant that is added after a product is its bias.
    """
    stored = constants(proto.graph.node, proto.graph)
    made_by = producers(proto.graph.node)
    taken: set[str] = set()
    owners: dict[str, int] = {}  # the output of a layer -> its place in ``found``
    found: list[Layer] = []
    for place, node in enumerate(proto.graph.node):
        weights = [w for w in (_weight(name, made_by, stored) for name in _learned(node)) if w and w not in taken]
        attributes = tuple(a.name for a in node.attribute if a.name in _ATTRIBUTES and _holds_many(a))
        if (weights or attributes) and not is_added(node):
            owners[node.output[0]] = len(found)
            found.append(Layer(place, node.name or node.output[0], tuple(dict.fromkeys(weights)), attributes))
            taken.update(weights)
        elif is_default(node, "Add"):
            _take_bias(node, owners, found, taken, stored)
    return tuple(found)


def randomised(
    proto: ModelProto, chosen: Collection[Layer], seed: int, how: How = "normal", folder: Path | None = None
) -> ModelProto:
    """Return the model with the weights of the chosen layers drawn anew.

    ``normal`` draws floating-point weights from a normal distribution with the mean and deviation of the tensor, and
    shuffles whole numbers and what trees hold; ``permute`` shuffles all. A layer's draws depend on the seed and on its
    place alone, so that cascades go on from each other. Weights that lie in files of ``folder`` are read, so that the
    result stands by itself.
    """
    wanted = {name: layer for layer in chosen for name in layer.tensors}
    places = {layer.place: layer for layer in chosen if layer.attributes}

    def fresh(tensor: TensorProto) -> TensorProto:
        loaded = _loaded(tensor, folder)
        layer = wanted.get(tensor.name)
        return loaded if layer is None else _redrawn(loaded, seed, layer, layer.tensors.index(tensor.name), how)

    nodes: list[NodeProto] = []
    for place, node in enumerate(proto.graph.node):
        layer = wanted.get(node.output[0]) if is_default(node, "Constant") and node.output else None
        if layer is not None:
            nodes.append(_with_value(node, seed, layer, how))
        elif place in places:
            nodes.append(_with_attributes(node, seed, places[place]))
        else:
            nodes.append(node)
    return rebuilt(proto, nodes=nodes, initializers=[fresh(t) for t in proto.graph.initializer])


def _learned(node: NodeProto) -> list[str]:
    known = _MICROSOFT.get(node.op_type, ()) if node.domain == "com.microsoft" else _LEARNED.get(node.op_type, ())
    if node.domain not in {"", "ai.onnx", "com.microsoft"}:
        return []
    return [node.input[k] for k in known if k < len(node.input) and node.input[k]]


def _weight(name: str, made_by: dict[str, NodeProto], stored: dict[str, TensorProto]) -> str:
    """Return the stored tensor that an input comes from, empty if there is none that can be drawn anew."""
    for _ in range(len(_THROUGH)):
        if name in stored:
            break
        node = made_by.get(name)
        if node is None or not is_default(node, *_THROUGH):
            return ""
        name = node.input[0]
    tensor = stored.get(name)
    if tensor is None or tensor.data_type == TensorProto.STRING or int(np.prod(tensor.dims)) < SMALLEST:
        return ""
    return name


def _take_bias(
    node: NodeProto, owners: dict[str, int], found: list[Layer], taken: set[str], stored: dict[str, TensorProto]
) -> None:
    """Give the constant of an Add behind a layer to that layer."""
    for one, other in (node.input, reversed(node.input)):
        bias = _weight(other, {}, stored)
        if one in owners and bias and bias not in taken:
            layer = found[owners[one]]
            found[owners[one]] = Layer(layer.place, layer.name, (*layer.tensors, bias), layer.attributes)
            taken.add(bias)
            return


def _holds_many(attribute: AttributeProto) -> bool:
    return len(attribute.floats) >= SMALLEST or (attribute.HasField("t") and int(np.prod(attribute.t.dims)) >= SMALLEST)


def _loaded(tensor: TensorProto, folder: Path | None) -> TensorProto:
    if tensor.data_location != TensorProto.EXTERNAL or folder is None:
        return tensor
    whole = copy_of(tensor)
    load_external_data_for_tensor(whole, str(folder))
    whole.data_location = TensorProto.DEFAULT
    del whole.external_data[:]
    return whole


def _redrawn(tensor: TensorProto, seed: int, layer: Layer, number: int, how: How) -> TensorProto:
    """Return a tensor of the same name, shape and type with other numbers."""
    rng = np.random.default_rng([seed, layer.place, number])
    old = numpy_helper.to_array(tensor)
    is_float = tensor.data_type in {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    if is_float and how == "normal":
        wide = old.astype(np.float64)
        new = rng.normal(wide.mean(), wide.std(), old.shape).astype(old.dtype)
    else:
        new = rng.permutation(old.ravel()).reshape(old.shape)
    if new.dtype.kind in "fiu":
        return numpy_helper.from_array(np.ascontiguousarray(new), tensor.name)
    return helper.make_tensor(tensor.name, tensor.data_type, list(tensor.dims), new.tobytes(), raw=True)


def _with_value(node: NodeProto, seed: int, layer: Layer, how: How) -> NodeProto:
    """Return a Constant with other numbers."""
    fresh = copy_of(node)
    for attribute in fresh.attribute:
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_redrawn(attribute.t, seed, layer, layer.tensors.index(node.output[0]), how))
    return fresh


def _with_attributes(node: NodeProto, seed: int, layer: Layer) -> NodeProto:
    """Return a node of ai.onnx.ml with what it learned shuffled."""
    fresh = copy_of(node)
    for number, attribute in enumerate(fresh.attribute):
        if attribute.name not in layer.attributes:
            continue
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_redrawn(attribute.t, seed, layer, number, "permute"))
            continue
        rng = np.random.default_rng([seed, layer.place, number])
        shuffled: Sequence[float] = rng.permutation(np.array(attribute.floats)).tolist()
        del attribute.floats[:]
        attribute.floats.extend(shuffled)
    return fresh
