"""Attention that a graph holds as single nodes, spelled out in plain operators so that its weights become a tensor.

So are sums with their normalisation or activation, which come with such nodes: rules for relevance tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, checker, helper, inliner, numpy_helper, shape_inference

from ..errors import CapabilityError
from .rebuild import rebuilt, skeleton
from .structure import (
    DEFAULT_DOMAINS,
    all_names,
    attribute_of,
    fresh_name,
    initializer_names,
    is_default,
    node_label,
    opset_of,
    used_names,
)
from .tensors import inferred_types

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TypeProto

MICROSOFT = "com.microsoft"
MASK_FILTER = -10000.0  # what a masked logit is lowered by, where the node does not say
SKIP_EPSILON = 1e-12  # of com.microsoft's normalisations, where the node does not say
_NORMS = {
    "SkipLayerNormalization": "LayerNormalization",
    "SkipSimplifiedLayerNormalization": "SimplifiedLayerNormalization",
}
_BIASED = {"BiasGelu": "Gelu", "FastGelu": "FastGelu"}  # activations that add a bias first, and those that do not
_CLOSED = frozenset({
    "DecoderAttention", "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "GroupQueryAttention",
    "LongformerAttention", "MultiScaleDeformableAttention", "PackedAttention", "PackedMultiHeadAttention",
    "PagedAttention", "QAttention", "QOrderedAttention", "SparseAttention",
})  # fmt: skip


@dataclass(frozen=True)
class Exposed:
    """A graph in which attention is spelled out, and labels of the nodes for which that could not be done, and why."""

    proto: ModelProto
    closed: tuple[str, ...] = ()


def exposed(proto: ModelProto) -> Exposed:
    """Return the graph with Attention of ONNX, and Attention and MultiHeadAttention of com.microsoft, spelled out.

    A residual sum with its normalisation (SkipLayerNormalization) becomes two nodes, and so does BiasGelu.

    Names of tensors stay; a graph that holds none of them is returned as it is. Nothing is run here: whoever uses the
    result compares it with the original.
    """
    inlined = _with_standard_ones_inlined(proto)
    taken = all_names(inlined)
    types = inferred_types(inlined) if any(n.domain == MICROSOFT for n in inlined.graph.node) else {}
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    closed = [
        f"{node_label(node)}: ONNX does not spell it out for these types"
        for node in inlined.graph.node
        if is_default(node, "Attention")
    ]
    changed = inlined is not proto
    for node in inlined.graph.node:
        spelling = _Spelling(inlined, node, types, taken)
        try:
            done = spelling.write()
        except CapabilityError as error:
            closed.append(f"{node_label(node)}: {error.message}")
            done = False
        nodes.extend(spelling.nodes if done else [node])
        constants.extend(spelling.constants if done else [])
        changed = changed or done
    if not changed:
        return Exposed(proto, tuple(closed))
    return Exposed(rebuilt(inlined, nodes=nodes, initializers=[*inlined.graph.initializer, *constants]), tuple(closed))


def _with_standard_ones_inlined(proto: ModelProto) -> ModelProto:
    """Return the graph with ONNX's Attention replaced by the function that defines it, where that can be had."""
    if not any(is_default(node, "Attention") for node in proto.graph.node):
        return proto
    try:
        typed = shape_inference.infer_shapes(skeleton(proto))
        stored = {t.name: t for t in proto.graph.initializer}
        wanted = {name for node in proto.graph.node if is_default(node, "Attention") for name in node.input}
        typed.graph.value_info.extend(  # the inliner does not look for the types of stored masks
            helper.make_tensor_value_info(name, stored[name].data_type, stored[name].dims)
            for name in sorted(wanted & stored.keys())
        )
        inlined = inliner.inline_selected_functions(typed, [("", "Attention")], inline_schema_functions=True)
    except (checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError):
        return proto
    kept = {name: node for node in proto.graph.node if not is_default(node, "Attention") for name in node.output}
    nodes, met = [], set[int]()
    for node in inlined.graph.node:
        original = next((kept[o] for o in node.output if o in kept), None)
        if original is None:
            nodes.append(node)
        elif id(original) not in met:
            met.add(id(original))
            nodes.append(original)
    known = initializer_names(proto.graph)
    added = [tensor for tensor in inlined.graph.initializer if tensor.name not in known]
    return rebuilt(proto, nodes=nodes, initializers=[*proto.graph.initializer, *added])


