"""Which texts a model knows: the categories that its encoders list, by input and column; read only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from .structure import ML_DOMAIN, attribute_of, constants, input_names, is_default, small_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto, NodeProto

_SAME = frozenset({"Identity", "Reshape", "Flatten", "Cast", "Squeeze", "Unsqueeze"})

Place = tuple[str, int]  # an input and one of its columns
Columns = list[Place]


@dataclass(frozen=True)
class Categories:
    """The texts that a column of an input may hold; ``strict`` where the model fails on any other."""

    names: tuple[str, ...]
    strict: bool


def text_categories(proto: ModelProto) -> dict[str, dict[int, Categories]]:
    """Return the categories by input name and column, as far as encoders take columns of text as they are given."""
    stored = constants(proto.graph.node, proto.graph)
    given = set(input_names(proto))
    columns: dict[str, Columns] = {
        value.name: [(value.name, k) for k in range(_width(value.type.tensor_type.shape.dim))]
        for value in proto.graph.input
        if value.name in given and value.type.tensor_type.elem_type == TensorProto.STRING
    }
    found: dict[str, dict[int, Categories]] = {}
    for node in proto.graph.node if columns else ():
        known = _listed(node)
        for name, column in columns.get(node.input[0], []) if known and node.input else []:
            found.setdefault(name, {}).setdefault(column, known)  # type: ignore[arg-type]  # narrowed by the line above
        passed = _passed(node, columns, stored)
        if passed is not None and node.output:
            columns[node.output[0]] = passed
    return found


def _width(dims: object) -> int:
    sizes = [int(d.dim_value) for d in dims]  # type: ignore[attr-defined]  # a repeated field
    return sizes[-1] if len(sizes) > 1 and sizes[-1] > 0 else 1


def _listed(node: NodeProto) -> Categories | None:
    """Return the categories that an encoder lists."""
    if node.domain != ML_DOMAIN:
        return None
    if node.op_type == "OneHotEncoder" and (names := attribute_of(node, "cats_strings")):
        return Categories(_texts(names), attribute_of(node, "zeros") == 0)
    if node.op_type == "LabelEncoder" and (names := attribute_of(node, "keys_strings")):
        return Categories(_texts(names), strict=False) if len(names) > 1 else None
    return None


def _texts(names: list[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("utf-8", errors="replace") for name in names)


def _passed(node: NodeProto, columns: Mapping[str, Columns], stored: Mapping[str, TensorProto]) -> Columns | None:
    """Return which columns of text a node's output holds, None where that is not known."""
    if not node.input or any(name not in columns and name not in stored for name in node.input if name):
        return None
    if is_default(node, "Concat") and all(name in columns for name in node.input):
        return [place for name in node.input for place in columns[name]]
    first = columns.get(node.input[0])
    if first is None:
        return None
    if node.op_type in _SAME:
        return first
    if node.op_type in {"ArrayFeatureExtractor", "Gather"} and len(node.input) > 1 and node.input[1] in stored:
        chosen = small_value(stored[node.input[1]])
        if chosen is not None and np.all((chosen >= -len(first)) & (chosen < len(first))):
            return [first[int(k)] for k in chosen.ravel()]
    return None
