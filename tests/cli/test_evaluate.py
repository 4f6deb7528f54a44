"""``onnxplain evaluate``: the table, the document, the folder, gates and exit codes."""

import json
import re
import subprocess
import sys
import time

import click
import numpy as np
import pytest

from onnxplain.models import catalogue


@pytest.fixture
def digits():
    return [str(p) for p in catalogue.samples("digits-cnn")[:3]]


FAST = ("--metric", "deletion", "--metric", "sparseness", "--set", "deletion.steps=16")


def test_table_ranks_methods_with_controls_beside_them(run, digits):
    result = run("evaluate", "digits-cnn", *digits, "-m", "occlusion", "-m", "rise", "--set", "rise.masks=300", *FAST)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("deletion: mean score while the most important features are removed")
    assert lines[1].endswith("(lower is better, 0 to 1)")
    assert lines[2].split()[:2] == ["method", "value"]
    found = [
        re.match(rf"{place}  (occlusion|rise|random|edges)(?: \(control\))? +([0-9.]+) ", line)
        for place, line in enumerate(lines[3:7], 1)
    ]
    assert {m[1] for m in found} == {"occlusion", "rise", "random", "edges"}
    values = [float(m[2]) for m in found]
    assert values == sorted(values)
    assert sum("(control)" in line for line in lines) == 4


def test_without_methods_and_metrics_those_that_suit(run, digits):
    result = run("evaluate", "digits-cnn", digits[0], "--set", "masks=200")
    assert result.exit_code == 0
    assert "note: using occlusion and rise" in result.stderr
    for name in ("deletion", "insertion", "mu-fidelity", "sparseness"):
        assert name in result.stdout


def test_a_table_row_needs_no_picture(run, linear):
    result = run("evaluate", "linear.onnx", "rows.csv", "--metric", "faithfulness-estimate")
    assert result.exit_code == 0, result.stderr
    assert "using exact-shapley and ablation" in result.stderr
    assert "edges" not in result.stdout


def test_json_is_one_document(run, digits):
    result = run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", "--json", *FAST)
    document = json.loads(result.stdout)
    assert document["controls"] == ["random", "edges"]
    score = document["scores"][0]
    assert {"metric", "method", "value", "interval", "evaluations", "curve", "samples", "range"} <= score.keys()
    assert score["interval"] is None
    assert len(score["curve"][0]) == 17


def test_the_folder_holds_results_document_and_picture_and_the_run_goes_on(run, digits, tmp_path):
    command = ("evaluate", "digits-cnn", *digits, "-m", "occlusion", *FAST, "-o", "out")
    first = run(*command)
    assert first.exit_code == 0
    names = {"results.jsonl", "evaluation.json", "evaluation.html", "curves.png"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["schema_version"] == 1
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "results.jsonl").write_text("".join(lines[:7]))
    again = run(*command, "--resume")
    assert "note: going on: 6 results are there" in again.stderr
    without_seconds = [re.sub(r" [0-9]+\.[0-9]{2}$", "", o.stdout, flags=re.MULTILINE) for o in (first, again)]
    assert re.sub(" +", " ", without_seconds[0]) == re.sub(" +", " ", without_seconds[1])


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_numbers(run, digits, tmp_path):
    """SIGKILL while results are being written, and a last line that is cut off; then the same command."""
    methods = ("-m", "occlusion", "-m", "rise", "-m", "kernel-shap", "--set", "rise.masks=500", "--set", "budget=200")
    command = ("evaluate", "digits-cnn", *digits, *methods, *FAST, "--metric", "infidelity", "--seed", "3")
    journal = tmp_path / "killed" / "results.jsonl"
    process = subprocess.Popen([sys.executable, "-m", "onnxplain.cli", *command, "-o", "killed"], cwd=tmp_path)
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 6):
        time.sleep(0.005)
    process.kill()
    process.wait()
    journal.write_bytes(journal.read_bytes()[:-9])
    again = run(*command, "-o", "killed")
    assert "note: going on: " in again.stderr
    assert "warning: 1 damaged line in results.jsonl; computed again" in again.stderr
    assert run(*command, "-o", "whole").exit_code == again.exit_code == 0
    found = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("killed", "whole")]
    for document in found:
        for score in document["scores"]:
            del score["seconds"]
    assert found[0] == found[1]


