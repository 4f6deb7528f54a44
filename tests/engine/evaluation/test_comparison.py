"""Comparison and its journal: many inputs, methods and metrics; stopped at any point and gone on with."""

import json
import math

import numpy as np
import pytest

import onnxplain
from onnxplain import InputError
from onnxplain.engine.evaluation.comparison import Comparison, identity_of, ranked
from onnxplain.engine.evaluation.journal import Identity, Journal
from onnxplain.engine.explain import samples_of
from onnxplain.engine.game import Game
from onnxplain.engine.memory import Memories
from onnxplain.engine.metrics.chosen import chosen_metrics
from onnxplain.engine.metrics.score import Score

METRICS = ["deletion", "infidelity", "sparseness"]
OPEN = {}  # journals by path
METHODS = {"occlusion": {"window": 2}, "rise": {"masks": 50}}


@pytest.fixture(scope="module")
def model():
    return onnxplain.load(onnxplain.models.path("digits-cnn"))


@pytest.fixture(scope="module")
def samples(model):
    return [s for p in onnxplain.models.samples("digits-cnn")[:3] for s in samples_of(model, str(p))]


def opened(model, path, **given):
    asked = {"target": "top", "seed": 0} | given
    metrics = chosen_metrics(METRICS)
    identity = identity_of(model, METHODS, metrics, version="1", **asked)
    if path in OPEN:
        OPEN.pop(path).close()
    if path:
        OPEN[path] = Journal(path, identity)
    return Comparison(model, METHODS, metrics, journal=OPEN.get(path), **asked)


def numbers(comparison):
    return {(s.metric, s.method): (s.samples, s.value, s.interval, s.evaluations) for s in comparison.scores()}


@pytest.fixture(scope="module")
def whole(model, samples):
    comparison = opened(model, None)
    for sample in samples:
        comparison.add(sample)
    return comparison


def test_every_method_and_control_is_judged_by_every_metric(whole):
    found = numbers(whole)
    assert {method for _, method in found} == {"occlusion", "rise", "random", "edges"}
    assert len(found) == 4 * len(METRICS)
    assert all(len(samples) == 3 for samples, *_ in found.values())


def test_the_best_method_comes_first(whole):
    deletion = [s.value for s in whole.scores() if s.metric == "deletion"]
    assert deletion == sorted(deletion)


def test_what_all_methods_need_is_run_for_the_first_one_only(whole, model, samples, monkeypatch):
    rows, fill = [], Game._fill

    def counting(game, coalitions, buffers):
        rows.append(len(coalitions))
        return fill(game, coalitions, buffers)

    monkeypatch.setattr(Game, "_fill", counting)
    again = opened(model, None)
    again.add(samples[0])
    shared = sum(rows)
    rows.clear()
    monkeypatch.setattr(Memories, "of", lambda *_: None)
    alone = opened(model, None)
    alone.add(samples[0])
    assert sum(rows) - shared == 3 * 256  # the sets of infidelity, which are the same for all four
    assert numbers(again) == numbers(alone)


def test_numbers_are_those_of_evaluate(whole, model, samples):
    scores = onnxplain.evaluate(model, samples, "rise", METRICS, masks=50)
    assert {s.metric: s.samples for s in scores} == {m: v[0] for (m, n), v in numbers(whole).items() if n == "rise"}


@pytest.mark.parametrize("lines", [1, 2, 5, 13, 36])
def test_a_run_that_was_stopped_anywhere_goes_on_and_gives_the_same(lines, whole, model, samples, tmp_path):
    first = opened(model, tmp_path / "j.jsonl")
    for sample in samples:
        first.add(sample)
    text = (tmp_path / "j.jsonl").read_text().splitlines(keepends=True)
    assert len(text) == 1 + 3 * 4 * 3
    cut = text[lines][:-20] if lines < len(text) else ""  # a line that was being written
    (tmp_path / "j.jsonl").write_text("".join(text[:lines]) + cut)
    again = opened(model, tmp_path / "j.jsonl")
    for sample in samples:
        again.add(sample)
    assert again.reused == lines - 1
    assert numbers(again) == numbers(whole)
    assert len((tmp_path / "j.jsonl").read_text().splitlines()) == len(text)