@dataclass
class _Spelling:
    """One node of com.microsoft, written in plain operators."""

    proto: ModelProto
    node: NodeProto
    types: dict[str, TypeProto]
    taken: set[str]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def write(self) -> bool:
        """Write the node; False where it is no attention. Raises ``CapabilityError`` for forms that are not known."""
        if self.node.domain in DEFAULT_DOMAINS:
            return False
        if self.node.op_type in _CLOSED:
            raise CapabilityError("its weights cannot be had")
        if self.node.domain == MICROSOFT and self.node.op_type in {*_NORMS, *_BIASED}:
            return self._skip_and_normalise() if self.node.op_type in _NORMS else self._add_and_activate()
        if self.node.domain != MICROSOFT or self.node.op_type not in {"Attention", "MultiHeadAttention"}:
            return False
        if any(name and self._is_used(name) for name in self.node.output[1:]):
            raise CapabilityError("its cache of keys and values is asked for")
        for name in ("do_rotary", "past_present_share_buffer"):
            if attribute_of(self.node, name, 0):
                raise CapabilityError(f"it has {name}")
        packed = self.node.op_type == "Attention"
        if any(self.node.input[4:5] if packed else self.node.input[6:8]):
            raise CapabilityError("it has a cache of keys and values")
        if any(self.node.input[6:] if packed else self.node.input[8:]):
            raise CapabilityError("it has inputs that are not known")
        q, k, v = self._projected() if packed else self._given()
        mask, bias = (self._input(3), self._input(5)) if packed else (self._input(4), self._input(5))
        self._attend(q, k, v, mask, bias)
        return True

    def _skip_and_normalise(self) -> bool:
        """Write a residual sum and its normalisation; False where its statistics are asked for.

        ONNX Runtime knows these normalisations under the name of ONNX from the first operator set on.
        """
        centred = self.node.op_type == "SkipLayerNormalization"
        bias = self._input(4) if centred else self._input(3)
        used = [name for name in self.node.output[1:3] if name and self._is_used(name)]
        if used:
            return False
        total = self._add("Add", self.node.input[0], self.node.input[1])
        total = self._add("Add", total, bias) if bias else total
        epsilon = float(attribute_of(self.node, "epsilon", SKIP_EPSILON))
        weights = [self.node.input[2], *([self._input(3)] if centred and self._input(3) else [])]
        self.nodes.append(
            helper.make_node(
                _NORMS[self.node.op_type], [total, *weights], [self.node.output[0]], axis=-1, epsilon=epsilon
            )
        )
        if len(self.node.output) > 3 and self.node.output[3]:
            self.nodes.append(helper.make_node("Identity", [total], [self.node.output[3]]))
        return True

    def _add_and_activate(self) -> bool:
        """Write a sum with a bias and its activation; False where there is no bias."""
        if not self._input(1):
            return False
        total = self._add("Add", self.node.input[0], self.node.input[1])
        kind = _BIASED[self.node.op_type]
        self.nodes.append(helper.make_node(kind, [total], [self.node.output[0]], domain=MICROSOFT))
        return True

    def _projected(self) -> list[str]:
        """Project the input to Q, K and V (B, S, N D)."""
        weight = next((t for t in self.proto.graph.initializer if t.name == self.node.input[1]), None)
        sizes = [int(n) for n in attribute_of(self.node, "qkv_hidden_sizes") or ()]
        if not sizes:
            if weight is None or len(weight.dims) != 2:
                raise CapabilityError("its weights are not stored in the file")
            sizes = [int(weight.dims[1]) // 3] * 3
        x = self._add("MatMul", self.node.input[0], self.node.input[1])
        x = self._add("Add", x, self.node.input[2]) if self._input(2) else x
        return self._cut(x, sizes, 2)

    def _given(self) -> list[str]:
        """Return Q, K and V, (B, S, N D) or (B, N, S, D), with their biases."""
        ranks = [self._rank(name) for name in self.node.input[:3]]
        if len(ranks) < 3 or not all(self.node.input[:3]) or ranks[0] not in {None, 3} or 5 in ranks:
            raise CapabilityError("its queries, keys and values come packed")
        names = list(self.node.input[:3])
        if not self._input(3):
            return names
        bias = next((t for t in self.proto.graph.initializer if t.name == self.node.input[3]), None)
        shapes = [self._width(name) for name in names]
        if bias is None or any(shape is None for shape in shapes):
            raise CapabilityError("the widths of its biases are not known")
        parts = self._cut(self.node.input[3], [int(s or 0) for s in shapes], 0)
        return [
            name if self._rank(name) == 4 else self._add("Add", name, part)
            for name, part in zip(names, parts, strict=True)
        ]

    def _attend(self, q: str, k: str, v: str, mask: str, bias: str) -> None:
        heads = int(attribute_of(self.node, "num_heads", 1))
        q, k, v = (self._in_heads(name, heads) for name in (q, k, v))
        turned = self._add("Transpose", k, perm=[0, 1, 3, 2])
        scale = float(attribute_of(self.node, "scale", 0.0) or 0.0)
        if scale:
            logits = self._add("Mul", self._add("MatMul", q, turned), self._number(scale))
        else:
            size = self._add("Cast", self._length(q, 3), to=self._kind)
            logits = self._add("Div", self._add("MatMul", q, turned), self._add("Sqrt", size))
        if bias:
            logits = self._add("Add", logits, bias)
        if mask:
            logits = self._add("Add", logits, self._additive(mask, k))
        if attribute_of(self.node, "unidirectional", 0):
            later = self._add("Greater", self._range(k), self._add("Reshape", self._range(q), self._whole([-1, 1])))
            lowest = self._number(float(np.finfo(helper.tensor_dtype_to_np_dtype(self._kind)).min))
            logits = self._add("Where", later, lowest, logits)
        mixed = self._add("MatMul", self._add("Softmax", logits, axis=-1), v)
        merged = self._add("Transpose", mixed, perm=[0, 2, 1, 3])
        shape = self._whole([0, 0, -1])
        self.nodes.append(helper.make_node("Reshape", [merged, shape], [self.node.output[0]]))

    def _additive(self, mask: str, k: str) -> str:
        """Return what a mask of lengths (B,), of keys (B, T) or of pairs (B, S, T) adds to the logits."""
        rank = self._rank(mask)
        if rank == 1:
            lengths = self._add("Reshape", self._add("Cast", mask, to=TensorProto.INT64), self._whole([-1, 1, 1, 1]))
            hidden = self._add("Not", self._add("Less", self._range(k), lengths))
        elif rank in {2, 3}:
            hidden = self._add("Not", self._add("Cast", mask, to=TensorProto.BOOL))
            if rank == 2:
                hidden = self._add("Reshape", hidden, self._whole([0, 1, 1, -1]))
            elif opset_of(self.proto) < 13:
                hidden = self._add("Unsqueeze", hidden, axes=[1])
            else:
                hidden = self._add("Unsqueeze", hidden, self._whole([1]))
        else:
            raise CapabilityError(f"its mask has {rank if rank is not None else 'an unknown number of'} axes")
        fill = float(attribute_of(self.node, "mask_filter_value", MASK_FILTER))
        return self._add("Mul", self._add("Cast", hidden, to=self._kind), self._number(fill))

    def _in_heads(self, name: str, heads: int) -> str:
        if self._rank(name) == 4:
            return name
        return self._add("Transpose", self._add("Reshape", name, self._whole([0, 0, heads, -1])), perm=[0, 2, 1, 3])

    def _cut(self, name: str, sizes: list[int], axis: int) -> list[str]:
        ends = np.cumsum(sizes).tolist()
        return [
            self._add("Slice", name, self._whole([end - size]), self._whole([end]), self._whole([axis]))
            for size, end in zip(sizes, ends, strict=True)
        ]

    def _length(self, name: str, axis: int) -> str:
        """Return the length (1,) of an axis."""
        shape = self._add("Shape", name)
        return self._add("Slice", shape, self._whole([axis]), self._whole([axis + 1]))

    def _range(self, name: str) -> str:
        """Return the numbers of the tokens in (B, N, S, D)."""
        length = self._add("Reshape", self._length(name, 2), self._whole([]))
        return self._add("Range", self._scalar(0), length, self._scalar(1))

    @property
    def _kind(self) -> int:
        known = self.types.get(self.node.input[0])
        return int(known.tensor_type.elem_type) if known is not None else int(TensorProto.FLOAT)

    def _input(self, place: int) -> str:
        return self.node.input[place] if place < len(self.node.input) else ""

    def _rank(self, name: str) -> int | None:
        known = self.types.get(name)
        if known is None or not known.HasField("tensor_type") or not known.tensor_type.HasField("shape"):
            return None
        return len(known.tensor_type.shape.dim)

    def _width(self, name: str) -> int | None:
        """Return the length of the last axis, of keys in heads that of all heads together."""
        known = self.types.get(name)
        if known is None or not known.tensor_type.shape.dim:
            return self._columns(name)
        size = int(known.tensor_type.shape.dim[-1].dim_value)
        heads = int(attribute_of(self.node, "num_heads", 1)) if self._rank(name) == 4 else 1
        return size * heads or None

    def _columns(self, name: str) -> int | None:
        """Return how many columns the stored matrix has that a tensor is a product with."""
        read = next((n.input[1:2] for n in self.proto.graph.node if name in n.output and n.op_type == "MatMul"), ())
        return next((int(t.dims[-1]) for t in self.proto.graph.initializer if t.name in read and t.dims), None)

    def _is_used(self, name: str) -> bool:
        return any(name == value.name for value in self.proto.graph.output) or any(
            name in used_names(node) for node in self.proto.graph.node
        )

    def _add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of what it makes."""
        name = fresh_name(f"{self.node.output[0]}/{op_type}", self.taken)
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def _number(self, value: float) -> str:
        return self._stored(np.array(value, helper.tensor_dtype_to_np_dtype(self._kind)))

    def _scalar(self, value: int) -> str:
        return self._stored(np.array(value, np.int64))

    def _whole(self, values: list[int]) -> str:
        return self._stored(np.array(values, np.int64))

    def _stored(self, array: np.ndarray) -> str:
        name = fresh_name(f"{self.node.output[0]}/constant", self.taken)
        self.constants.append(numpy_helper.from_array(array, name))
        return name
