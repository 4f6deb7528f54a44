"""Axioms: invariances, non-sensitivity, and completeness as it is measured."""

import dataclasses

import numpy as np
import pytest
from onnx import helper

import onnxplain
from metric_scores import value
from onnxplain import InputError
from oracles.graphs import linear, model, random_dense

X = np.array([[1.0, 2.0, -1.0, 0.5]], dtype=np.float32)


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

    def test_input_invariance_of_a_network_is_that_of_the_baseline_alone(self, digits, zero):
        """The shifted network of the shifted digit is the same function: where the baseline moves along, all stays."""
        given = {"metric": "input-invariance", "settings": {"shift": -0.5}, "features": "grid:4"}
        assert value(digits, zero, "ablation", baseline="mean", **given).value == pytest.approx(0, abs=1e-5)
        assert value(digits, zero, "ablation", baseline=0, **given).value > 0.1

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


class TestCompleteness:
    def test_is_measured_on_the_values_and_not_taken_from_the_method(self):
        onnx = random_dense(0, 4)
        made = onnxplain.explain(onnx, X, "kernel-shap", target=0)
        short = dataclasses.replace(made, feature_values=made.feature_values * 0.75)
        (whole,), (less,) = (onnxplain.evaluate(onnx, made.sample, one, ["completeness"]) for one in (made, short))
        assert whole.value == pytest.approx(0, abs=1e-6)
        assert less.value == pytest.approx(0.25, abs=1e-6)
        assert less.parts["gap"] == pytest.approx(-0.25 * (made.score - made.baseline_score), rel=1e-5)

    def test_what_flows_back_from_the_score_is_compared_with_the_score(self):
        made = onnxplain.explain(linear((4, 2, 1, -1)), X, "ablation", target=0)
        kept = {"x": np.array([[3.0, 3.0, -1.0, -0.5]])}  # 4.5 of a score of 6.5
        relevance = dataclasses.replace(made, values=kept, gap=4.5 - 6.5, baseline_score=None, feature_values=None)
        (score,) = onnxplain.evaluate(linear((4, 2, 1, -1)), made.sample, relevance, ["completeness"])
        assert score.value == pytest.approx(2 / 6.5)
        assert score.parts["score difference"] == pytest.approx(6.5)


class TestShifts:
    """Columns of other units: each is shifted by a reach of its own, and what rounding does is told."""

    def test_a_column_is_shifted_by_its_own_reach(self, tmp_path):
        onnx, x = table(tmp_path, "a,b\n0,1000\n4,9000\n"), np.array([[1.0, 2000.0]], np.float32)
        score = value(onnx, x, "ablation", "input-invariance", target=0, baseline=0)
        weights, reach = np.array([3.0, 2.0]), np.array([4.0, 8000.0])
        expected = np.linalg.norm(weights * reach) / np.linalg.norm(weights * x[0])
        assert score.value == pytest.approx(expected, rel=1e-5)
        assert score.parts["score difference"] == pytest.approx(0, abs=1e-2)

    def test_numbers_that_lose_their_digits_have_no_value(self, tmp_path):
        onnx, x = table(tmp_path, "a,b\n0,0\n1,1\n"), np.array([[1e-5, 2e-5]], np.float32)
        score = value(onnx, x, "ablation", "input-invariance", {"shift": 100.0}, target=0, baseline=0)
        assert np.isnan(score.value)
        assert score.notes[0].startswith("undefined: numbers this far from 0 are too coarse: the score changes")

    def test_methods_of_an_input_share_the_shifted_model(self, digits, zero, monkeypatch):
        from onnxplain.engine.metrics import input_invariance

        made, real = [], input_invariance.altered
        monkeypatch.setattr(input_invariance, "altered", lambda *given: made.append(given) or real(*given))
        alone = [value(digits, zero, name, "input-invariance", {"shift": 0.3}) for name in ("occlusion", "random")]
        assert len(made) == 1
        assert [score.value for score in alone] == [pytest.approx(alone[0].value), 0]


def table(folder, background):
    path = folder / "m.onnx"
    path.write_bytes(linear((3, 2)))
    (folder / "rows.csv").write_text(background)
    path.with_suffix(".toml").write_text(
        'background = "rows.csv"\n[inputs.x]\nmodality = "table"\ncolumns = ["a", "b"]\n'
    )
    return onnxplain.load(path)
