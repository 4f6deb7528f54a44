"""The scores that a classifier turns into probabilities inside one node, made tensors of the graph.

Classifiers of ai.onnx.ml apply a softmax or sigmoid themselves (``post_transform``), and a network of one logit writes
``[1 - p, p]``: the logits are nowhere in the graph. Here they are put beside, computed from the same tensors; what
the model gives stays as it is, and a graph that is cut elsewhere does not hold them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import NodeProto, helper

from .rebuild import copy_of, rebuilt
from .structure import (
    LABEL_ATTRIBUTES,
    ML_DOMAIN,
    all_names,
    attribute_of,
    constants,
    fresh_name,
    is_default,
    is_one,
    producers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

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
    classifiers = [node for node in proto.graph.node if _transforms(node) is not None and _is_plain(node)]
    pairs = _pairs(proto)
    if not classifiers and not pairs:
        return proto, {}
    taken = all_names(proto)
    added: list[NodeProto] = []
    found: RawScores = {}
    for node in classifiers:
        raw = fresh_name(f"{node.output[1]}/logits", taken)
        found[node.output[1]] = raw, str(_transforms(node))
        added.append(_untransformed(node, raw, taken))
    for node, logit in pairs:
        raw = fresh_name(f"{node.output[0]}/logits", taken)
        found[node.output[0]] = raw, "sigmoid"
        added += _negated_beside(node, logit, raw, taken)
    for node in added:
        node.doc_string = MARK
    return rebuilt(proto, nodes=[*proto.graph.node, *added]), found


def is_added(node: NodeProto) -> bool:
    """Say whether a node was put beside the others by ``with_raw_scores``."""
    return node.doc_string == MARK


def _transforms(node: NodeProto) -> str | None:
    """Return what a classifier does to its scores, softmax or sigmoid; None where that is something else or nothing."""
    if node.domain != ML_DOMAIN or len(node.output) < 2:
        return None
    named = attribute_of(node, "post_transform")
    return TRANSFORMS.get(named) if isinstance(named, bytes) else None


def _untransformed(node: NodeProto, raw: str, taken: set[str]) -> NodeProto:
    twin = copy_of(node)
    twin.name = fresh_name(f"{node.name}/logits", taken)
    twin.output[:] = [fresh_name(f"{node.output[1]}/labels", taken), raw]
    next(a for a in twin.attribute if a.name == "post_transform").s = b"NONE"
    return twin


def _negated_beside(node: NodeProto, logit: str, raw: str, taken: set[str]) -> list[NodeProto]:
    negated = fresh_name(f"{node.output[0]}/negated", taken)
    below = helper.make_node("Neg", [logit], [negated], name=fresh_name(f"{node.name}/negated", taken))
    both = helper.make_node("Concat", [negated, logit], [raw], name=fresh_name(f"{node.name}/logits", taken))
    both.attribute.extend(node.attribute)
    return [below, both]


def _is_plain(node: NodeProto) -> bool:
    """Say whether the node transforms one score per class, or one score s of two classes as ``[-s, s]``."""
    labels = max(len(_list(node, name)) for name in LABEL_ATTRIBUTES)
    if node.op_type == "LinearClassifier":
        return len(_list(node, "intercepts")) == labels > 1
    if node.op_type != "TreeEnsembleClassifier":
        return False
    weights = _list(node, "class_weights")
    return len(set(_list(node, "class_ids"))) > 1 or (labels == 2 and min(weights, default=0) < 0)


def _list(node: NodeProto, name: str) -> Sequence[Any]:
    """Return an attribute that holds a list; nothing where it is missing, or something else in a damaged file."""
    found = attribute_of(node, name)
    return found if isinstance(found, list | tuple) else ()


def _pairs(proto: ModelProto) -> list[tuple[NodeProto, str]]:
    """Return each ``Concat(1 - p, p)`` with p a Sigmoid, and its input z: the logits are ``Concat(-z, z)``."""
    sigmoids = (node for node in proto.graph.node if is_default(node, "Sigmoid") and node.input)
    logits = {name: node.input[0] for node in sigmoids for name in node.output}
    joined = [node for node in proto.graph.node if is_default(node, "Concat") and len(node.input) == 2 and node.output]
    joined = [node for node in joined if node.input[1] in logits]
    if not joined:
        return []
    made_by = producers(proto.graph.node)
    stored = constants(proto.graph.node, proto.graph)
    rests = ((node, made_by.get(node.input[0])) for node in joined)
    return [
        (node, logits[node.input[1]])
        for node, rest in rests
        if rest is not None and is_default(rest, "Sub") and len(rest.input) == 2
        if is_one(rest.input[0], stored) and rest.input[1] == node.input[1]
    ]
