"""What flows along a graph, followed node by node: types and, for shapes and the like, the numbers themselves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, checker, defs, helper, numpy_helper, shape_inference

from .structure import DEFAULT_DOMAINS, SMALL, attribute_of, constant_of, is_default, opset_of, small_value, subgraphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# Shape arithmetic: evaluated where all inputs are known and short.
# fmt: off
_ARITHMETIC = (
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather",
    "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze",
    "Where",
)
# fmt: on
# Operators of com.microsoft whose outputs have the shapes of a standard operator's on the same first inputs.
_ALIKE = {
    "BiasGelu": "Relu",
    "FastGelu": "Relu",
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMul": "MatMul",
    "Gelu": "Relu",
    "QuickGelu": "Relu",
    "SkipLayerNormalization": "Relu",
    "SkipSimplifiedLayerNormalization": "Relu",
}


class Trace:
    """Types and short values of tensors for given input types; ``run`` is called for each node in graph order.

    ``values`` holds the numbers of constants and of shape arithmetic; those in ``fixed`` do not depend on any input's
    shape.
    """

    def __init__(self, proto: ModelProto, inputs: Mapping[str, TypeProto]) -> None:
        self.types: dict[str, TypeProto] = dict(inputs)
        self.values: dict[str, NDArray[Any]] = {}
        self.fixed: set[str] = set()
        self._opsets = list(proto.opset_import)
        self._version = opset_of(proto)
        for tensor in proto.graph.initializer:
            self.store(tensor.name, tensor)
        for sparse in proto.graph.sparse_initializer:
            dense = helper.make_tensor_type_proto(sparse.values.data_type, list(sparse.dims))
            self.types[sparse.values.name] = dense

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the lengths of all axes, or None where one of them or the rank is unknown."""
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        dims = kind.tensor_type.shape.dim
        return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None

    def integers(self, name: str) -> list[int] | None:
        """Return the elements of a scalar or list of integers, such as a shape; None if they are unknown."""
        value = self.values.get(name)
        return None if value is None or value.ndim > 1 or value.dtype.kind not in "iu" else value.ravel().tolist()

    def store(self, name: str, tensor: TensorProto) -> None:
        """Take in a constant."""
        self.types[name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        value = small_value(tensor)
        if value is not None:
            self.values[name] = value
            self.fixed.add(name)

    def run(self, node: NodeProto) -> bool:
        """Infer a node's outputs; False if inference finds that the node cannot take inputs of these types."""
        constant = constant_of(node)
        if constant is not None:
            self.store(node.output[0], constant)
            return True
        outputs = self.infer(node)
        if outputs is None:
            return False
        self.types.update(outputs)
        self._evaluate(node)
        return True

    def infer(self, node: NodeProto) -> dict[str, TypeProto] | None:
        """Return the types of a node's outputs, those that can be known; None if inference refuses the node."""
        node, schema = self._schema(node)
        if schema is None:
            return {}
        read = [name for name in node.input if name]
        types = self.types if any(True for _ in subgraphs(node)) else {n: self.types.get(n, TypeProto()) for n in read}
        data = {name: numpy_helper.from_array(self.values[name]) for name in read if name in self.values}
        if not all(name in types for name in read):
            return {}
        try:
            return shape_inference.infer_node_outputs(schema, node, dict(types), data, opset_imports=self._opsets)
        except (checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError):
            return None if all(self.shape(name) is not None for name in read) else {}

    def _schema(self, node: NodeProto) -> tuple[NodeProto, defs.OpSchema | None]:
        version = next((o.version for o in self._opsets if o.domain == node.domain), self._version)
        domain = "" if node.domain in DEFAULT_DOMAINS else node.domain
        if domain == "com.microsoft" and node.op_type in _ALIKE:
            domain, version, alike = "", self._version, _ALIKE[node.op_type]
            like = defs.get_schema(alike, domain)
            attributes = [attribute for attribute in node.attribute if attribute.name in like.attributes]
            inputs = node.input[: like.max_input]
            node = NodeProto(op_type=alike, input=inputs, output=node.output[:1], attribute=attributes)
        try:
            return node, defs.get_schema(node.op_type, version, domain)
        except defs.SchemaError:
            return node, None

    def _evaluate(self, node: NodeProto) -> None:
        """Compute the numbers of a shape or of what is calculated from shapes."""
        if is_default(node, "Shape"):
            shape = self.shape(node.input[0])
            if shape is not None:
                start, end = attribute_of(node, "start", 0), attribute_of(node, "end")
                self.values[node.output[0]] = np.array(shape, np.int64)[start:end]
            return
        if is_default(node, "Size"):
            shape = self.shape(node.input[0])
            if shape is not None:
                self.values[node.output[0]] = np.array(math.prod(shape), np.int64)
            return
        read = [name for name in node.input if name]
        sizes = [math.prod(shape) if (shape := self.shape(name)) is not None else SMALL + 1 for name in node.output]
        known = is_default(node, *_ARITHMETIC) and all(name in self.values for name in read)
        if not known or not sizes or max(sizes) > SMALL:
            return
        value = _computed(node, {name: self.values[name] for name in read}, self._version)
        if value is not None:
            self.values[node.output[0]] = value
            if all(name in self.fixed for name in read):
                self.fixed.add(node.output[0])


def _computed(node: NodeProto, values: dict[str, NDArray[Any]], version: int) -> NDArray[Any] | None:
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all="ignore"):
            (value, *_) = ReferenceEvaluator(node, opsets={"": version}).run(None, values)
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # the numbers do not fit the operator; the runtime will say so
    return np.asarray(value)
