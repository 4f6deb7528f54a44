"""The scores that classifiers turn into probabilities inside one node, against scikit-learn's decision functions."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import scale

import onnxplain
from onnxplain.engine import graph
from onnxplain.engine.metrics.altered import altered
from small_graphs import model_of

to_onnx = pytest.importorskip("skl2onnx").to_onnx

SETS = {2: load_breast_cancer, 3: load_wine}


def fitted(estimator, classes):
    rows, labels = SETS[classes](return_X_y=True)
    rows = scale(rows).astype(np.float32)
    return rows, estimator.fit(rows, labels)


def opened(estimator, rows, *, zipmap=False):
    proto = to_onnx(estimator, rows[:1], options={id(estimator): {"zipmap": zipmap}})
    return onnxplain.load(proto.SerializeToString())


def raw_of(model, rows):
    tensor, kind = model.final_activation(model.default_output)
    found = model.activations(rows, [tensor, model.default_output])
    return found[tensor], found[model.default_output], kind


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize(
    ("estimator", "classes"),
    [
        (LogisticRegression(), 2),
        (LogisticRegression(), 3),
        (GradientBoostingClassifier(n_estimators=5, random_state=0), 2),
        (GradientBoostingClassifier(n_estimators=5, random_state=0), 3),
    ],
)
def test_raw_scores_are_the_decision_function(estimator, classes, zipmap):
    rows, estimator = fitted(estimator, classes)
    raw, probabilities, kind = raw_of(opened(estimator, rows, zipmap=zipmap), rows)
    expected = estimator.decision_function(rows)
    if classes == 2:
        assert kind == "sigmoid"
        expected = np.stack([-expected, expected], axis=1)
    np.testing.assert_allclose(raw, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(probabilities, estimator.predict_proba(rows), atol=1e-5)


def test_a_network_of_one_logit_has_two_raw_scores():
    rows, network = fitted(MLPClassifier((4,), max_iter=400, tol=0.01, random_state=0), 2)
    raw, probabilities, kind = raw_of(opened(network, rows), rows)
    assert kind == "sigmoid"
    expected = network.predict_proba(rows)
    sure = np.abs(expected[:, 0] - 0.5) < 0.499
    logit = np.log(expected[sure, 1] / expected[sure, 0])
    np.testing.assert_allclose(raw[sure], np.stack([-logit, logit], axis=1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize(
    "estimator", [RandomForestClassifier(3, random_state=0), OneVsRestClassifier(LogisticRegression())]
)
def test_what_is_no_softmax_of_raw_scores_has_none(estimator):
    rows, estimator = fitted(estimator, 3)
    model = opened(estimator, rows)
    assert model.final_activation(model.default_output) is None


def stump(low, high, transform="LOGISTIC"):
    """One tree of one split that scores the second of two classes, as XGBoost's exporter writes it."""
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "p"],
        domain="ai.onnx.ml",
        post_transform=transform,
        classlabels_int64s=[0, 1],
        class_ids=[0, 0],
        class_nodeids=[1, 2],
        class_treeids=[0, 0],
        class_weights=[low, high],
        nodes_falsenodeids=[2, 0, 0],
        nodes_truenodeids=[1, 0, 0],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_nodeids=[0, 1, 2],
        nodes_treeids=[0, 0, 0],
        nodes_values=[0.5, 0.0, 0.0],
    )
    inputs = {"x": (TensorProto.FLOAT, ["N", 1])}
    outputs = {"label": (TensorProto.INT64, ["N"]), "p": (TensorProto.FLOAT, ["N", 2])}
    return model_of([node], inputs, outputs, domains={"ai.onnx.ml": 3})


def test_a_tree_with_one_score_for_two_classes():
    raw, probabilities, kind = raw_of(onnxplain.load(stump(-1.5, 2.0).SerializeToString()), np.float32([[0], [1]]))
    assert kind == "sigmoid"
    np.testing.assert_allclose(raw, [[1.5, -1.5], [-2, 2]])
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-raw)), rtol=1e-6)


def test_a_tree_whose_weights_are_all_positive_is_left_alone():
    """ONNX Runtime takes its score for the probability itself, whatever the transformation says."""
    proto = stump(0.25, 0.75)
    assert graph.with_raw_scores(proto) == (proto, {})


@pytest.mark.parametrize("name", ["class_ids", "class_weights", "post_transform"])
def test_attributes_of_a_damaged_file_are_no_hindrance_here(name):
    proto = stump(-1.5, 2.0)
    damaged = next(a for a in proto.graph.node[0].attribute if a.name == name)
    damaged.CopyFrom(helper.make_attribute(name, 3))
    graph.with_raw_scores(proto)
    with pytest.raises(onnxplain.OnnxplainError):
        onnxplain.load(proto.SerializeToString()).predict(np.float32([[0]]))


def test_shapley_values_of_a_logistic_regression_are_its_weights_times_the_distance():
    rows, regression = fitted(LogisticRegression(), 2)
    model = opened(regression, rows)
    found = onnxplain.explain(model, rows[0], "kernel-shap", baseline=rows[1], budget=200)
    sign = 1 if regression.decision_function(rows[:1])[0] > 0 else -1
    expected = sign * regression.coef_[0] * (rows[0] - rows[1])
    np.testing.assert_allclose(found.feature_values, expected, rtol=1e-3, atol=1e-3)


def test_randomised_weights_are_those_of_the_probabilities_too():
    rows, regression = fitted(LogisticRegression(), 3)
    model = opened(regression, rows)
    (layer,) = graph.layers(model.proto)
    again = altered(model, graph.randomised(model.proto, [layer], 0))
    assert again.final_activation(again.default_output) == model.final_activation(model.default_output)
    assert len(again.proto.graph.node) == len(model.proto.graph.node)
    raw, probabilities, _ = raw_of(again, rows)
    grown = np.exp(raw - raw.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, grown / grown.sum(axis=1, keepdims=True), atol=1e-5)
    assert not np.allclose(raw, raw_of(model, rows)[0])
