"""The scores that a classifier turns into probabilities inside one node, made tensors of the graph.

Classifiers of ai.onnx.ml apply a softmax or sigmoid themselves (``post_transform``), and a network of one logit writes
``[1 - p, p]``: the logits are nowhere in the graph. Here they are put beside, computed from the same tensors; what
the model gives stays as it is, and a graph that is cut elsewhere does not hold them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, helper

from .rebuild import copy_of, rebuilt
from .structure import all_names, attribute_of, constants, fresh_name, is_default, producers, small_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import ModelProto, TensorProto

ML_DOMAIN = "ai.onnx.ml"
TRANSFORMS = {b"SOFTMAX": "softmax", b"LOGISTIC": "sigmoid"}
MARK = "put beside by onnxplain"  # the doc_string of nodes that are added here

RawScores = dict[str, tuple[str, str]]  # by the name of the probabilities: the tensor before, and softmax or sigmoid


def with_raw_scores(proto: ModelProto) -> tuple[ModelProto, RawScores]:
    """Return the model with the raw scores of its classifiers beside their probabilities, and where these are.

    The given model where there is nothing to add. A classifier is left out where ONNX Runtime's probabilities are not
    the plain softmax or sigmoid of its raw scores: a single score whose weights are all positive is ``[1 - s, s]``.
    """
    if any(is_added(node) for node in proto.graph.node):
        proto = rebuilt(proto, nodes=[node for node in proto.graph.node if not is_added(node)])
    taken = all_names(proto)
    added: list[NodeProto] = []
    found: RawScores = {}
    for probabilities, kind, nodes, raw in (*_classifiers(proto, taken), *_pairs(proto, taken)):
        found[probabilities] = (raw, kind)
        added += nodes
    for node in added:
        node.doc_string = MARK
    if not found:
        return proto, {}
    return rebuilt(proto, nodes=[*proto.graph.node, *added]), found


def is_added(node: NodeProto) -> bool:
    """Say whether a node was put beside the others by ``with_raw_scores``."""
    return node.doc_string == MARK


def _classifiers(proto: ModelProto, taken: set[str]) -> Iterator[tuple[str, str, list[NodeProto], str]]:
    for node in proto.graph.node:
        kind = TRANSFORMS.get(attribute_of(node, "post_transform", b"NONE"))
        if node.domain != ML_DOMAIN or kind is None or len(node.output) < 2 or not _is_plain(node):
            continue
        twin = copy_of(node)
        raw = fresh_name(f"{node.output[1]}/logits", taken)
        twin.name = fresh_name(f"{node.name}/logits", taken)
        twin.output[:] = [fresh_name(f"{node.output[1]}/labels", taken), raw]
        next(a for a in twin.attribute if a.name == "post_transform").s = b"NONE"
        yield node.output[1], kind, [twin], raw


def _is_plain(node: NodeProto) -> bool:
    """Say whether the node transforms one score per class, or one score s of two classes as ``[-s, s]``."""
    if node.op_type == "LinearClassifier":
        return len(attribute_of(node, "intercepts") or ()) == _labels(node) > 1
    if node.op_type != "TreeEnsembleClassifier":
        return False
    scored = set(attribute_of(node, "class_ids") or ())
    if len(scored) > 1:
        return True
    weights = attribute_of(node, "class_weights")
    return _labels(node) == 2 and weights is not None and len(weights) > 0 and min(weights) < 0


def _labels(node: NodeProto) -> int:
    names = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
    return max(len(attribute_of(node, name) or ()) for name in names)


def _pairs(proto: ModelProto, taken: set[str]) -> Iterator[tuple[str, str, list[NodeProto], str]]:
    """Find ``Concat(1 - p, p)`` with p a Sigmoid: the logits are ``Concat(-z, z)``."""
    made_by = producers(proto.graph.node)
    stored = constants(proto.graph.node, proto.graph)
    for node in proto.graph.node:
        logit = _logit(node, made_by, stored) if is_default(node, "Concat") and len(node.input) == 2 else None
        if logit is None:
            continue
        negated, raw = (fresh_name(f"{node.output[0]}/{name}", taken) for name in ("negated", "logits"))
        below = helper.make_node("Neg", [logit], [negated], name=fresh_name(f"{node.name}/negated", taken))
        both = helper.make_node("Concat", [negated, logit], [raw], name=fresh_name(f"{node.name}/logits", taken))
        both.attribute.extend(node.attribute)
        yield node.output[0], "sigmoid", [below, both], raw


def _logit(node: NodeProto, made_by: Mapping[str, NodeProto], stored: Mapping[str, TensorProto]) -> str | None:
    rest, sigmoid = made_by.get(node.input[0]), made_by.get(node.input[1])
    if rest is None or sigmoid is None or not is_default(rest, "Sub") or not is_default(sigmoid, "Sigmoid"):
        return None
    one = small_value(stored[rest.input[0]]) if rest.input[0] in stored else None
    is_rest = one is not None and one.size > 0 and bool(np.all(one == 1)) and rest.input[1] == node.input[1]
    return sigmoid.input[0] if is_rest else None
