"""Sanity, robustness, axioms and consistency: metrics that explain again with something changed."""

import math

import numpy as np
import pytest
from onnx import helper

import onnxplain
from onnxplain import CapabilityError, InputError, SettingError
from oracles.graphs import linear, model, random_dense

X = np.array([[1.0, 2.0, -1.0, 0.5]], dtype=np.float32)


@pytest.fixture(scope="module")
def digits():
    return onnxplain.load(onnxplain.models.path("digits-cnn"))


@pytest.fixture(scope="module")
def zero():
    return next(str(p) for p in onnxplain.models.samples("digits-cnn"))


def value(onnx, x, method, metric, settings=None, target="top", **given):
    (score,) = onnxplain.evaluate(onnx, x, method, [(metric, settings or {})], target=target, **given)
    return score


class TestParameterRandomisation:
    def test_a_control_looks_the_same_whatever_the_weights(self, digits, zero):
        for name in ("random", "edges"):
            score = value(digits, zero, name, "parameter-randomisation")
            assert score.value == pytest.approx(1)
            np.testing.assert_allclose(score.curve[1], 1)

    def test_an_explanation_of_the_model_changes(self, digits, zero):
        score = value(digits, zero, "occlusion", "parameter-randomisation", window=2)
        assert score.value < 0.7
        np.testing.assert_array_equal(score.curve[0], [0, 1, 2, 3, 4])  # four layers, from the output on
        assert score.curve[1][0] == 1
        assert score.evaluations == 4 * (1 + 7 * 7)

    def test_the_cascade_of_a_linear_model_is_the_correlation_with_its_new_weights(self):
        """Ablation of w x is w_i x_i: with x of ones, the map is the weights."""
        weights = np.random.default_rng(0).normal(size=12)
        onnx = linear(tuple(weights))
        found = onnxplain.load(onnx)
        from onnxplain.engine import graph

        (layer,) = graph.layers(found.proto)
        drawn = graph.randomised(found.proto, [layer], 0)
        new = onnxplain.load(drawn.SerializeToString()).predict(np.eye(12, dtype=np.float32))["y"].ravel()
        expected = np.corrcoef(weights, new)[0, 1]
        settings = {"similarity": "pearson"}
        score = value(onnx, np.ones((1, 12), np.float32), "ablation", "parameter-randomisation", settings, target=0)
        assert score.value == pytest.approx(expected, abs=1e-4)

    def test_single_layers(self, digits, zero):
        score = value(digits, zero, "occlusion", "parameter-randomisation", {"order": "independent", "stages": 2})
        np.testing.assert_array_equal(score.curve[0], [0, 1, 4])

    def test_a_model_without_weights_is_refused(self):
        nodes = [helper.make_node("ReduceSum", ["x", "a"], ["y"], keepdims=1)]
        onnx = model(nodes, {"x": ["batch", 4]}, {"y": ["batch", 1]}, {"a": np.array([1])})
        with pytest.raises(CapabilityError, match="no weights that could be randomised"):
            value(onnx, X, "ablation", "parameter-randomisation", target=0)


def two_classes(first, second):
    """Two linear scores."""
    nodes = [helper.make_node("Gemm", ["x", "W"], ["y"], transB=1)]
    weights = np.array([first, second], dtype=np.float32)
    return model(nodes, {"x": ["batch", len(first)]}, {"y": ["batch", 2]}, {"W": weights})


def test_random_logit_of_linear_classes_is_the_correlation_of_their_contributions():
    first, second = (4, 2, 1, -1), (1, 2, 3, 4)
    score = value(two_classes(first, second), X, "ablation", "random-logit", {"similarity": "pearson"}, target=0)
    assert score.value == pytest.approx(np.corrcoef(first * X[0], second * X[0])[0, 1], abs=1e-5)
    assert score.parts["other class"] == 1


def test_random_logit_needs_another_class():
    with pytest.raises(CapabilityError, match="other classes beside it"):
        value(linear((1, 2, 3, 4)), X, "ablation", "random-logit", target=0)
    with pytest.raises(SettingError, match="another class from 0 to 1 than 0"):
        value(two_classes((1, 2, 3, 4), (1, 1, 1, 1)), X, "ablation", "random-logit", {"other": 0}, target=0)


@pytest.mark.parametrize("metric", ["data-randomisation", "model-agreement"])
def test_another_model_is_compared_with(metric, tmp_path):
    first, other = two_classes((4, 2, 1, -1), (0, 0, 0, 1)), two_classes((1, 2, 3, 4), (0, 0, 0, 1))
    (tmp_path / "other.onnx").write_bytes(other)
    settings = {"model": str(tmp_path / "other.onnx"), "similarity": "pearson"}
    score = value(first, X, "ablation", metric, settings, target=0)
    expected = np.corrcoef((4, 2, 1, -1) * X[0], (1, 2, 3, 4) * X[0])[0, 1]
    assert score.value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("metric", ["data-randomisation", "model-agreement"])
def test_the_other_model_must_be_given_and_take_the_same_inputs(metric):
    with pytest.raises(SettingError, match=f"{metric} needs a"):
        value(linear((1, 2, 3, 4)), X, "ablation", metric, target=0)
    nodes = [helper.make_node("Gemm", ["z", "W"], ["y"], transB=1)]
    other = model(nodes, {"z": ["batch", 4]}, {"y": ["batch", 1]}, {"W": np.ones((1, 4), np.float32)})
    with pytest.raises(InputError, match="takes other inputs: z"):
        value(linear((1, 2, 3, 4)), X, "ablation", metric, {"model": onnxplain.load(other)}, target=0)


