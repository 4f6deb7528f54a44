"""The end of a classifier: its final activation, the logits before it, its class labels, and the ZipMap after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from .raw_scores import is_added
from .rebuild import copy_of, rebuilt
from .structure import (
    LABEL_ATTRIBUTES,
    ML_DOMAIN,
    attribute_of,
    constants,
    is_default,
    is_one,
    producers,
    small_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from .raw_scores import RawScores

_ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}
# Operators that leave the elements and their order alone, but for rounding (Cast: between floating-point types only).
_ORDER_KEPT = (
    *("Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout"),
    *("QuantizeLinear", "DequantizeLinear"),
)
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_CLASSIFIERS = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier")


def final_activation(proto: ModelProto, output: str, raw: RawScores | None = None) -> tuple[str, str] | None:
    """Return the tensor before the last Softmax, LogSoftmax or Sigmoid of an output, and which of them it is.

    The kind is ``softmax``, ``log-softmax`` or ``sigmoid``. Also found: softmax written out as
    ``Exp(z) / ReduceSum(Exp(z))``, with or without ``z = x - ReduceMax(x)`` (the tensor is then x), and
    ``1 / (1 + Exp(-x))``. Between the activation and the output there may be operators that keep the order of the
    elements, so the tensor can have another shape than the output. ``raw`` holds the scores of classifiers that end in
    such a function themselves (see ``with_raw_scores``). None if the output ends in none of these.
    """
    made_by = producers(proto.graph.node)
    node = _origin(made_by, output)
    if node is None:
        return None
    known = _raw_scores(made_by, node, raw or {})
    if known is not None:
        return known
    if is_default(node, *_ACTIVATIONS):
        return node.input[0], _ACTIVATIONS[node.op_type]
    written_out = _written_softmax(made_by, node) or _written_sigmoid(proto, made_by, node)
    if written_out is not None:
        return written_out
    if is_default(node, "Log", "Exp"):  # Log(Softmax(x)) and Exp(LogSoftmax(x))
        inner = _origin(made_by, node.input[0])
        pair = {"Log": ("Softmax", "log-softmax"), "Exp": ("LogSoftmax", "softmax")}[node.op_type]
        if inner is not None and is_default(inner, pair[0]):
            return inner.input[0], pair[1]
    return None


def _raw_scores(made_by: Mapping[str, NodeProto], node: NodeProto, raw: RawScores) -> tuple[str, str] | None:
    """Return the scores of a classifier, also behind a Normalizer to the sum 1: a softmax has that already."""
    if node.domain == ML_DOMAIN and node.op_type == "Normalizer" and attribute_of(node, "norm") == b"L1":
        inner = _origin(made_by, node.input[0])
        found = _raw_scores(made_by, inner, raw) if inner is not None else None
        return found if found is not None and found[1] == "softmax" else None
    return next((raw[name] for name in node.output if name in raw), None)


def logits_tensor(proto: ModelProto, output: str) -> str | None:
    """Return the tensor before the output's final activation (see ``final_activation``), or None."""
    found = final_activation(proto, output)
    return found[0] if found is not None else None


def class_labels(proto: ModelProto) -> tuple[str, ...]:
    """Return the class labels that the graph itself holds, as text, in the order of the scores; empty if none.

    They are looked for where an output comes from: a ZipMap, a classifier of ai.onnx.ml, a LabelEncoder of the class
    number, or an ArrayFeatureExtractor that picks from a constant (as skl2onnx writes it); then in the only classifier
    of the graph.
    """
    nodes = proto.graph.node
    made_by = producers(nodes)
    stored = constants(nodes, proto.graph)
    for output in proto.graph.output:
        node = _origin(made_by, output.name, casts=None)
        labels = _labels_of(node, stored) if node is not None else ()
        if labels:
            return labels
    classifiers = [node for node in nodes if node.op_type in _CLASSIFIERS and not is_added(node)]
    return _labels_of(classifiers[0], stored) if len(classifiers) == 1 else ()


def split_scores(proto: ModelProto) -> str | None:
    """Return the tensor (rows, classes) of which the model gives each column as an output of its own, or None.

    That is how skl2onnx writes a classifier with the option ``zipmap="columns"``. The floating-point outputs must be
    all columns, from the first one on.
    """
    made_by = producers(proto.graph.node)
    stored = constants(proto.graph.node, proto.graph)
    outputs = [value.name for value in proto.graph.output if value.type.tensor_type.elem_type in _FLOATS]
    columns = [_column(made_by, stored, name) for name in outputs]
    sources = {source for source, _ in columns}
    in_order = [place for _, place in columns] == list(range(len(columns)))
    return sources.pop() if len(columns) > 1 and len(sources) == 1 and in_order else None


def _column(made_by: Mapping[str, NodeProto], stored: Mapping[str, TensorProto], name: str) -> tuple[str, int]:
    """Return the tensor that an output is a column of, and which; -1 if it is none."""
    node = _origin(made_by, name)
    if node is None or not is_default(node, "Slice") or len(node.input) != 4:
        return name, -1
    numbers = [small_value(stored[text]) if text in stored else None for text in node.input[1:]]
    if any(number is None or number.size != 1 for number in numbers):
        return name, -1
    start, stop, axis = (int(number.item()) for number in numbers if number is not None)
    return (node.input[0], start) if stop == start + 1 and axis == 1 else (name, -1)


