"""Comparison and its journal: many inputs, methods and metrics; stopped at any point and gone on with."""

import json
import math

import numpy as np
import pytest

import onnxplain
from onnxplain import InputError
from onnxplain.engine.comparison import Comparison, identity_of, ranked
from onnxplain.engine.evaluate import chosen_metrics
from onnxplain.engine.explain import samples_of
from onnxplain.engine.journal import Journal
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
    opened(model, tmp_path / "j.jsonl")
    with pytest.raises(InputError, match=f"an evaluation with another {named}"):
        opened(model, tmp_path / "j.jsonl", **given)


def test_a_file_of_someone_else_is_left_alone(model, tmp_path):
    for content in ("hello\n", "", json.dumps({"format": "onnxplain-journal", "version": 99, "of": {}})):
        (tmp_path / "j.jsonl").write_text(content)
        with pytest.raises(InputError, match=r"not the journal|another version"):
            opened(model, tmp_path / "j.jsonl")
        assert (tmp_path / "j.jsonl").read_text() == content


def test_a_damaged_line_is_computed_again_and_counted(model, samples, tmp_path):
    opened(model, tmp_path / "j.jsonl").add(samples[0])
    text = (tmp_path / "j.jsonl").read_text().splitlines()
    text[3], text[5] = "{", json.dumps({"key": json.loads(text[5])["key"], "reading": {"value": "x"}})
    (tmp_path / "j.jsonl").write_text("\n".join(text) + "\n")
    again = opened(model, tmp_path / "j.jsonl")
    assert again._journal.dropped == 1
    again.add(samples[0])
    assert again.reused == 10


def test_a_folder_in_use_is_refused_until_it_is_free(tmp_path):
    first = Journal(tmp_path / "j.jsonl", {"seed": 1})
    with pytest.raises(InputError, match="another evaluation is writing to this folder"):
        Journal(tmp_path / "j.jsonl", {"seed": 1})
    first.close()
    first.close()
    with pytest.raises(InputError, match="another seed"):
        Journal(tmp_path / "j.jsonl", {"seed": 2})
    Journal(tmp_path / "j.jsonl", {"seed": 1}).close()  # a refused journal holds no lock


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        Journal(tmp_path / "j.jsonl", {}, must_exist=True)


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
