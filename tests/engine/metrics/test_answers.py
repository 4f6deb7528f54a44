"""Answers: explanations that several metrics ask for are made once, and nothing else changes by it."""

import numpy as np
import pytest

import onnxplain
from onnxplain.engine.evaluation.comparison import Comparison
from onnxplain.engine.metrics import answers
from onnxplain.engine.metrics.chosen import chosen_metrics
from onnxplain.engine.question import Question

STEEP = [("max-sensitivity", {"samples": 4}), ("local-lipschitz", {"samples": 4})]


@pytest.fixture
def asked(monkeypatch):
    """The methods that were asked to explain, one by one."""
    made, real = [], Question.answer

    def answer(self, sample):
        made.append(self.plugin.name)
        return real(self, sample)

    monkeypatch.setattr(Question, "answer", answer)
    return made


@pytest.mark.parametrize("method", ["rise", "occlusion"])
def test_metrics_that_change_the_input_alike_explain_each_change_once(digits, zero, asked, method):
    alone = [onnxplain.evaluate(digits, zero, method, [one], controls=False)[0] for one in STEEP]
    assert len(asked) == 2 * (1 + 4)
    asked.clear()
    together = onnxplain.evaluate(digits, zero, method, STEEP, controls=False)
    assert len(asked) == 1 + 4
    assert [s.value for s in together] == [s.value for s in alone]  # to the last bit
    assert [s.evaluations for s in together] == [s.evaluations for s in alone]


def test_another_seed_or_reach_is_another_question(digits, zero, asked):
    metrics = [STEEP[0], ("local-lipschitz", {"samples": 4, "radius": 0.1}), ("seed-agreement", {"seeds": 2})]
    onnxplain.evaluate(digits, zero, "rise", metrics, masks=50, controls=False)
    assert len(asked) == 1 + 4 + 4 + 2


def test_methods_to_compare_with_are_asked_once_for_all(digits, zero, asked):
    from onnxplain.engine.explain import samples_of

    chosen = chosen_metrics([("method-agreement", {"others": "rise"})])
    comparison = Comparison(digits, {"ablation": {}, "rise": {"masks": 50}}, chosen)
    (sample,) = samples_of(digits, zero)
    comparison.add(sample)
    assert asked == ["ablation", "rise", "rise", "random", "edges"]  # the second as it is by default
    by_default, few = (onnxplain.explain(digits, zero, "rise", **given) for given in ({}, {"masks": 50}))
    found = {score.method: score.value for score in comparison.scores()}
    correlation = answers_correlation(by_default, few)
    assert found["rise"] == pytest.approx(correlation, abs=1e-6)


def answers_correlation(a, b):
    from scipy.stats import spearmanr

    return spearmanr(a.values["image"].ravel(), b.values["image"].ravel()).statistic


def test_what_is_kept_has_a_limit(digits, zero, asked, monkeypatch):
    monkeypatch.setattr(answers, "HELD_BYTES", 3 * 64 * 8)  # maps of 64 numbers
    scores = onnxplain.evaluate(digits, zero, "random", STEEP, controls=False)
    assert len(asked) == 1 + 4 + 4
    assert [s.value for s in scores] == [0, 0]


def test_what_is_kept_cannot_be_written_to(digits, zero):
    from onnxplain.engine.evaluation.maker import Maker
    from onnxplain.engine.explain import samples_of

    (sample,) = samples_of(digits, zero)
    trial = Maker("occlusion", {}).trial(digits, sample, "top")
    first, again = trial.again(seed=1), trial.again(seed=1)
    assert again.values is first.values
    np.testing.assert_array_equal(again.sample.feeds["image"], sample.feeds["image"])
    with pytest.raises(ValueError, match="read-only"):
        again.values["image"][:] = 0
