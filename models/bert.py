"""BERT as an ONNX graph, from the tensors of a checkpoint, with a linear classifier on the mean of its last states.

Architecture: Devlin et al. 2019, arXiv:1810.04805 (post-normalised encoder, GELU by the error function). The mean over
the tokens that are there, scaled to length 1, is the sentence embedding of Reimers and Gurevych 2019, arXiv:1908.10084.
Names and shapes of the tensors are those of transformers' ``BertModel``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..engine.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

IR_VERSION = 10
OPSET = 17
EPSILON = 1e-12  # of the normalisations
LOWEST = float(np.finfo(np.float32).min)  # added to the scores of tokens that are not there
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Sizes(NamedTuple):
    """The sizes of an encoder."""

    layers: int
    heads: int
    hidden: int


@dataclass
class _Graph:
    """Nodes and constants, each named after the tensor that it gives."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = value
        return name


def sizes_of(weights: Mapping[str, np.ndarray], heads: int) -> Sizes:
    """Return the sizes that the tensors have; ModelError if one is missing or they do not fit."""
    table = weights.get("embeddings.word_embeddings.weight")
    if table is None or table.ndim != 2 or table.shape[1] % heads:
        raise ModelError("these are not the tensors of a BERT encoder")
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    return Sizes(layers, heads, int(table.shape[1]))


def build_graph(
    weights: Mapping[str, np.ndarray], heads: int, classifier: tuple[np.ndarray, np.ndarray] | None = None
) -> onnx.ModelProto:
    """Return the network: codes of tokens (batch, sequence) -> ``embedding`` (batch, hidden), of length 1.

    With a ``classifier``, weights (classes, hidden) and bias (classes,), the output is ``probabilities``
    (batch, classes), the softmax of ``logits``.
    """
    sizes, graph = sizes_of(weights, heads), _Graph()
    try:
        states = _embeddings(graph, weights)
        allowed = _mask(graph)
        for layer in range(sizes.layers):
            states = _layer(graph, weights, f"encoder.layer.{layer}", states, allowed, sizes)
    except KeyError as error:
        raise ModelError(f"the checkpoint has no tensor {error.args[0]!r}") from error
    embedding = _sentence(graph, states)
    if classifier is None:
        output = helper.make_tensor_value_info(embedding, TensorProto.FLOAT, ["batch", sizes.hidden])
    else:
        output = _classifier(graph, embedding, classifier)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in INPUTS]
    constants = [numpy_helper.from_array(value, name) for name, value in graph.constants.items()]
    return helper.make_model(
        helper.make_graph(graph.nodes, "bert", inputs, [output], constants),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="onnxplain",
    )


def _embeddings(graph: _Graph, weights: Mapping[str, np.ndarray]) -> str:
    """Add the embeddings of tokens, types and places, normalised."""
    parts = []
    for kind, codes in (("word", "input_ids"), ("token_type", "token_type_ids")):
        name = f"embeddings.{kind}_embeddings"
        table = graph.constant(f"{name}.weight", weights[f"{name}.weight"])
        parts.append(graph.add("Gather", [table, codes], name))
    name = "embeddings.position_embeddings"
    table = graph.constant(f"{name}.weight", weights[f"{name}.weight"])
    graph.add("Shape", ["input_ids"], "sequence_length", start=1, end=2)
    begin, axis = graph.constant("first_place", np.zeros(1, np.int64)), graph.constant("axis_0", np.zeros(1, np.int64))
    graph.add("Slice", [table, begin, "sequence_length", axis], name)
    graph.add("Add", parts, "embeddings.sum")
    graph.add("Add", ["embeddings.sum", name], "embeddings.sum_with_places")
    return _normalised(graph, weights, "embeddings", "embeddings.sum_with_places")


def _mask(graph: _Graph) -> str:
    """Add ``(1 - mask) * lowest`` (batch, 1, 1, sequence), which is added to the scores of attention."""
    graph.add("Cast", ["attention_mask"], "mask.float", to=TensorProto.FLOAT)
    graph.add("Unsqueeze", ["mask.float", graph.constant("axes_1_2", np.array([1, 2]))], "mask.broad")
    graph.add("Sub", [graph.constant("one", np.ones((), np.float32)), "mask.broad"], "mask.absent")
    return graph.add("Mul", ["mask.absent", graph.constant("lowest", np.full((), LOWEST, np.float32))], "mask.scores")