def test_what_is_different_is_told_and_computed_anew(run, digits):
    command = ("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *FAST, "-o", "out")
    first = run(*command)
    other = run(*command, "--seed", "1", "--set", "occlusion.window=2")
    assert other.exit_code == 0
    assert "note: 6 results there have another seed: computed anew" in other.stderr
    assert "note: 2 results there have other settings of occlusion: computed anew" in other.stderr
    again = run(*command)
    assert "note: going on: 6 results are there" in again.stderr
    assert again.stdout == first.stdout


def test_there_must_be_something_to_resume(run, digits):
    result = run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *FAST, "-o", "other", "--resume")
    assert result.exit_code == 3
    assert "nothing to resume" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gate", "deletion=1"), "this is no gate: 'deletion=1'"),
        (("--gate", "insertion>0"), "about insertion, which is not evaluated"),
        (("--set", "deletion.stepps=1"), "deletion has no such setting"),
        (("--set", "rise.masks=10"), "'rise' is not among the methods of this run"),
        (("--set", "steps=-1"), "deletion.steps must be 1 to 100000"),
        (("--box", "1,2,3"), "a box is x0,y0,x1,y1, not '1,2,3'"),
        (("--metric", "occlusion"), "'occlusion' is an explainer, not a metric"),
        (("--metric", "iuo"), "there is no metric called 'iuo'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(run, digits, options, said):
    result = run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", "--metric", "deletion", *options)
    assert result.exit_code == 3
    assert said in result.stderr
    assert result.stdout == ""


def test_usage(run, digits):
    for options in (("--resume",), ("-o", ""), ("--mask", "m.npy", "--box", "1,2,3,4")):
        assert run("evaluate", "digits-cnn", digits[0], *options).exit_code == 2


def test_mask_and_box_say_the_same(run, digits, tmp_path):
    mask = np.zeros((8, 8))
    mask[2:6, 1:5] = 1
    np.save(tmp_path / "mask.npy", mask)
    metrics = ("--metric", "relevance-mass", "--metric", "pointing-game", "--metric", "iou", "--metric", "box-error")
    found = [
        json.loads(run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *metrics, "--json", *where).stdout)
        for where in (("--mask", "mask.npy"), ("--box", "1,2,5,6"))
    ]
    values = [[(s["metric"], s["method"], s["value"]) for s in document["scores"]] for document in found]
    assert values[0] == values[1]
    assert len(values[0]) == 4 * 3


def test_a_mask_of_another_size_says_which_would_do(run, digits, tmp_path):
    np.save(tmp_path / "mask.npy", np.eye(5))
    result = run(
        "evaluate", "digits-cnn", digits[0], "-m", "occlusion", "--metric", "pointing-game", "--mask", "mask.npy"
    )
    assert result.exit_code == 3
    assert "the mask has the size 5 x 5, the map 8 x 8" in result.stderr


def test_a_metric_that_a_method_cannot_have_leaves_the_run_incomplete(run, digits):
    result = run(
        "evaluate", "digits-cnn", digits[0], "-m", "occlusion", "--metric", "completeness", "--metric", "sparseness"
    )
    assert result.exit_code == 4
    assert "occlusion does not promise completeness" in result.stderr
    assert "random does not promise" not in result.stderr
    assert "sparseness" in result.stdout


def test_an_input_that_cannot_be_read_is_told_and_the_rest_is_done(run, digits):
    result = run("evaluate", "digits-cnn", "none.png", digits[0], "-m", "occlusion", *FAST)
    assert result.exit_code == 4
    assert "none.png" in result.stderr
    assert "occlusion" in result.stdout
    assert run("evaluate", "digits-cnn", "none.png", "-m", "occlusion", *FAST).exit_code == 3


