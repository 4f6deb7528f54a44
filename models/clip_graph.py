"""The pair of towers as an ONNX graph, with attention in plain operators as exporters write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .transformer import EPSILON, HIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping

IR_VERSION = 10
OPSET = 17
SHORTEST = 1e-12  # no vector is divided by less


class Builder:
    """Nodes and constants of a graph as they are put together; each method returns the name of what it makes."""

    def __init__(self, weights: Mapping[str, np.ndarray], heads: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: dict[str, np.ndarray] = dict(weights)
        self.heads = heads

    def node(self, op_type: str, inputs: str | list[str], output: str, **attributes: Any) -> str:
        """Add a node."""
        names = inputs.split() if isinstance(inputs, str) else inputs
        self.nodes.append(helper.make_node(op_type, names, [output], **attributes))
        return output

    def constant(self, name: str, value: object) -> str:
        """Store a constant."""
        self.stored[name] = np.asarray(value)
        return name

    def dense(self, x: str, layer: str) -> str:
        """Return ``x W^T + b`` as a product and a sum."""
        weight = f"{layer}.weight"
        self.stored[weight] = np.ascontiguousarray(self.stored[weight].T)
        return self.node("Add", [self.node("MatMul", [x, weight], f"{layer}.product"), f"{layer}.bias"], layer)

    def norm(self, x: str, layer: str) -> str:
        """Return layer normalisation over the last axis."""
        parts = [x, f"{layer}.weight", f"{layer}.bias"]
        return self.node("LayerNormalization", parts, layer, axis=-1, epsilon=EPSILON)

    def attention(self, x: str, name: str, mask: str) -> str:
        """Return self-attention, its heads an axis of their own; ``mask`` is added to the logits, if there is one."""
        size = self.stored[f"{name}.q.weight"].shape[0] // self.heads
        split = self.constant(f"{name}.split", [0, 0, self.heads, size])
        turns = {"q": (0, 2, 1, 3), "k": (0, 2, 3, 1), "v": (0, 2, 1, 3)}
        Q, K, V = (
            self.node(
                "Transpose",
                self.node("Reshape", [self.dense(x, f"{name}.{part}"), split], f"{name}.{part}.split"),
                f"{name}.{part}.heads",
                perm=turn,
            )
            for part, turn in turns.items()
        )
        scores = self.node("MatMul", [Q, K], f"{name}.scores")
        root = self.constant(f"{name}.root", np.float32(1 / np.sqrt(size)))
        logits = self.node("Mul", [scores, root], f"{name}.scaled")
        if mask:
            logits = self.node("Add", [logits, mask], f"{name}.masked")
        weights = self.node("Softmax", logits, f"{name}.weights", axis=-1)
        mixed = self.node("MatMul", [weights, V], f"{name}.mixed")
        turned = self.node("Transpose", mixed, f"{name}.turned", perm=(0, 2, 1, 3))
        merged = self.constant(f"{name}.merged", [0, 0, self.heads * size])
        return self.dense(self.node("Reshape", [turned, merged], f"{name}.together"), f"{name}.o")

    def block(self, x: str, name: str, mask: str = "") -> str:
        """Return a block."""
        attended = self.attention(self.norm(x, f"{name}.norm1"), name, mask)
        middle = self.node("Add", [x, attended], f"{name}.middle")
        up = self.node("Relu", self.dense(self.norm(middle, f"{name}.norm2"), f"{name}.up"), f"{name}.relu")
        return self.node("Add", [middle, self.dense(up, f"{name}.down")], f"{name}.out")

    def tower(self, x: str, name: str, blocks: int, mask: str = "") -> str:
        """Return the unit vector that the first token ends as."""
        for k in range(blocks):
            x = self.block(x, f"{name}.{k}", mask)
        first = self.node("Gather", [x, "first"], f"{name}.first", axis=1)
        joint = self.dense(self.norm(first, f"{name}.norm"), f"{name}.joint")
        length = self.node("ReduceL2", joint, f"{name}.length", axes=[-1], keepdims=1)
        return self.node("Div", [joint, self.node("Max", [length, "shortest"], f"{name}.divisor")], f"{name}.unit")


def build_graph(
    weights: Mapping[str, np.ndarray], heads: int, blocks: Mapping[str, int], side: int, length: int
) -> onnx.ModelProto:
    """Return the graph: ``image`` (batch, 1, side, side) and ``words`` (batch, length) -> ``similarity`` (batch, 1).

    The similarity is the cosine of what the towers end in; the tower ``text`` does not read words that are 0.
    """
    b = Builder(weights, heads)
    width = weights["image.class"].shape[1]
    patch = round(weights["image.patches.weight"].shape[1] ** 0.5)
    b.constant("first", np.int64(0))
    b.constant("shortest", np.float32(SHORTEST))
    b.stored["image.patches.weight"] = weights["image.patches.weight"].reshape(width, 1, patch, patch)
    b.stored["image.class"] = weights["image.class"][None]
    cells = ["image", "image.patches.weight", "image.patches.bias"]
    grid = b.node("Conv", cells, "image.patches", kernel_shape=[patch, patch], strides=[patch, patch])
    flat = b.node("Reshape", [grid, b.constant("image.flat", [0, 0, -1])], "image.cells")
    patches = b.node("Transpose", flat, "image.tokens", perm=(0, 2, 1))
    ends = [b.constant("image.begin", [0]), b.constant("image.end", [1])]
    rows = b.node("Slice", [b.node("Shape", patches, "image.shape"), *ends], "image.rows")
    shape = b.node("Concat", [rows, b.constant("image.one", [1, width])], "image.class.shape", axis=0)
    first = b.node("Expand", ["image.class", shape], "image.class.token")
    tokens = b.node("Concat", [first, patches], "image.all", axis=1)
    image = b.tower(b.node("Add", [tokens, "image.places"], "image.placed"), "image", blocks["image"])
    embedded = b.node("Gather", ["text.words", "words"], "text.embedded", axis=0)
    unread = b.node("Equal", ["words", b.constant("pad", np.int64(0))], "text.unread")
    wide = b.node("Unsqueeze", [unread, b.constant("text.axes", [1, 2])], "text.unread.wide")
    levels = [b.constant("hidden", np.float32(HIDDEN)), b.constant("open", np.float32(0))]
    hidden = b.node("Where", [wide, *levels], "text.mask")
    text = b.tower(b.node("Add", [embedded, "text.places"], "text.placed"), "text", blocks["text"], hidden)
    product = b.node("Mul", [image, text], "products")
    b.node("ReduceSum", [product, b.constant("last", [-1])], "similarity", keepdims=1)
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, side, side]),
        helper.make_tensor_value_info("words", TensorProto.INT64, ["batch", length]),
    ]
    output = helper.make_tensor_value_info("similarity", TensorProto.FLOAT, ["batch", 1])
    stored = [numpy_helper.from_array(np.asarray(a, order="C"), n) for n, a in b.stored.items()]
    return helper.make_model(
        helper.make_graph(b.nodes, "digits-clip", inputs, [output], stored),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="onnxplain",
    )