def _layer(
    graph: _Graph, weights: Mapping[str, np.ndarray], layer: str, states: str, allowed: str, sizes: Sizes
) -> str:
    attention = f"{layer}.attention"
    split = graph.constant("split_heads", np.array([0, 0, sizes.heads, sizes.hidden // sizes.heads]))
    heads = {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        name = f"{attention}.self.{part}"
        _linear(graph, weights, name, states)
        graph.add("Reshape", [name, split], f"{name}.heads")
        heads[part] = graph.add("Transpose", [f"{name}.heads"], f"{name}.first", perm=order)
    name = f"{attention}.self"
    graph.add("MatMul", [heads["query"], heads["key"]], f"{name}.products")
    scale = graph.constant("root_of_head", np.full((), math.sqrt(sizes.hidden // sizes.heads), np.float32))
    graph.add("Div", [f"{name}.products", scale], f"{name}.scaled")
    graph.add("Add", [f"{name}.scaled", allowed], f"{name}.scores")
    graph.add("Softmax", [f"{name}.scores"], f"{name}.weights", axis=-1)
    graph.add("MatMul", [f"{name}.weights", heads["value"]], f"{name}.context")
    graph.add("Transpose", [f"{name}.context"], f"{name}.context_last", perm=[0, 2, 1, 3])
    joined = graph.constant("join_heads", np.array([0, 0, sizes.hidden]))
    graph.add("Reshape", [f"{name}.context_last", joined], f"{name}.joined")
    _linear(graph, weights, f"{attention}.output.dense", f"{name}.joined")
    graph.add("Add", [f"{attention}.output.dense", states], f"{attention}.output.sum")
    attended = _normalised(graph, weights, f"{attention}.output", f"{attention}.output.sum")
    wide = _gelu(graph, _linear(graph, weights, f"{layer}.intermediate.dense", attended))
    _linear(graph, weights, f"{layer}.output.dense", wide)
    graph.add("Add", [f"{layer}.output.dense", attended], f"{layer}.output.sum")
    return _normalised(graph, weights, f"{layer}.output", f"{layer}.output.sum")


def _linear(graph: _Graph, weights: Mapping[str, np.ndarray], name: str, x: str) -> str:
    matrix = graph.constant(f"{name}.weight", np.ascontiguousarray(weights[f"{name}.weight"].T))
    bias = graph.constant(f"{name}.bias", weights[f"{name}.bias"])
    graph.add("MatMul", [x, matrix], f"{name}.product")
    return graph.add("Add", [f"{name}.product", bias], name)


def _normalised(graph: _Graph, weights: Mapping[str, np.ndarray], name: str, x: str) -> str:
    scale, shift = (
        graph.constant(f"{name}.LayerNorm.{p}", weights[f"{name}.LayerNorm.{p}"]) for p in ("weight", "bias")
    )
    return graph.add("LayerNormalization", [x, scale, shift], f"{name}.LayerNorm", axis=-1, epsilon=EPSILON)


def _gelu(graph: _Graph, x: str) -> str:
    """Add ``x (1 + erf(x / sqrt(2))) / 2``."""
    graph.add("Div", [x, graph.constant("root_of_2", np.full((), math.sqrt(2), np.float32))], f"{x}.scaled")
    graph.add("Erf", [f"{x}.scaled"], f"{x}.erf")
    graph.add("Add", [f"{x}.erf", graph.constant("one", np.ones((), np.float32))], f"{x}.erf_plus_1")
    graph.add("Mul", [x, f"{x}.erf_plus_1"], f"{x}.twice")
    return graph.add("Mul", [f"{x}.twice", graph.constant("half", np.full((), 0.5, np.float32))], f"{x}.gelu")


def _sentence(graph: _Graph, states: str) -> str:
    """Add the mean of the states of the tokens that are there, scaled to length 1."""
    graph.add("Unsqueeze", ["mask.float", graph.constant("axis_2", np.array([2]))], "mask.column")
    graph.add("Mul", [states, "mask.column"], "pooling.states")
    axis = graph.constant("axis_1", np.array([1]))
    graph.add("ReduceSum", ["pooling.states", axis], "pooling.sum", keepdims=0)
    graph.add("ReduceSum", ["mask.column", axis], "pooling.count", keepdims=0)
    graph.add("Max", ["pooling.count", graph.constant("one", np.ones((), np.float32))], "pooling.at_least_one")
    graph.add("Div", ["pooling.sum", "pooling.at_least_one"], "pooling.mean")
    graph.add("ReduceL2", ["pooling.mean"], "pooling.length", axes=[1], keepdims=1)
    return graph.add("Div", ["pooling.mean", "pooling.length"], "embedding")


def _classifier(graph: _Graph, embedding: str, classifier: tuple[np.ndarray, np.ndarray]) -> onnx.ValueInfoProto:
    matrix, bias = (np.asarray(part, dtype=np.float32) for part in classifier)
    names = [graph.constant("classifier.weight", matrix), graph.constant("classifier.bias", bias)]
    graph.add("Gemm", [embedding, *names], "logits", transB=1)
    graph.add("Softmax", ["logits"], "probabilities", axis=-1)
    return helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(bias)])
