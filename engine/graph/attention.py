"""Attention found in a graph: which tensor holds the weights of each layer, and which tokens attend to which."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .roles import states
from .structure import attribute_of, producers, used_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import ModelProto, NodeProto

_PRODUCTS = {
    "Einsum": (0, 1),
    "FusedMatMul": (0, 1),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
}
_PASSING = frozenset({
    "Cast", "CastLike", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Identity", "QuantizeLinear", "Reshape",
    "Squeeze", "Unsqueeze",
})  # fmt: skip
_TO_LOGITS = _PASSING | frozenset({
    "Add", "Clip", "Concat", "Div", "Max", "Min", "Mul", "Neg", "Pad", "Slice", "Sub", "Sum", "Tanh", "Transpose",
    "Where",
})  # fmt: skip
_SHAPES_ONLY = frozenset({"ConstantOfShape", "RandomNormalLike", "RandomUniformLike", "Shape", "Size"})
_FIRST_ONLY = frozenset({
    "Clip", "Expand", "GRU", "LSTM", "Pad", "RNN", "Reshape", "Resize", "RotaryEmbedding", "Slice", "Split", "Squeeze",
    "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
})  # fmt: skip
_GATHERING = frozenset({"Gather", "GatherElements", "GatherND"})
_VERSION_OF_LAST_AXIS = 13  # from here on Softmax has the last axis where it says none, and one axis where it says one


@dataclass(frozen=True)
class Attention:
    """A layer of attention: ``output = weights value`` with ``weights = softmax(logits)``.

    All fields but the last two are names of tensors. ``weights`` (..., queries, keys) is what the values are multiplied
    with, behind masks, casts and dropout. ``query`` and ``key`` are the factors of the product that the logits are made
    from; empty where they come about otherwise, as in additive attention. ``query_inputs`` and ``key_inputs`` are the
    inputs of the graph that the tokens come from, followed back through everything that keeps tokens apart.
    """

    logits: str
    weights: str
    query: str
    key: str
    value: str
    output: str
    query_inputs: frozenset[str] = frozenset()
    key_inputs: frozenset[str] = frozenset()

    @property
    def is_self(self) -> bool:
        """Whether queries and keys are the same tokens, as far as the inputs tell that they come from."""
        return self.query_inputs == self.key_inputs


@dataclass(frozen=True)
class AttentionGraph:
    """The attention layers of a graph of plain operators (see ``expose.exposed``), in graph order.

    ``start`` may name a tensor that tokens are followed back to as if it were an input.
    """

    proto: ModelProto
    start: str = ""

    @cached_property
    def layers(self) -> tuple[Attention, ...]:
        """Every layer of the main graph; bodies of loops and branches are not looked into."""
        origins = self._origins
        found = []
        for layer in self._sites:
            keys = origins.get(layer.key or layer.value, frozenset())
            queries = origins.get(layer.query or layer.logits, frozenset())
            if not layer.query:
                queries = queries - keys or keys
            found.append(
                Attention(layer.logits, layer.weights, layer.query, layer.key, layer.value, layer.output, queries, keys)
            )
        return tuple(found)

    def leading_to(self, target: str) -> tuple[Attention, ...]:
        """Return the layers that a tensor depends on, but not those that ``start`` depends on."""
        needed = self.before(target)
        known = self.before(self.start) if self.start else frozenset()
        return tuple(layer for layer in self.layers if layer.output in needed and layer.output not in known)

    def read_by(self, target: str) -> tuple[Attention, ...]:
        """Return the last layers whose tokens a tensor is made from, other than as keys of a later layer.

        One for each kind of tokens: an encoder that only a decoder reads is not among them.
        """
        by_output = {layer.output: layer for layer in self.layers}
        pending, met, found = [target], set[str](), dict[str, Attention]()
        while pending:
            name = pending.pop()
            if name in met or name == self.start:
                continue
            met.add(name)
            layer = by_output.get(name)
            if layer is not None:
                found[name] = layer
                pending.extend([layer.query] if layer.query else [])
            elif name in self._made_by:
                pending.extend(n for n in used_names(self._made_by[name]) if n in self._live)
        last = {layer.query_inputs: layer for layer in self.layers if layer.output in found}
        return tuple(last.values())

    @cached_property
    def _made_by(self) -> dict[str, NodeProto]:
        return producers(self.proto.graph.node)

    @cached_property
    def _users(self) -> dict[str, list[NodeProto]]:
        found: dict[str, list[NodeProto]] = {}
        for node in self.proto.graph.node:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def _live(self) -> frozenset[str]:
        """Tensors whose numbers depend on those of an input."""
        found = {value.name for value in self.proto.graph.input}
        for node in self.proto.graph.node:
            if node.op_type not in _SHAPES_ONLY and not found.isdisjoint(used_names(node)):
                found.update(name for name in node.output if name)
        return frozenset(found)

    def before(self, target: str) -> frozenset[str]:
        """Return the tensors that one is made from, itself included."""
        wanted = {target}
        for node in reversed(self.proto.graph.node):
            if not wanted.isdisjoint(node.output) and node.op_type not in _SHAPES_ONLY:
                wanted |= used_names(node)
        return frozenset(wanted)

    @cached_property
    def _sites(self) -> tuple[Attention, ...]:
        found = (self._site(node) for node in self.proto.graph.node)
        return tuple({layer.output: layer for layer in found if layer is not None}.values())

    def _site(self, node: NodeProto) -> Attention | None:
        """Return the layer whose softmax is made by a node."""
        logits = self._softmax_of(node)
        if logits is None or node.output[0] not in self._live:
            return None
        mixed = self._mixed(node.output[0])
        if mixed is None:
            return None
        weights, value, output = mixed
        product = self._scored(logits)
        if product is None and self._are_gates(logits):
            return None
        query, key = product if product is not None else ("", "")
        return Attention(logits, weights, query, key, value, output)

    def _softmax_of(self, node: NodeProto) -> str | None:
        """Return the logits of a softmax over the last axis, which may be spelled out: ``exp / sum(exp)``."""
        if node.op_type == "Softmax":
            axis = attribute_of(node, "axis", -1 if self._opset >= _VERSION_OF_LAST_AXIS else 1)
            return str(node.input[0]) if axis == -1 or axis + 1 == self._ranks.get(node.input[0]) else None
        if node.op_type != "Div":
            return None
        power, total = (self._made_by.get(name) for name in node.input)
        spelled = power is not None and power.op_type == "Exp" and total is not None and total.op_type == "ReduceSum"
        if power is None or total is None or not spelled or total.input[0] != power.output[0]:
            return None
        shifted = self._made_by.get(power.input[0])
        if shifted is not None and shifted.op_type == "Sub":
            highest = self._made_by.get(shifted.input[1])
            if highest is not None and highest.op_type == "ReduceMax" and highest.input[0] == shifted.input[0]:
                return str(shifted.input[0])
        return str(power.input[0])

    def _mixed(self, softmax: str) -> tuple[str, str, str] | None:
        """Follow weights forward to their product with values; return weights, values and the product."""
        pending, met = deque([(softmax, softmax, False)]), {softmax}
        while pending:
            name, upright, turned = pending.popleft()
            for node in self._users.get(name, ()):
                places = _PRODUCTS.get(node.op_type)
                if places is not None and len(node.input) > places[1]:
                    left, right = (node.input[k] for k in places)
                    if node.op_type == "Einsum":
                        found = self._by_letters(node, name)
                    elif turned ^ bool(attribute_of(node, "transA" if name == left else "transB", 0)):
                        found = left if name == right else ""
                    else:
                        found = right if name == left else ""
                    if found and found in self._live:
                        return upright, found, node.output[0]
                elif node.op_type == "Transpose" and not turned and self._swaps_last(node):
                    pending.append((node.output[0], upright, True))
                elif self._keeps_weights(node, name) and node.output[0] not in met:
                    met.add(node.output[0])
                    pending.append((node.output[0], upright if turned else node.output[0], turned))
        return None

    @staticmethod
    def _by_letters(node: NodeProto, weights: str) -> str:
        """Return the other factor of an Einsum that sums over the last axis of the weights."""
        equation = attribute_of(node, "equation", b"").decode().replace(" ", "")
        terms, _, result = equation.partition("->")
        letters = terms.split(",")
        if len(letters) != len(node.input) or len(letters) != 2 or not result:
            return ""
        place = list(node.input).index(weights)
        summed = letters[place][-1]
        return node.input[1 - place] if summed not in result and summed in letters[1 - place] else ""

    @staticmethod
    def _swaps_last(node: NodeProto) -> bool:
        order = list(attribute_of(node, "perm") or ())
        return len(order) > 1 and order == [*range(len(order) - 2), len(order) - 1, len(order) - 2]

    def _keeps_weights(self, node: NodeProto, name: str) -> bool:
        """Whether what a node makes of weights are still weights: cast, reshaped, masked or scaled."""
        if node.op_type in _PASSING:
            return bool(node.input[0] == name)
        if node.op_type == "Where":
            return name in node.input[1:]
        return node.op_type == "Mul" and sum(i in self._live for i in node.input) == 1

    def _scored(self, logits: str) -> tuple[str, str] | None:
        """Follow logits back to the nearest product of queries and keys; return the two."""
        pending, met = deque([logits]), {logits}
        while pending:
            node = self._made_by.get(pending.popleft())
            if node is None:
                continue
            places = _PRODUCTS.get(node.op_type)
            if places is not None and len(node.input) > places[1]:
                left, right = (node.input[k] for k in places)
                if right in self._live:  # learned queries are constants, and stand on the left
                    return left, right
            if node.op_type in _TO_LOGITS:
                used = node.input[1:] if node.op_type == "Where" else node.input
                fresh = [n for n in used if n in self._live and n not in met]
                met.update(fresh)
                pending.extend(fresh)
        return None

    def _are_gates(self, logits: str) -> bool:
        """Whether logits are features that a linear layer makes, one for each expert of a mixture, say."""
        stored = {t.name: t.dims for t in self.proto.graph.initializer}
        name = logits
        while (node := self._made_by.get(name)) is not None:
            if node.op_type in {"MatMul", "Gemm"} and node.input[1] in stored:
                dims = list(stored[node.input[1]])
                return int(dims[0 if attribute_of(node, "transB", 0) else -1]) > 1
            running = [i for i in node.input if i in self._live]
            if node.op_type not in {"Add", "Cast", "Clip", "Div", "Identity", "Mul"} or len(running) != 1:
                return False
            name = running[0]
        return False

    @cached_property
    def _origins(self) -> dict[str, frozenset[str]]:
        """For each tensor the inputs that its tokens come from; what attention gives are its queries' tokens."""
        queries = {layer.output: layer.query for layer in self._sites}
        caches, _ = states(self.proto)  # of the tokens that came before, wherever these came from
        found = {value.name: frozenset({value.name}) for value in self.proto.graph.input if value.name not in caches}
        if self.start:
            found[self.start] = frozenset({self.start})
        for node in self.proto.graph.node:
            name = next((o for o in node.output if o in queries), "")
            sources = [queries[name]] if name else list(self._token_sources(node, found))
            origin = frozenset[str]().union(*(found.get(n, frozenset()) for n in sources))
            found.update({o: origin for o in node.output if o and o != self.start})
        return found

    def _token_sources(self, node: NodeProto, known: Mapping[str, frozenset[str]]) -> Iterator[str]:
        """Yield the inputs of a node whose tokens its outputs hold."""
        if node.op_type in _SHAPES_ONLY:
            return
        if node.op_type in _FIRST_ONLY:
            yield node.input[0]
        elif node.op_type in _GATHERING:  # from a table of words the codes, from tokens the tokens themselves
            yield node.input[0] if known.get(node.input[0]) else node.input[1]
        elif node.op_type == "Where":
            yield from node.input[1:]
        else:
            yield from used_names(node)

    @cached_property
    def _ranks(self) -> dict[str, int]:
        from .tensors import inferred_types

        return {
            name: len(kind.tensor_type.shape.dim)
            for name, kind in inferred_types(self.proto).items()
            if kind.HasField("tensor_type") and kind.tensor_type.HasField("shape")
        }

    @cached_property
    def _opset(self) -> int:
        from .structure import opset_of

        return opset_of(self.proto)
