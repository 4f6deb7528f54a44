"""Infidelity: of contributions and of gradients, and what a figure may tell of instead."""

import dataclasses
import itertools

import numpy as np
import pytest

import onnxplain
from oracles.graphs import linear, quadratic


def test_exact_shapley_values_of_a_product_have_the_infidelity_of_an_enumeration():
    """phi of x1 x2 + x3 is (1, 1, 3) at (1, 2, 3); over all sets the gaps are 1 for {1} and {2}, and with 3."""
    x = np.array([[1, 2, 3]], np.float32)
    model = quadratic(3, {2: 1}, {(0, 1): 1})
    metrics = [("infidelity", {"samples": 4000})]
    (score,) = onnxplain.evaluate(model, x, "exact-shapley", metrics, target=0, baseline=0)
    # half of the features at random, the empty set replaced by one feature: {1} {2} {3} {12} {13} {23} {123} and again
    expected = np.mean(
        [
            (s @ [1, 1, 3] - (5 - drop(x[0], s))) ** 2
            for s in map(np.array, itertools.product((0, 1), repeat=3))
            if s.any()
        ]
    )
    assert score.value == pytest.approx(expected * 7 / 8 + np.mean([1, 1, 0]) / 8, abs=0.12)


def drop(x, removed):
    x1, x2, x3 = x * (1 - removed)
    return x1 * x2 + x3


def test_gradients_are_judged_by_differences_of_the_input():
    weights = (4.0, 2, 1, -1)
    x = np.array([[1.0, 3, -2, 5]], np.float32)
    for perturbation in ("removal", "noise"):
        settings = {"values": "gradient", "perturbation": perturbation, "baseline": [0.5, 0.5, 0.5, 0.5]}
        (score,) = onnxplain.evaluate(linear(weights), x, np.array(weights), [("infidelity", settings)], target=0)
        assert score.value == pytest.approx(0, abs=1e-8)
        assert score.parts["factor"] == pytest.approx(1, abs=1e-5)


def test_what_noise_cannot_say_of_contributions_is_refused():
    x = np.ones((1, 2), np.float32)
    with pytest.raises(onnxplain.SettingError, match="attributions that are gradients"):
        onnxplain.evaluate(linear((1, 2)), x, np.ones(2), [("infidelity", {"perturbation": "noise"})], target=0)


class TestDoubtsAboutInfidelity:
    ONNX = quadratic(3, {2: 1}, {(0, 1): 1})
    X = np.array([[1, 2, 3]], np.float32)

    def infidelity(self, phi, gap=None, **settings):
        made = onnxplain.explain(self.ONNX, self.X, "ablation", target=0)
        values = {"x": np.array([phi], float)}
        made = dataclasses.replace(made, values=values, gap=gap, feature_values=None, feature_labels={})
        (score,) = onnxplain.evaluate(self.ONNX, made.sample, made, [("infidelity", settings)])
        return score

    def test_a_figure_below_the_square_of_the_completeness_gap_may_be_quadrature_error_alone(self):
        score = self.infidelity([1, 1, 3.5], gap=2.0)
        assert score.value < 4
        assert any("completeness gap" in note for note in score.notes)
        assert not any("completeness gap" in note for note in self.infidelity([1, 1, 3.5], gap=0.01).notes)
        assert not any("completeness gap" in note for note in self.infidelity([1, 1, 3.5]).notes)

    def test_attributions_in_another_unit_are_said_to_be(self):
        assert any("not in the unit" in note for note in self.infidelity([100, 100, 300]).notes)
        assert self.infidelity([1, 1, 3]).notes == ()
        assert self.infidelity([100, 100, 300], scaled=True).notes == ()


def test_given_sets_are_numbers_of_features_or_flags():
    def correlation(sets):
        metrics = [("faithfulness-correlation", {"sets": sets})]
        return onnxplain.evaluate(linear((4, 2, 1)), [1, 1, 1], [4, 1, 3], metrics, target=0)[0].value

    flags = [[True, False, False], [False, True, True], [True, True, False]]
    expected = np.corrcoef([4, 4, 5], [4, 3, 6])[0, 1]
    assert correlation([[0], [1, 2], [0, 1]]) == pytest.approx(expected)
    assert correlation(flags) == correlation(np.array(flags)) == pytest.approx(expected)
    for wrong in ([[0], [3]], [[0], [-1]], [[0.5], [1]], [[], [1]], "sets.txt", [[0], "a"]):
        with pytest.raises(onnxplain.SettingError, match=r"faithfulness-correlation\.sets"):
            correlation(wrong)


@pytest.mark.parametrize(
    ("metric", "settings"),
    [
        ("sensitivity-n", {"sizes": []}),
        ("sensitivity-n", {"sizes": [4]}),
        ("method-agreement", {"others": np.array(["a", "b", "c"])}),
        ("max-sensitivity", {"perturbations": {1: [[0, 0, 1]]}}),
    ],
)
def test_settings_that_make_no_sense_are_not_called_mistakes_of_the_metric(metric, settings):
    with pytest.raises(onnxplain.SettingError, match=metric):
        onnxplain.evaluate(linear((4, 2, 1)), [1, 1, 1], "ablation", [(metric, settings)], target=0)