def test_methods_are_not_run_where_all_is_known(model, samples, tmp_path, monkeypatch):
    for turn in range(2):
        comparison = opened(model, tmp_path / "j.jsonl")
        comparison.add(samples[0])
        if turn == 0:
            monkeypatch.setattr(Comparison, "trial", None)
    assert comparison.reused == 12
    assert not comparison.failures


def test_more_inputs_may_be_added(model, samples, tmp_path):
    opened(model, tmp_path / "j.jsonl").add(samples[0])
    more = opened(model, tmp_path / "j.jsonl")
    for sample in samples[:2]:
        more.add(sample)
    assert more.reused == 12
    assert all(len(s.samples) == 2 for s in more.scores())


@pytest.mark.parametrize(("given", "named"), [({"seed": 1}, "seed"), ({"target": "3"}, "target")])
def test_results_of_other_settings_are_not_mixed_in(given, named, model, samples, tmp_path):
    first = opened(model, tmp_path / "j.jsonl")
    first.add(samples[0])
    other = opened(model, tmp_path / "j.jsonl", **given)
    assert OPEN[tmp_path / "j.jsonl"].others == {named: 12}
    other.add(samples[0])
    assert other.reused == 0
    again = opened(model, tmp_path / "j.jsonl")  # both are in the file
    again.add(samples[0])
    assert again.reused == 12
    assert numbers(again) == numbers(first)


@pytest.mark.parametrize(
    ("method", "metric", "reused"),
    [({"masks": 60}, {}, 9), ({}, {"samples": 100}, 8), ({"masks": 60}, {"samples": 9}, 6)],
)
def test_only_what_depends_on_a_changed_setting_is_computed_anew(method, metric, reused, model, samples, tmp_path):
    def comparison(methods, metrics):
        chosen = chosen_metrics(metrics)
        identity = identity_of(model, methods, chosen, target="top", seed=0, version="1")
        journal = Journal(tmp_path / "j.jsonl", identity)
        found = Comparison(model, methods, chosen, journal=journal)
        found.add(samples[0])
        journal.close()
        return found, journal

    metrics = {name: {} for name in METRICS}
    comparison(METHODS, metrics)
    methods = METHODS | {"rise": {**METHODS["rise"], **method}}
    found, journal = comparison(methods, metrics | {"infidelity": metric})
    assert found.reused == reused
    assert set(journal.others) == {f"settings of {n}" for n, v in (("rise", method), ("infidelity", metric)) if v}


def test_a_file_that_a_setting_names_counts_by_what_it_holds(model, tmp_path):
    labels = tmp_path / "labels.npy"
    chosen = chosen_metrics([("deletion", {"features": str(labels)})])

    def digests():
        found = identity_of(model, METHODS, chosen, target="top", seed=0, version="1")
        return found.of("rise", "deletion")

    np.save(labels, np.zeros((8, 8), int))
    first = digests()
    assert digests() == first
    np.save(labels, np.eye(8, dtype=int))
    assert {name for name, value in digests().items() if value != first[name]} == {"settings of the metric"}


def test_a_file_of_someone_else_is_left_alone(model, tmp_path):
    for content in ("hello\n", "", json.dumps({"format": "onnxplain-journal", "version": 99, "of": {}})):
        (tmp_path / "j.jsonl").write_text(content)
        with pytest.raises(InputError, match=r"not the journal|another version"):
            opened(model, tmp_path / "j.jsonl")
        assert (tmp_path / "j.jsonl").read_text() == content


def test_a_damaged_line_is_computed_again_and_counted(model, samples, tmp_path):
    opened(model, tmp_path / "j.jsonl").add(samples[0])
    text = (tmp_path / "j.jsonl").read_text().splitlines()
    text[3], text[5] = "{", json.dumps(json.loads(text[5]) | {"reading": {"value": "x"}})
    (tmp_path / "j.jsonl").write_text("\n".join(text) + "\n")
    again = opened(model, tmp_path / "j.jsonl")
    assert again._journal.dropped == 1
    again.add(samples[0])
    assert again.reused == 10