def test_a_map_that_ranks_nothing_is_said_to(run, linear):
    """Both rows' columns absent or present alike: a baseline that is the row itself leaves nothing to rank."""
    options = ("-m", "ablation", "--set", "ablation.baseline=1,2,4", "--metric", "deletion")
    result = run("evaluate", "linear.onnx", "rows.csv:0", *options)
    assert result.exit_code == 4  # nothing was established
    assert "note: ablation: undefined: the map is constant: it ranks nothing" in result.stdout
    assert re.search(r"^ +ablation +undefined", result.stdout, re.MULTILINE)


def test_equal_values_share_a_place(run, digits):
    """One pixel of the corner is evidence, where no map is highest: all have 0."""
    result = run(
        "evaluate", "digits-cnn", digits[0], "-m", "occlusion", "--metric", "pointing-game", "--box", "0,0,1,1"
    )
    assert re.findall(r"^(\d) +\w.* 0 ", result.stdout, re.MULTILINE) == ["1", "1", "1"]


def test_metrics_are_listed_and_described(run):
    listed = run("methods", "--kind", "metric").stdout
    assert "parameter-randomisation" in listed
    shown = run("methods", "road").stdout
    assert "better  lower" in shown
    example = next(line.strip() for line in shown.splitlines() if line.startswith("  onnxplain evaluate"))
    assert "there is no such file" in run(*example.split()[1:]).stderr
    (road,) = json.loads(run("methods", "relevance-mass", "--json").stdout)["methods"]
    assert (road["better"], road["range"]) == ("higher", [0.0, 1.0])


def test_an_input_that_is_given_twice_counts_once(run, digits):
    """Twice the same number would be an interval without a width: a gate would pass on it."""
    options = ("-m", "occlusion", *FAST, "--gate", "deletion<0.9")
    result = run("evaluate", "digits-cnn", digits[0], digits[0], *options)
    assert result.exit_code == 4
    assert "was given twice and counts once" in result.stderr
    assert "1 sample with a value; an interval needs 2" in result.stdout


def test_methods_that_agree_are_shown_as_a_matrix_and_on_a_page(run, digits, tmp_path):
    methods = ("-m", "occlusion", "-m", "ablation", "-m", "rise", "--set", "rise.masks=300")
    command = ("evaluate", "digits-cnn", *digits, *methods, "--metric", "method-agreement", "--metric", "deletion")
    result = run(*command, "-o", "out")
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["scores"]
    parts = {s["method"]: s["parts"] for s in scores if s["metric"] == "method-agreement"}
    row = next(line for line in result.stdout.splitlines() if line.startswith("  2 ablation"))
    assert row.split() == ["2", "ablation", f"{parts['ablation']['occlusion']:.2f}", f"{parts['ablation']['rise']:.2f}"]
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert page.count("<img ") == 1  # the curves of deletion
    assert "how alike methods are, each with each" in page
    assert f"<td>{parts['ablation']['rise']:.2f}</td>" in page
    assert "occlusion, ablation, rise beside the controls random and edges, on 3 inputs" in page


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_is_not_overrun(width, monkeypatch):
    from onnxplain.cli import evaluation
    from onnxplain.engine.metrics.score import Reading, gathered

    monkeypatch.setattr(evaluation, "_width", lambda: width)
    known = {"better": "lower", "limits": (0, 1), "is_share": False, "settings": {}}
    names = ("guided-integrated-gradients", "random")
    scores = [
        gathered("deletion", name, [Reading(0.123456 * k, evaluations=123456, seconds=1e4) for k in (1, 2)], **known)
        for name in names
    ]
    lines = evaluation.shown(scores, ["random"])
    assert any("guided-integrated-gradients" in line and "0.1852" in line for line in lines)
    assert max(len(click.unstyle(line)) for line in lines) <= width
    assert ("seconds" in " ".join(lines)) == (width > 60)
