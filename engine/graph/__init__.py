"""Surgery on the ONNX graph: the only place that edits a ModelProto; every function returns a new one."""

from __future__ import annotations

from .batch import fixed_batch, free_batch
from .categories import Categories, text_categories
from .channels import Channels, gated, hidden_channels
from .control import decided_by_values, with_body_types
from .embeddings import embedding_rows
from .equivalent import rewritten, shifted
from .fills import without_fills
from .head import class_labels, drop_zipmap, final_activation, logits_tensor, split_scores
from .no_gradient import NO_GRADIENT, without_gradient
from .normal import normalise
from .randomise import Layer, layers, randomised
from .raw_scores import with_raw_scores
from .roles import sequence_axes, states
from .structure import has_loops, input_names, output_names, random_node
from .tensors import TensorInfo, check_readable, tap, tensors
from .widen import widened

__all__ = [
    "NO_GRADIENT",
    "Categories",
    "Channels",
    "Layer",
    "TensorInfo",
    "check_readable",
    "class_labels",
    "decided_by_values",
    "drop_zipmap",
    "embedding_rows",
    "final_activation",
    "fixed_batch",
    "free_batch",
    "gated",
    "has_loops",
    "hidden_channels",
    "input_names",
    "layers",
    "logits_tensor",
    "normalise",
    "output_names",
    "random_node",
    "randomised",
    "rewritten",
    "sequence_axes",
    "shifted",
    "split_scores",
    "states",
    "tap",
    "tensors",
    "text_categories",
    "widened",
    "with_body_types",
    "with_raw_scores",
    "without_fills",
    "without_gradient",
]