def test_a_folder_in_use_is_refused_until_it_is_free(tmp_path):
    first = Journal(tmp_path / "j.jsonl", Identity())
    with pytest.raises(InputError, match="another evaluation is writing to this folder"):
        Journal(tmp_path / "j.jsonl", Identity())
    first.close()
    first.close()
    (tmp_path / "j.jsonl").write_text("of someone else")
    with pytest.raises(InputError, match="not the journal of an evaluation"):
        Journal(tmp_path / "j.jsonl", Identity())
    (tmp_path / "j.jsonl").unlink()
    Journal(tmp_path / "j.jsonl", Identity()).close()  # a refused journal holds no lock


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        Journal(tmp_path / "j.jsonl", Identity(), must_exist=True)


def test_what_a_method_cannot_have_is_a_failure_of_that_cell_alone(model, samples):
    comparison = Comparison(
        model, {"occlusion": {}, "kernel-shap": {"features": "grid:2"}}, chosen_metrics(["completeness"])
    )
    comparison.add(samples[0])
    assert [(f.method, f.metric) for f in comparison.failures] == [("occlusion", "completeness")]
    assert [s.method for s in comparison.scores()] == ["kernel-shap"]


def test_methods_are_compared_with_each_other_and_not_with_controls(model, samples):
    comparison = Comparison(model, METHODS, chosen_metrics(["method-agreement"]))
    comparison.add(samples[0])
    parts = {s.method: s.parts for s in comparison.scores()}
    assert parts["occlusion"].keys() == {"rise"}
    assert parts["rise"]["occlusion"] == pytest.approx(parts["occlusion"]["rise"])
    assert parts["random"].keys() == {"occlusion", "rise"}


def test_an_input_that_fails_for_one_method_stays_in_its_place_so_that_gates_compare_the_same_inputs(model, samples):
    """An explanation of the second of three inputs only: the others fail, and no other input's numbers move there."""
    from onnxplain.engine.evaluation.maker import saved
    from onnxplain.engine.metrics.gates import judged, read_gate

    made = onnxplain.explain(model, samples[1], "occlusion", window=2)
    comparison = Comparison(model, saved([made]), chosen_metrics(["deletion"]))
    for sample in samples:
        comparison.add(sample)
    found = {s.method: s for s in comparison.scores()}
    assert [math.isnan(v) for v in found["occlusion"].samples] == [True, False, True]
    assert len(found["random"].samples) == 3
    assert found["occlusion"].notes[0] == "2 of 3 samples have no value and are left out"
    assert [f.source for f in comparison.failures] == [samples[0].source, samples[2].source]
    (verdict,) = judged(read_gate("deletion<random"), comparison.scores(), comparison.controls)
    assert verdict.outcome == "not established"
    assert verdict.difference == pytest.approx(found["occlusion"].value - found["random"].samples[1])


def test_scores_without_a_value_come_last():
    scores = [Score("m", v, method=str(k), higher_is_better=True) for k, v in enumerate((0.1, math.nan, 0.5))]
    assert [s.method for s in ranked(scores)] == ["2", "0", "1"]
    unranked = [Score("m", v, method=str(k)) for k, v in enumerate((0.1, 0.5))]
    assert [s.method for s in ranked(unranked)] == ["0", "1"]


def test_the_curves_have_a_panel_per_metric_and_a_line_per_method(whole, tmp_path):
    from onnxplain.engine.render.curves import curves
    from onnxplain.engine.render.output import save

    figure = curves(whole.scores())
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 1
    lines = [line for line in panels[0].lines if len(line.get_xdata()) > 2]
    assert len(lines) == 4
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in lines}
    assert drawn == {tuple(np.round(s.curve[1], 6)) for s in whole.scores() if s.curve}
    assert save(figure, tmp_path / "c.png").stat().st_size > 10_000


def test_without_a_curve_there_is_no_picture(whole):
    from onnxplain.engine.render.curves import curves

    with pytest.raises(onnxplain.SettingError, match="no metric of this evaluation has a curve"):
        curves([s for s in whole.scores() if s.metric == "sparseness"])


def test_a_method_that_fails_is_told_once_and_the_others_are_judged(model, samples):
    metrics = chosen_metrics(["deletion", "sparseness", "entropy"])
    comparison = Comparison(model, {"kernel-shap": {"features": "grid:2", "budget": 3}, "occlusion": {}}, metrics)
    for sample in samples[:2]:
        comparison.add(sample)
    assert [(f.method, f.metric) for f in comparison.failures] == [("kernel-shap", "")] * 2
    assert {s.method for s in comparison.scores()} == {"occlusion", "random", "edges"}
