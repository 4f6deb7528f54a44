"""Gates: read from text, judged by the interval over samples."""

import math

import pytest

from onnxplain import SettingError
from onnxplain.engine.metrics.gates import FAILED, OPEN, PASSED, check_gate, judged, read_gate
from onnxplain.engine.metrics.score import Reading, gathered


def score(metric, method, values, better="lower", *, is_share=False):
    readings = [Reading(v) for v in values]
    return gathered(
        metric, method, readings, better=better, limits=(-math.inf, math.inf), is_share=is_share, settings={}
    )


def outcome(text, *scores, controls=("random",)):
    return [(v.method, v.outcome) for v in judged(read_gate(text), scores, controls)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("deletion<random", ("deletion", "", "<", None, "random")),
        (" insertion( rise ) >= 0.5 ", ("insertion", "rise", ">=", 0.5, "")),
        ("mu-fidelity(grad-cam++)>-1e-3", ("mu-fidelity", "grad-cam++", ">", -1e-3, "")),
    ],
)
def test_a_gate_is_read(text, parts):
    gate = read_gate(text)
    assert (gate.metric, gate.method, gate.operator, gate.limit, gate.against) == parts


@pytest.mark.parametrize("text", ["", "deletion", "deletion=0.5", "<0.5", "deletion<nan", "deletion<0.5 or 1", "a<b<c"])
def test_what_is_no_gate_is_refused(text):
    with pytest.raises(SettingError):
        read_gate(text)


def test_a_gate_of_what_is_not_evaluated_is_refused():
    with pytest.raises(SettingError, match="about insertion, which is not evaluated"):
        check_gate(read_gate("insertion>0"), ["deletion"], ["rise"])
    with pytest.raises(SettingError, match=r"about rsie, which is not evaluated\n  tip: did you mean 'rise'"):
        check_gate(read_gate("deletion(rsie)<1"), ["deletion"], ["rise"])


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        ((0.1, 0.12, 0.11), "deletion<0.5", PASSED),
        ((0.7, 0.72, 0.71), "deletion<0.5", FAILED),
        ((0.1, 0.9, 0.4), "deletion<0.5", OPEN),
        ((0.7, 0.72, 0.71), "deletion>0.5", PASSED),
        ((0.1, 0.12, 0.11), "deletion>=0.5", FAILED),
        ((0.1,), "deletion<0.5", OPEN),  # one sample: no interval
        ((0.1, math.nan), "deletion<0.5", OPEN),
        ((math.nan, math.nan), "deletion<0.5", OPEN),
        ((0.5, 0.5), "deletion<=0.5", PASSED),
        ((0.5, 0.5), "deletion<0.5", FAILED),
    ],
)
def test_the_interval_decides(values, text, expected):
    assert outcome(text, score("deletion", "rise", values)) == [("rise", expected)]


def test_against_another_method_samples_are_paired():
    """Samples differ far more than methods do; sample by sample the method is always a little better."""
    rise = score("deletion", "rise", (0.1, 0.5, 0.9))
    random = score("deletion", "random", (0.15, 0.56, 0.94))
    assert outcome("deletion<random", rise, random) == [("rise", PASSED)]
    assert outcome("deletion<0.55", rise) == [("rise", OPEN)]


def test_without_a_method_all_but_controls_are_judged():
    scores = [score("deletion", name, v) for name, v in (("a", (1, 2)), ("b", (8, 9)), ("random", (5, 5.5)))]
    assert [name for name, _ in outcome("deletion<random", *scores)] == ["a", "b"]
    assert [name for name, _ in outcome("deletion<7", *scores)] == ["a", "b"]


def test_a_share_has_an_interval_also_where_all_samples_agree():
    """Three hits of three against none of three: Newcombe's interval says 0.2 at least, three samples are few."""
    hits = score("pointing-game", "rise", (1, 1, 1), "higher", is_share=True)
    none = score("pointing-game", "random", (0, 0, 0), "higher", is_share=True)
    assert outcome("pointing-game>0.9", hits) == [("rise", OPEN)]
    assert outcome("pointing-game>random", hits, none) == [("rise", PASSED)]
    (verdict,) = judged(read_gate("pointing-game>random"), [hits, none], ("random",))
    wilson = 0.43850  # lower limit of 3 of 3
    assert verdict.interval[0] == pytest.approx(1 - math.hypot(1 - wilson, 1 - wilson), abs=1e-4)


def test_a_metric_without_scores_is_not_established():
    (verdict,) = judged(read_gate("deletion(rise)<1"), [], ("random",))
    assert (verdict.outcome, verdict.why) == (OPEN, "deletion gave no score")
    (verdict,) = judged(read_gate("deletion<random"), [score("deletion", "rise", (1, 2))], ("random",))
    assert (verdict.outcome, verdict.why) == (OPEN, "random gave no score")