def test_seed_agreement_is_one_where_the_seed_does_not_matter_and_grows_with_the_budget(digits, zero):
    still = value(digits, zero, "occlusion", "seed-agreement")
    assert still.value == pytest.approx(1)
    assert still.notes == ("the method does not depend on the seed",)
    few, many = (value(digits, zero, "rise", "seed-agreement", masks=n).value for n in (40, 2000))
    assert few < many < 1
    assert value(digits, zero, "random", "seed-agreement").value == pytest.approx(0, abs=0.3)


def test_a_map_that_never_changes_is_stable(digits, zero):
    assert value(digits, zero, "random", "max-sensitivity").value == 0
    assert value(digits, zero, "occlusion", "max-sensitivity").value > 0


def test_max_sensitivity_of_contributions_of_a_linear_model():
    """Ablation of w x at x + d is w (x + d): it moves by w d."""
    changes = np.array([[0.1, 0, 0, 0], [0, 0, 0, -0.3]])
    weights = np.array([4, 2, 1, -1])
    settings = {"perturbations": changes, "relative": "none"}
    score = value(linear(tuple(weights)), X, "ablation", "max-sensitivity", settings, target=0)
    assert score.value == pytest.approx(0.4, rel=1e-5)
    steepest = value(linear(tuple(weights)), X, "ablation", "local-lipschitz", {"perturbations": changes}, target=0)
    assert steepest.value == pytest.approx(4, rel=1e-5)


class TestAxioms:
    def test_input_invariance_of_contributions_depends_on_the_baseline(self):
        """With a baseline that moves along the contributions stay; with a fixed zero they become w (x + s)."""
        weights = np.array([4.0, 2, 1, -1])
        nodes = [helper.make_node("Flatten", ["image"], ["f"]), helper.make_node("Gemm", ["f", "W"], ["y"], transB=1)]
        stored = {"W": weights[None].astype(np.float32)}
        onnx = model(nodes, {"image": ["batch", 1, 2, 2]}, {"y": ["batch", 1]}, stored)
        settings = {"target": 0, "features": "pixels"}
        fixed = value(onnx, X.reshape(1, 1, 2, 2), "ablation", "input-invariance", baseline=0, **settings)
        shift = 3.0  # the input's range, from -1 to 2
        assert fixed.value == pytest.approx(np.linalg.norm(weights * shift) / np.linalg.norm(weights * X[0]), rel=1e-5)
        moving = value(onnx, X.reshape(1, 1, 2, 2), "ablation", "input-invariance", baseline="mean", **settings)
        assert moving.value == pytest.approx(0, abs=1e-5)

    def test_another_graph_of_the_same_function_has_the_same_black_box_explanation(self, digits, zero):
        score = value(digits, zero, "occlusion", "implementation-invariance")
        assert score.value == pytest.approx(0, abs=1e-6)
        assert score.parts["score difference"] == pytest.approx(0, abs=1e-5)

    def test_a_graph_of_another_function_is_refused(self):
        other = onnxplain.load(linear((4, 3, 1, -1)))
        with pytest.raises(InputError, match="the other graph is another function"):
            value(linear((4, 2, 1, -1)), X, "ablation", "implementation-invariance", {"model": other}, target=0)

    def test_non_sensitivity_counts_both_ways(self):
        """Weights (4, 0, 1, 0): phi is silent on feature 2, which matters, and loud on feature 3, which does not."""
        phi = np.array([4, 0, 0, 2.0])
        (score,) = onnxplain.evaluate(linear((4, 0, 1, 0)), X, phi, ["non-sensitivity"], target=0)
        assert score.value == 0.5
        assert score.parts == {"silent but matter": 1, "loud but idle": 1}


def test_method_agreement_is_the_matrix_of_rank_correlations():
    onnx = random_dense(0, 6)
    x = np.random.default_rng(1).normal(size=(1, 6)).astype(np.float32)
    score = value(onnx, x, "ablation", "method-agreement", {"others": "exact-shapley,ablation"}, target=0)
    assert score.parts["ablation"] == pytest.approx(1)
    assert score.value == pytest.approx(np.mean(list(score.parts.values())))
    with pytest.raises(CapabilityError, match="there is no other one"):
        value(onnx, x, "ablation", "method-agreement", target=0)


def test_provider_agreement_needs_another_device():
    with pytest.raises(CapabilityError, match="runs on cpu already"):
        value(onnxplain.load(linear((1, 2, 3, 4)), device="cpu"), X, "ablation", "provider-agreement", target=0)


def test_a_randomised_model_that_overflows_loses_the_stage_and_says_so():
    """exp of a hundred times the weights: finite for these weights, infinite for most others."""
    nodes = [
        helper.make_node("Gemm", ["x", "W"], ["z"], transB=1),
        helper.make_node("Mul", ["z", "big"], ["zz"]),
        helper.make_node("Exp", ["zz"], ["y"]),
    ]
    rng = np.random.default_rng(5)
    weights = {"W": (rng.normal(size=(1, 4)) * 50).astype(np.float32), "big": np.array([1.0], np.float32)}
    weights["W"][0, :] = [-60, -60, 60, 60]
    onnx = model(nodes, {"x": ["batch", 4]}, {"y": ["batch", 1]}, weights)
    found = [
        onnxplain.evaluate(onnx, X, "ablation", ["parameter-randomisation"], target=0, seed=seed)[0]
        for seed in range(6)
    ]
    lost = [score for score in found if math.isnan(score.value)]
    assert lost
    assert all("a stage is left out" in " ".join(score.notes) for score in lost)
