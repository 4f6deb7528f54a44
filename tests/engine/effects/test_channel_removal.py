"""What is left of a model without some channels: against a network in NumPy whose channels are really gone."""

import dataclasses

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain.engine import graph
from onnxplain.engine.analyses.data import read_study
from onnxplain.engine.effects.channel_removal import Removal
from onnxplain.engine.effects.scores import Judge
from small_graphs import model_of

RNG = np.random.default_rng(7)
W, B, V = (RNG.normal(size=shape).astype(np.float32) for shape in ((6, 4), (6,), (3, 6)))
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = np.maximum(X @ W.T + B, 0) @ V.T


def removal(axes=("batch",), rows=X, labels=None):
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h"]),
        helper.make_node("Add", ["h", "B"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "V"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    kinds = {n: (TensorProto.FLOAT, [*axes, k]) for n, k in (("x", 4), ("y", 3))}
    proto = model_of(nodes, {"x": kinds["x"]}, {"y": kinds["y"]}, {"W": W.T, "B": B, "V": V.T})
    model = onnxplain.load(proto.SerializeToString(), device="cpu", threads=1)
    labels = Y.argmax(1) if labels is None else labels
    study = dataclasses.replace(read_study(model, rows, labels), name="a study")
    judge = Judge.choose("accuracy", study)
    return Removal(study, judge, graph.hidden_channels(model.proto, judge.outputs.tensor))


def without(gone):
    """Return accuracy and mean probability of the true class with channels deleted from the weights."""
    kept = np.setdiff1d(np.arange(6), gone)
    logits = np.maximum(X @ W[kept].T + B[kept], 0) @ V[:, kept].T
    powers = np.exp(logits - logits.max(1, keepdims=True))
    chances = powers / powers.sum(1, keepdims=True)
    return (logits.argmax(1) == Y.argmax(1)).mean(), chances[np.arange(40), Y.argmax(1)].mean()


@pytest.mark.parametrize("axes", [("batch",), (1,), (6,)])
def test_scores_are_those_of_networks_without_the_channels(axes):
    orders = {"one": [np.array([3, 1, 0, 5, 4, 2])], "two": [RNG.permutation(6), RNG.permutation(6)]}
    counts = [0, 1, 3, 6]
    curves, evaluations = removal(axes).curves(orders, counts)
    assert evaluations == 40 * (1 + 3 * 3)
    for name, several in orders.items():
        expected = np.array([[without(order[:count]) for count in counts] for order in several])
        np.testing.assert_allclose(curves[name].scores, expected[..., 0], atol=1e-12)
        np.testing.assert_allclose(curves[name].means, expected[..., 1], rtol=1e-5)
    assert curves["one"].scores[0, 0] == 1


def test_one_row_without_a_batch_axis():
    found = removal(axes=(), rows=X[0], labels=Y[:1].argmax(1))
    curves, _ = found.curves({"one": [np.arange(6)]}, [0, 6])
    assert curves["one"].scores[0, 0] == 1
    np.testing.assert_allclose(curves["one"].means[0, 1], 1 / 3, rtol=1e-6)  # nothing is left but equal chances


def test_progress_counts_rows():
    done = []
    found = removal()
    study = dataclasses.replace(found.study, progress=type("P", (), {"advance": lambda _, n: done.append(n)})())
    _, evaluations = dataclasses.replace(found, study=study).curves({"one": [np.arange(6)]}, [0, 2])
    assert sum(done) == evaluations == 80
