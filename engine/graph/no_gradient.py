"""Operators without a gradient: their outputs do not follow small changes, or they work on what is no number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rebuild import live_nodes

if TYPE_CHECKING:
    from onnx import ModelProto

_TREES = "its outputs are constant between the thresholds of its trees"
_TEXT = "it works on text"
NO_GRADIENT = {
    "TreeEnsemble": _TREES,
    "TreeEnsembleClassifier": _TREES,
    "TreeEnsembleRegressor": _TREES,
    "StringNormalizer": _TEXT,
    "StringConcat": _TEXT,
    "StringSplit": _TEXT,
    "RegexFullMatch": _TEXT,
    "Tokenizer": _TEXT,
    "TfIdfVectorizer": "it counts words",
    "LabelEncoder": "it looks labels up in a table",
    "ZipMap": "it makes dictionaries",
    "CategoryMapper": "it looks labels up in a table",
    "DictVectorizer": "it reads dictionaries",
    "OneHotEncoder": "it compares its input with categories",
}


def without_gradient(proto: ModelProto, tensor: str) -> str:
    """Return the first such operator that a tensor is made with; empty where there is none."""
    made = (node.op_type for node in live_nodes(proto.graph.node, [tensor]))
    return next((op_type for op_type in made if op_type in NO_GRADIENT), "")
