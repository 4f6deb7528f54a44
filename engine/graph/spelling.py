"""One node of a graph written in plain operators: the nodes and constants so far, under names that are free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .structure import attribute_of, fresh_name, used_names

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TypeProto


@dataclass
class Spelling:
    """A node and what it becomes. Shapes: B rows, S tokens, N heads of size D.

    ``types`` are those of the graph's tensors, as far as they are known, ``taken`` the names that are not free.
    """

    proto: ModelProto
    node: NodeProto
    types: dict[str, TypeProto]
    taken: set[str]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def given(self, name: str, default: Any) -> Any:
        """Return an attribute of the node."""
        return attribute_of(self.node, name, default)

    def in_heads(self, name: str, heads: int) -> str:
        """Return (B, S, N D) as (B, N, S, D); what has four axes is so already."""
        if self.rank(name) == 4:
            return name
        return self.add("Transpose", self.add("Reshape", name, self.whole([0, 0, heads, -1])), perm=[0, 2, 1, 3])

    def merged(self, mixed: str) -> None:
        """Let the node's first output be (B, N, S, D) with its heads side by side, (B, S, N D)."""
        turned = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        self.nodes.append(helper.make_node("Reshape", [turned, self.whole([0, 0, -1])], [self.node.output[0]]))

    def cut(self, name: str, sizes: list[int], axis: int) -> list[str]:
        """Cut an axis into consecutive parts."""
        ends = np.cumsum(sizes).tolist()
        return [
            self.add("Slice", name, self.whole([end - size]), self.whole([end]), self.whole([axis]))
            for size, end in zip(sizes, ends, strict=True)
        ]

    def length(self, name: str, axis: int) -> str:
        """Return the length (1,) of an axis."""
        shape = self.add("Shape", name)
        return self.add("Slice", shape, self.whole([axis]), self.whole([axis + 1]))

    def range(self, name: str) -> str:
        """Return the numbers of the tokens in (B, N, S, D)."""
        length = self.add("Reshape", self.length(name, 2), self.whole([]))
        return self.add("Range", self.scalar(0), length, self.scalar(1))

    @property
    def kind(self) -> int:
        """The element type of the node's first input."""
        known = self.types.get(self.node.input[0])
        return int(known.tensor_type.elem_type) if known is not None else int(TensorProto.FLOAT)

    def input(self, place: int) -> str:
        """Return the name of an input; empty where it is left out."""
        return self.node.input[place] if place < len(self.node.input) else ""

    def rank(self, name: str) -> int | None:
        """Return the number of axes of a tensor, where it is known."""
        known = self.types.get(name)
        if known is None or not known.HasField("tensor_type") or not known.tensor_type.HasField("shape"):
            return None
        return len(known.tensor_type.shape.dim)

    def width(self, name: str) -> int | None:
        """Return the length of the last axis, of keys in heads that of all heads together."""
        known = self.types.get(name)
        if known is None or not known.tensor_type.shape.dim:
            return self.columns(name)
        size = int(known.tensor_type.shape.dim[-1].dim_value)
        heads = int(attribute_of(self.node, "num_heads", 1)) if self.rank(name) == 4 else 1
        return size * heads or None

    def last_axis(self, name: str) -> int | None:
        """Return the length of a tensor's last axis, where it is known."""
        known = self.types.get(name)
        dims = known.tensor_type.shape.dim if known is not None else ()
        return int(dims[-1].dim_value) or None if dims else None

    def columns(self, name: str) -> int | None:
        """Return how many columns the stored matrix has that a tensor is a product with."""
        read = next((n.input[1:2] for n in self.proto.graph.node if name in n.output and n.op_type == "MatMul"), ())
        return next((int(t.dims[-1]) for t in self.proto.graph.initializer if t.name in read and t.dims), None)

    def is_used(self, name: str) -> bool:
        """Whether a node reads a tensor or it is an output."""
        return any(name == value.name for value in self.proto.graph.output) or any(
            name in used_names(node) for node in self.proto.graph.node
        )

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of what it makes."""
        name = fresh_name(f"{self.node.output[0]}/{op_type}", self.taken)
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def number(self, value: float) -> str:
        """Store a number in the element type of the node."""
        return self.stored(np.array(value, helper.tensor_dtype_to_np_dtype(self.kind)))

    def scalar(self, value: int) -> str:
        """Store a whole number."""
        return self.stored(np.array(value, np.int64))

    def whole(self, values: list[int]) -> str:
        """Store a list of whole numbers."""
        return self.stored(np.array(values, np.int64))

    def stored(self, array: np.ndarray) -> str:
        """Store an array; return its name."""
        name = fresh_name(f"{self.node.output[0]}/constant", self.taken)
        self.constants.append(numpy_helper.from_array(array, name))
        return name