def drop_zipmap(proto: ModelProto) -> tuple[ModelProto, dict[str, tuple[str, ...]]]:
    """Replace each ZipMap by the tensor that it was made from, under the ZipMap's own name.

    Returns the model (the given one if it has no ZipMap) and, by output name, the class labels of the tensor's
    columns, as text. Such an output is then a float tensor (rows, classes).
    """
    if not any(node.domain == ML_DOMAIN and node.op_type == "ZipMap" for node in proto.graph.node):
        return proto, {}
    labels: dict[str, tuple[str, ...]] = {}
    nodes = []
    for node in proto.graph.node:
        if node.domain == ML_DOMAIN and node.op_type == "ZipMap":
            labels[node.output[0]] = _labels_of(node, {})
            nodes.append(helper.make_node("Identity", node.input[:1], node.output[:1], name=node.name))
            continue
        if is_default(node, "Identity") and node.input[0] in labels:
            labels[node.output[0]] = labels[node.input[0]]
        nodes.append(node)
    outputs = [_retyped(value, labels) for value in proto.graph.output]
    value_info = [value for value in proto.graph.value_info if value.name not in labels]
    model = rebuilt(proto, nodes=nodes, outputs=outputs, value_info=value_info)
    return model, {value.name: labels[value.name] for value in outputs if value.name in labels}


def _retyped(value: ValueInfoProto, labels: Mapping[str, tuple[str, ...]]) -> ValueInfoProto:
    if value.name not in labels:
        return value
    retyped = copy_of(value)
    shape = [None, len(labels[value.name]) or None]
    retyped.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, shape))
    return retyped


def _origin(made_by: Mapping[str, NodeProto], name: str, casts: tuple[int, ...] | None = _FLOATS) -> NodeProto | None:
    """Return the node that made a tensor's elements, behind all operators that keep them in order.

    ``casts`` are the element types that a Cast may yield on the way; None for any.
    """
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        node = made_by.get(name)
        if node is None or not is_default(node, *_ORDER_KEPT):
            return node
        if node.op_type == "Cast" and casts is not None and attribute_of(node, "to") not in casts:
            return node
        name = node.input[0]
    return None


def _written_softmax(made_by: Mapping[str, NodeProto], node: NodeProto) -> tuple[str, str] | None:
    """Recognise Exp(z) / ReduceSum(Exp(z))."""
    if not is_default(node, "Div"):
        return None
    exp, total = made_by.get(node.input[0]), made_by.get(node.input[1])
    if exp is None or total is None or not is_default(exp, "Exp") or not is_default(total, "ReduceSum"):
        return None
    if total.input[0] != exp.output[0]:
        return None
    shifted = made_by.get(exp.input[0])
    if shifted is not None and is_default(shifted, "Sub"):
        largest = made_by.get(shifted.input[1])
        if largest is not None and is_default(largest, "ReduceMax") and largest.input[0] == shifted.input[0]:
            return shifted.input[0], "softmax"
    return exp.input[0], "softmax"


def _written_sigmoid(proto: ModelProto, made_by: Mapping[str, NodeProto], node: NodeProto) -> tuple[str, str] | None:
    """Recognise 1 / (1 + Exp(-x)), the division also as Reciprocal."""
    stored = constants(proto.graph.node, proto.graph)

    if is_default(node, "Div") and is_one(node.input[0], stored):
        bottom = made_by.get(node.input[1])
    elif is_default(node, "Reciprocal"):
        bottom = made_by.get(node.input[0])
    else:
        return None
    if bottom is None or not is_default(bottom, "Add"):
        return None
    for one, other in (bottom.input, reversed(bottom.input)):
        exp = made_by.get(other)
        negated = made_by.get(exp.input[0]) if exp is not None and is_default(exp, "Exp") else None
        if is_one(one, stored) and negated is not None and is_default(negated, "Neg"):
            return negated.input[0], "sigmoid"
    return None


def _labels_of(node: NodeProto, stored: Mapping[str, TensorProto]) -> tuple[str, ...]:
    """Return the labels that a node states or picks from, or nothing."""
    if node.domain != ML_DOMAIN:
        return ()
    if node.op_type == "ArrayFeatureExtractor":
        classes = stored.get(node.input[0])
        return _distinct(classes) if classes is not None and node.input[1] not in stored else ()
    if node.op_type == "LabelEncoder":
        keys, values = attribute_of(node, "keys_int64s"), attribute_of(node, "values_strings")
        if keys is None or values is None or sorted(keys) != list(range(len(values))):
            return ()
        return tuple(_text(values[keys.index(number)]) for number in range(len(keys)))
    for name in LABEL_ATTRIBUTES:
        if labels := attribute_of(node, name):
            return tuple(_text(label) for label in labels)
    return ()


def _distinct(classes: TensorProto) -> tuple[str, ...]:
    """Return the elements of a list of class labels; nothing if it is no such list."""
    if classes.data_type == TensorProto.STRING:
        labels = tuple(_text(label) for label in classes.string_data)
    else:
        numbers = small_value(classes)
        if numbers is None or numbers.dtype.kind not in "iu":
            return ()
        labels = tuple(str(number) for number in numbers.ravel())
    return labels if len(set(labels)) == len(labels) > 1 else ()


def _text(label: bytes | int) -> str:
    return label.decode("utf-8", errors="replace") if isinstance(label, bytes) else str(label)
