"""ConstantFill, an experiment that exporters of opset 7 and 8 use for initial states, in operators that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ..errors import ModelError
from .rebuild import rebuilt
from .structure import DEFAULT_DOMAINS, all_names, attribute_of, fresh_name, is_default, node_label, opset_of, scopes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

FILL = "ConstantFill"
OLDEST = 7  # the first opset whose operators all mean the same in the next one
EXPANDS = 8  # the first opset that has Expand


def without_fills(proto: ModelProto) -> ModelProto:
    """Return a model in which each ConstantFill is an Expand of its value, or the model itself where there is none.

    A model of opset 7 is labelled 8, where every operator does what it did. Raises ``ModelError`` for older ones.
    """
    fills = [node for scope in scopes(proto) for node in scope.nodes if is_default(node, FILL)]
    if not fills:
        return proto
    version = opset_of(proto)
    if version < OLDEST:
        raise ModelError(
            f"{FILL} can be rewritten for ONNX Runtime in models of opset {OLDEST} or later; this one has {version}",
            where=node_label(fills[0]),
            tip="export the model again, with opset 9 or later",
        )
    model = rebuilt(proto)
    taken = all_names(model)
    for scope in scopes(model):
        written = [part for node in scope.nodes for part in _written(node, taken)]
        owner = scope.graph if scope.graph is not None else scope.function
        if owner is not None and len(written) > len(scope.nodes):
            del owner.node[:]
            owner.node.extend(written)
    for opset in model.opset_import:
        if opset.domain in DEFAULT_DOMAINS:
            opset.version = max(opset.version, EXPANDS)
    return model


def _written(node: NodeProto, taken: set[str]) -> list[NodeProto]:
    """Return a node as it is, or what a ConstantFill becomes."""
    if not is_default(node, FILL):
        return [node]
    nodes: list[NodeProto] = []

    def add(op_type: str, *inputs: str, **attributes: Any) -> str:
        name = fresh_name(f"{node.output[0]}/{op_type}", taken)
        nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def whole(values: list[int]) -> str:
        return add("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    extra = list(attribute_of(node, "extra_shape", []))
    if not node.input:
        shape = whole([*attribute_of(node, "shape", []), *extra])
    elif attribute_of(node, "input_as_shape", 0):
        shape = add("Cast", node.input[0], to=TensorProto.INT64)
    else:
        shape = add("Shape", node.input[0])
    if node.input and extra:
        shape = add("Concat", shape, whole(extra), axis=0)
    kind = int(attribute_of(node, "dtype", TensorProto.FLOAT))
    try:
        value = np.array(attribute_of(node, "value", 0.0)).astype(helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        raise ModelError(f"{FILL} makes elements of the unknown type {kind}", where=node_label(node)) from None
    filling = add("Constant", value=numpy_helper.from_array(value))
    nodes.append(helper.make_node("Expand", [filling, shape], [node.output[0]], name=node.name))
    return nodes
