"""The end of a graph: its last activation, its scores and the names of its classes."""

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper

from graph_checks import classifier, ints, normal, run, shapes, unchanged
from onnxplain.engine import graph
from small_graphs import model_of

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


@pytest.mark.parametrize(
    ("op_type", "kind"), [("Softmax", "softmax"), ("LogSoftmax", "log-softmax"), ("Sigmoid", "sigmoid")]
)
def test_final_activation_is_found_behind_reshapes_and_casts(op_type, kind):
    proto = classifier(op_type)
    del proto.graph.output[:]
    proto.graph.node.extend(
        [
            node("Cast", ["y:0"], ["wide"], to=TensorProto.DOUBLE),
            node("Unsqueeze", ["wide", "axes"], ["tall"]),
            node("Flatten", ["tall"], ["flat"]),
            node("Identity", ["flat"], ["out"]),
        ]
    )
    assert graph.final_activation(proto, "out") == ("logits", kind)


def test_final_activation_is_found_behind_quantisation():
    proto = classifier()
    proto.graph.node.append(node("QuantizeLinear", ["y:0", "step", "zero"], ["whole"]))
    proto.graph.node.append(node("DequantizeLinear", ["whole", "step", "zero"], ["out"]))
    assert graph.final_activation(proto, "out") == ("logits", "softmax")
    assert graph.final_activation(proto, "whole") == ("logits", "softmax")


def test_no_activation_is_seen_through_what_moves_or_changes_elements():
    proto = classifier()
    proto.graph.node.append(node("Transpose", ["y:0"], ["turned"], perm=[1, 0]))
    proto.graph.node.append(node("Cast", ["y:0"], ["whole"], to=INT64))
    assert graph.final_activation(proto, "turned") is None
    assert graph.final_activation(proto, "whole") is None
    assert graph.logits_tensor(proto, "logits") is None


@pytest.mark.parametrize("shifted", [False, True])
def test_a_softmax_in_pieces_is_recognised(shifted):
    head = [node("ReduceMax", ["z"], ["top"], axes=[1]), node("Sub", ["z", "top"], ["d"])] if shifted else []
    proto = model_of(
        [
            node("MatMul", ["x", "w"], ["z"]),
            *head,
            node("Exp", ["d" if shifted else "z"], ["e"]),
            node("ReduceSum", ["e", "one"], ["s"]),
            node("Div", ["e", "s"], ["y"]),
        ],
        {"x": (FLOAT, ["n", 4])},
        {"y": (FLOAT, ["n", 3])},
        {"w": normal(4, 3), "one": ints(1)},
    )
    assert graph.final_activation(proto, "y") == ("z", "softmax")


def test_a_sigmoid_in_pieces_is_recognised_and_other_sums_are_not():
    def logistic(one):
        return model_of(
            [
                node("Neg", ["x"], ["m"]),
                node("Exp", ["m"], ["e"]),
                node("Add", ["e", "one"], ["s"]),
                node("Reciprocal", ["s"], ["y"]),
            ],
            {"x": (FLOAT, ["n", 4])},
            {"y": (FLOAT, ["n", 4])},
            {"one": np.float32(one)},
        )

    assert graph.final_activation(logistic(1), "y") == ("x", "sigmoid")
    assert graph.final_activation(logistic(2), "y") is None


def fitted(estimator, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skl2onnx import to_onnx

        rows = normal(60, 4)
        rows[:, 0] += np.arange(60) % len(labels)
        estimator.fit(rows, np.array(labels)[np.arange(60) % len(labels)])
        return to_onnx(estimator, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}), rows, estimator


def estimators():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    return {
        "linear": LogisticRegression(),
        "forest": RandomForestClassifier(5, random_state=0),
        "network": MLPClassifier((4,), max_iter=20, random_state=0),
    }


@pytest.mark.parametrize("name", ["linear", "forest", "network"])
@pytest.mark.parametrize("labels", [["cat", "dog", "owl"], [10, 20, 30], ["no", "yes"]])
def test_zipmap_becomes_the_tensor_of_probabilities(name, labels):
    proto, rows, estimator = fitted(estimators()[name], labels)
    with unchanged(proto):
        plain, found = graph.drop_zipmap(proto)
    assert found == {"output_probability": tuple(str(label) for label in labels)}
    assert shapes(plain.graph.output)[1][1] == len(labels)
    (probabilities,) = run(plain, {"X": rows}, ["output_probability"])
    assert np.allclose(probabilities, estimator.predict_proba(rows), atol=1e-5)
    assert graph.class_labels(plain) == graph.class_labels(proto) == found["output_probability"]


def test_class_labels_come_from_the_classifier_that_feeds_the_label():
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    proto, _, _ = fitted(OneVsRestClassifier(LogisticRegression()), ["a", "b", "c"])  # three classifiers of 0 and 1
    assert graph.class_labels(graph.drop_zipmap(proto)[0]) == ("a", "b", "c")
    assert graph.class_labels(classifier()) == ()


def test_functions_are_put_where_they_are_called_so_that_their_softmax_is_found():
    proto = model_of(
        [node("Head", ["x", "w"], ["y"], domain="own")],
        {"x": (FLOAT, ["n", 3])},
        {"y": (FLOAT, ["n", 4])},
        {"w": normal(3, 4)},
        domains={"own": 1},
    )
    body = [node("MatMul", ["a", "b"], ["t"]), node("Softmax", ["t"], ["p"])]
    proto.functions.append(helper.make_function("own", "Head", ["a", "b"], ["p"], body, [helper.make_opsetid("", 17)]))
    assert graph.final_activation(proto, "y") is None
    with unchanged(proto):
        plain = graph.normalise(proto)
    logits, kind = graph.final_activation(plain, "y")
    assert kind == "softmax"
    x = normal(2, 3)
    scores = np.exp(run(graph.tap(plain, [logits]), {"x": x})[0])
    np.testing.assert_allclose(scores / scores.sum(axis=1, keepdims=True), run(proto, {"x": x})[0], rtol=1e-5)


def columns_model(*starts):
    nodes = [node("MatMul", ["x", "w"], ["scores"])]
    for k, start in enumerate(starts):
        nodes += [
            node("Slice", ["scores", f"n{start}", f"n{start + 1}", "n1"], [f"s{k}"]),
            node("Reshape", [f"s{k}", "flat"], [f"y{k}"]),
        ]
    numbers = {f"n{k}": ints(k) for k in range(4)}
    return model_of(
        nodes,
        {"x": (FLOAT, ["n", 2])},
        {f"y{k}": (FLOAT, ["n"]) for k in range(len(starts))},
        {"w": normal(2, 3), "flat": ints(-1), **numbers},
    )


@pytest.mark.parametrize(("starts", "found"), [((0, 1, 2), "scores"), ((1, 0), None), ((0, 2), None), ((0,), None)])
def test_scores_that_outputs_are_the_columns_of_are_found(starts, found):
    assert graph.split_scores(columns_model(*starts)) == found
