"""Surgery on the ONNX graph: the only place that edits a ModelProto; every function returns a new one."""

from __future__ import annotations

from .batch import fixed_batch, free_batch
from .head import class_labels, drop_zipmap, final_activation, logits_tensor, split_scores
from .normal import normalise
from .structure import input_names, output_names
from .tensors import TensorInfo, tap, tensors

__all__ = [
    "TensorInfo",
    "class_labels",
    "drop_zipmap",
    "final_activation",
    "fixed_batch",
    "free_batch",
    "input_names",
    "logits_tensor",
    "normalise",
    "output_names",
    "split_scores",
    "tap",
    "tensors",
]
