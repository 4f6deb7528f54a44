"""What flows from the inputs to a target: which tensors, which axis of each holds channels, and where all must pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..graph.structure import attribute_of, producers, used_names

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

# fmt: off
_CHANNELS_FIRST = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "DepthToSpace",
    "FusedConv", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "LpPool",
    "MaxPool", "QLinearAveragePool", "QLinearConv", "SpaceToDepth",
})
_CHANNELS_LAST = frozenset({
    "Attention", "EmbedLayerNormalization", "FusedMatMul", "Gemm", "MatMul", "MatMulNBits", "MultiHeadAttention",
    "QAttention", "QLinearMatMul", "RMSNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization",
})
_AXES_KEPT = frozenset({
    "Abs", "Add", "BiasGelu", "Cast", "Ceil", "Celu", "Clip", "Concat", "DequantizeLinear", "Div", "Dropout", "Elu",
    "Erf", "Exp", "FastGelu", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LayerNormalization",
    "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow", "QLinearAdd", "QLinearMul",
    "QuantizeLinear", "QuickGelu", "Reciprocal", "Relu", "Resize", "Selu", "Sigmoid", "Slice", "Softmax", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Upsample", "Where",
})
# fmt: on
_SHAPES_ONLY = frozenset({"ConstantOfShape", "RandomNormalLike", "RandomUniformLike", "Shape", "Size"})
_MIXERS = frozenset({"Attention", "MultiHeadAttention", "QAttention"})


@dataclass(frozen=True)
class Flow:
    """The nodes that carry numbers from the inputs of a graph to one tensor, in graph order."""

    proto: ModelProto
    target: str

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Names of the graph's inputs."""
        return frozenset(value.name for value in self.proto.graph.input)

    @cached_property
    def live(self) -> frozenset[str]:
        """Tensors whose numbers depend on those of an input; what only knows its shape does not."""
        found = set(self.inputs)
        for node in self.proto.graph.node:
            if node.op_type not in _SHAPES_ONLY and not found.isdisjoint(used_names(node)):
                found.update(name for name in node.output if name)
        return frozenset(found)

    @cached_property
    def nodes(self) -> tuple[NodeProto, ...]:
        """The nodes on a way from an input to the target."""
        wanted = {self.target}
        kept: list[NodeProto] = []
        for node in reversed(self.proto.graph.node):
            if node.op_type not in _SHAPES_ONLY and any(o in wanted and o in self.live for o in node.output):
                kept.append(node)
                wanted |= used_names(node) & self.live
        return tuple(reversed(kept))

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that the target is made from, in graph order; neither inputs nor the target itself."""
        used = {name for node in self.nodes for name in used_names(node)}
        return tuple(name for node in self.nodes for name in node.output if name in used and name != self.target)

    def reaches(self, tensor: str) -> bool:
        """Say whether the target depends on a tensor."""
        return tensor == self.target or any(tensor in used_names(node) for node in self.nodes)

    @cached_property
    def bottlenecks(self) -> tuple[str, ...]:
        """Tensors that all ways from the inputs to the target pass through, as far as the order of nodes shows."""
        last_use = {name: place for place, node in enumerate(self.nodes) for name in used_names(node) & self.live}
        waiting = {name for name in self.inputs if name in last_use}
        found: list[str] = []
        for place, node in enumerate(self.nodes):
            waiting |= {name for name in node.output if name == self.target or name in last_use}
            waiting = {name for name in waiting if name == self.target or last_use[name] > place}
            if len(waiting) == 1:
                found.extend(waiting)
        return tuple(dict.fromkeys(found))

    @cached_property
    def before_mixing(self) -> frozenset[str]:
        """Tensors that the last node which mixes positions (attention, a product of two activations) is made from."""
        mixers = [n for n in self.nodes if n.op_type in _MIXERS or self._is_product_of_two(n)]
        if not mixers:
            return frozenset()
        part = Flow(self.proto, mixers[-1].output[0])
        return frozenset(part.tensors)

    def channel_axis(self, tensor: str) -> int | str | None:
        """Return which axis holds channels, told by the operators that the tensor was made by; -1 is the last.

        The name of an input, where its axes are those of the input; None where a Reshape or the like hides it.
        """
        return self._channel_axes.get(tensor)

    @cached_property
    def _channel_axes(self) -> dict[str, int | str]:
        found: dict[str, int | str] = {name: name for name in self.inputs}
        for node in self.proto.graph.node:
            axis = self._axis_made(node, [found[i] for i in node.input if i in found and i in self.live])
            if axis is not None:
                found.update((name, axis) for name in node.output[:1] if name in self.live)
        return found

    def _axis_made(self, node: NodeProto, given: list[int | str]) -> int | str | None:
        """Return the channel axis of what a node makes, from those of what it takes."""
        if node.op_type in _CHANNELS_FIRST:
            return 1
        if node.op_type in _CHANNELS_LAST or self._looks_up_rows(node):
            return None if self._is_product_of_two(node) else -1
        told = next((axis for axis in given if isinstance(axis, int)), None)
        if node.op_type == "Transpose" and told is not None:
            perm = list(attribute_of(node, "perm") or ())
            return perm.index(told % len(perm)) if perm else None
        if node.op_type == "LayerNormalization" and told is None:
            return -1 if attribute_of(node, "axis", -1) == -1 else None
        if node.op_type in _AXES_KEPT:
            return next(iter(given), None) if told is None else told
        return None

    def input_channel_axis(self, name: str, rank: int) -> int | None:
        """Return the axis of an input's channels, where a convolution reads it, as it is or transposed."""
        for node in self.nodes:
            if node.op_type not in {"Conv", "FusedConv", "QLinearConv", "ConvInteger"}:
                continue
            source, axis = node.input[0], 1
            while source != name:
                maker = self._made_by.get(source)
                if maker is None or maker.op_type not in {"Transpose", *_AXES_KEPT}:
                    break
                if maker.op_type == "Transpose":
                    axis = list(attribute_of(maker, "perm") or reversed(range(rank)))[axis]
                source = next((i for i in maker.input if i in self.live), "")
            else:
                return axis
        return None

    @cached_property
    def _made_by(self) -> dict[str, NodeProto]:
        return producers(self.proto.graph.node)

    @cached_property
    def _matrices(self) -> frozenset[str]:
        """Names of stored matrices."""
        return frozenset(tensor.name for tensor in self.proto.graph.initializer if len(tensor.dims) == 2)

    def _looks_up_rows(self, node: NodeProto) -> bool:
        """Say whether a node takes rows of a stored matrix, as embeddings do."""
        return node.op_type == "Gather" and node.input[0] in self._matrices and not attribute_of(node, "axis", 0)

    def _is_product_of_two(self, node: NodeProto) -> bool:
        return node.op_type in {"MatMul", "FusedMatMul", "Einsum"} and sum(i in self.live for i in node.input) > 1
