"""Attention that a graph holds as single nodes, spelled out in plain operators so that its weights become a tensor.

So are sums with their normalisation or activation, which come with such nodes: rules for relevance tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, checker, helper, inliner, shape_inference

from ..errors import CapabilityError
from .grouped import write_grouped
from .rebuild import rebuilt, skeleton
from .spelling import Spelling
from .structure import DEFAULT_DOMAINS, all_names, attribute_of, initializer_names, is_default, node_label, opset_of
from .tensors import inferred_types

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MICROSOFT = "com.microsoft"
MASK_FILTER = -10000.0  # what a masked logit is lowered by, where the node does not say
SKIP_EPSILON = 1e-12  # of com.microsoft's normalisations, where the node does not say
_NORMS = {
    "SkipLayerNormalization": "LayerNormalization",
    "SkipSimplifiedLayerNormalization": "SimplifiedLayerNormalization",
}
_BIASED = {"BiasGelu": "Gelu", "FastGelu": "FastGelu"}  # activations that add a bias first, and those that do not
_CLOSED = frozenset({
    "DecoderAttention", "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "LongformerAttention",
    "MultiScaleDeformableAttention", "PackedAttention", "PackedMultiHeadAttention", "PagedAttention", "QAttention",
    "QOrderedAttention", "SparseAttention",
})  # fmt: skip


@dataclass(frozen=True)
class Exposed:
    """A graph in which attention is spelled out, and labels of the nodes for which that could not be done, and why."""

    proto: ModelProto
    closed: tuple[str, ...] = ()


def exposed(proto: ModelProto) -> Exposed:
    """Return the graph with Attention of ONNX, and those of com.microsoft that are not closed, spelled out.

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
        spelling = _Fused(inlined, node, types, taken)
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


class _Fused(Spelling):
    """One node of com.microsoft, written in plain operators."""

    def write(self) -> bool:
        """Write the node; False where it is no attention. Raises ``CapabilityError`` for forms that are not known."""
        if self.node.domain in DEFAULT_DOMAINS:
            return False
        if self.node.op_type in _CLOSED:
            raise CapabilityError("its weights cannot be had")
        ways = dict.fromkeys(_NORMS, self._skip_and_normalise) | dict.fromkeys(_BIASED, self._add_and_activate)
        ways |= {
            "Attention": self._attention,
            "MultiHeadAttention": self._attention,
            "GroupQueryAttention": self._grouped,
        }
        way = ways.get(self.node.op_type) if self.node.domain == MICROSOFT else None
        return way is not None and way()

    def _grouped(self) -> bool:
        write_grouped(self)
        return True

    def _attention(self) -> bool:
        """Write Attention or MultiHeadAttention."""
        if any(name and self.is_used(name) for name in self.node.output[1:]):
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
        mask, bias = (self.input(3), self.input(5)) if packed else (self.input(4), self.input(5))
        self._attend(q, k, v, mask, bias)
        return True

    def _skip_and_normalise(self) -> bool:
        """Write a residual sum and its normalisation; False where its statistics are asked for.

        ONNX Runtime knows these normalisations under the name of ONNX from the first operator set on.
        """
        centred = self.node.op_type == "SkipLayerNormalization"
        bias = self.input(4) if centred else self.input(3)
        used = [name for name in self.node.output[1:3] if name and self.is_used(name)]
        if used:
            return False
        total = self.add("Add", self.node.input[0], self.node.input[1])
        total = self.add("Add", total, bias) if bias else total
        epsilon = float(attribute_of(self.node, "epsilon", SKIP_EPSILON))
        weights = [self.node.input[2], *([self.input(3)] if centred and self.input(3) else [])]
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
        if not self.input(1):
            return False
        total = self.add("Add", self.node.input[0], self.node.input[1])
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
        x = self.add("MatMul", self.node.input[0], self.node.input[1])
        x = self.add("Add", x, self.node.input[2]) if self.input(2) else x
        return self.cut(x, sizes, 2)

    def _given(self) -> list[str]:
        """Return Q, K and V, (B, S, N D) or (B, N, S, D), with their biases."""
        ranks = [self.rank(name) for name in self.node.input[:3]]
        if len(ranks) < 3 or not all(self.node.input[:3]) or ranks[0] not in {None, 3} or 5 in ranks:
            raise CapabilityError("its queries, keys and values come packed")
        names = list(self.node.input[:3])
        if not self.input(3):
            return names
        bias = next((t for t in self.proto.graph.initializer if t.name == self.node.input[3]), None)
        shapes = [self.width(name) for name in names]
        if bias is None or any(shape is None for shape in shapes):
            raise CapabilityError("the widths of its biases are not known")
        parts = self.cut(self.node.input[3], [int(s or 0) for s in shapes], 0)
        return [
            name if self.rank(name) == 4 else self.add("Add", name, part)
            for name, part in zip(names, parts, strict=True)
        ]

    def _attend(self, q: str, k: str, v: str, mask: str, bias: str) -> None:
        heads = int(attribute_of(self.node, "num_heads", 1))
        q, k, v = (self.in_heads(name, heads) for name in (q, k, v))
        turned = self.add("Transpose", k, perm=[0, 1, 3, 2])
        scale = float(attribute_of(self.node, "scale", 0.0) or 0.0)
        if scale:
            logits = self.add("Mul", self.add("MatMul", q, turned), self.number(scale))
        else:
            size = self.add("Cast", self.length(q, 3), to=self.kind)
            logits = self.add("Div", self.add("MatMul", q, turned), self.add("Sqrt", size))
        if bias:
            logits = self.add("Add", logits, bias)
        if mask:
            logits = self.add("Add", logits, self._additive(mask, k))
        if attribute_of(self.node, "unidirectional", 0):
            later = self.add("Greater", self.range(k), self.add("Reshape", self.range(q), self.whole([-1, 1])))
            lowest = self.number(float(np.finfo(helper.tensor_dtype_to_np_dtype(self.kind)).min))
            logits = self.add("Where", later, lowest, logits)
        self.merged(self.add("MatMul", self.add("Softmax", logits, axis=-1), v))

    def _additive(self, mask: str, k: str) -> str:
        """Return what a mask of lengths (B,), of keys (B, T) or of pairs (B, S, T) adds to the logits."""
        rank = self.rank(mask)
        if rank == 1:
            lengths = self.add("Reshape", self.add("Cast", mask, to=TensorProto.INT64), self.whole([-1, 1, 1, 1]))
            hidden = self.add("Not", self.add("Less", self.range(k), lengths))
        elif rank in {2, 3}:
            hidden = self.add("Not", self.add("Cast", mask, to=TensorProto.BOOL))
            if rank == 2:
                hidden = self.add("Reshape", hidden, self.whole([0, 1, 1, -1]))
            elif opset_of(self.proto) < 13:
                hidden = self.add("Unsqueeze", hidden, axes=[1])
            else:
                hidden = self.add("Unsqueeze", hidden, self.whole([1]))
        else:
            raise CapabilityError(f"its mask has {rank if rank is not None else 'an unknown number of'} axes")
        fill = float(attribute_of(self.node, "mask_filter_value", MASK_FILTER))
        return self.add("Mul", self.add("Cast", hidden, to=self.kind), self.number(fill))
