"""``onnxplain evaluate``: the table, the document, the folder, gates and exit codes."""

import json
import re

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
    assert lines[0].split()[:3] == ["metric", "better", "method"]
    assert lines[1].split()[:3] == ["deletion", "lower", "1"]
    found = [re.search(r"(occlusion|rise|random|edges)(?: \(control\))? +([0-9.]+) ", line) for line in lines[1:5]]
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
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"results.jsonl", "evaluation.json", "curves.png"}
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["schema_version"] == 1
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "results.jsonl").write_text("".join(lines[:7]))
    again = run(*command, "--resume")
    assert "note: going on: 6 results are there" in again.stderr
    assert [line.rsplit(None, 1)[0] for line in again.stdout.splitlines()] == [
        line.rsplit(None, 1)[0] for line in first.stdout.splitlines()
    ]  # all but the seconds


def test_a_folder_of_another_evaluation_is_refused(run, digits):
    run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *FAST, "-o", "out")
    result = run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *FAST, "-o", "out", "--seed", "1")
    assert result.exit_code == 3
    assert "another seed" in result.stderr
    result = run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *FAST, "-o", "other", "--resume")
    assert result.exit_code == 3
    assert "nothing to resume" in result.stderr


@pytest.mark.parametrize(
    ("gate", "code", "outcome"),
    [
        ("deletion<random", 0, "passed"),
        ("deletion(occlusion)<0.9", 0, "passed"),
        ("deletion>random", 1, "failed"),
        ("deletion(occlusion)>0.9", 1, "failed"),
        ("deletion<0.08", 4, "not established"),
    ],
)
def test_a_gate_decides_the_exit_code(run, gate, code, outcome, digits):
    inputs = [str(p) for p in catalogue.samples("digits-cnn")[:8]]
    result = run("evaluate", "digits-cnn", *inputs, "-m", "occlusion", "--metric", "deletion", "--gate", gate)
    assert result.exit_code == code, result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith(gate)]
    assert outcome in line


def test_one_sample_establishes_nothing(run, digits):
    result = run("evaluate", "digits-cnn", digits[0], "-m", "occlusion", *FAST, "--gate", "deletion<random")
    assert result.exit_code == 4
    assert "1 sample with a value; an interval needs 2" in result.stdout


def test_a_failed_gate_weighs_more_than_an_open_one(run, digits):
    gates = ("--gate", "deletion(occlusion)>0.9", "--gate", "deletion<0.0769")
    assert run("evaluate", "digits-cnn", *digits, "-m", "occlusion", *FAST, *gates).exit_code == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--gate", "deletion=1"), "this is no gate: 'deletion=1'"),
        (("--gate", "insertion>0"), "about insertion, which is not evaluated"),
        (("--set", "deletion.stepps=1"), "deletion has no such setting"),
        (("--set", "rise.masks=10"), "'rise' is not among the methods of this run"),
        (("--set", "steps=-1"), "deletion.steps must be 1 to 100000"),
        (("--box", "1,2,3"), "--box takes x0,y0,x1,y1, not '1,2,3'"),
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
    assert result.exit_code == 0
    assert "note: deletion of ablation: undefined: the map is constant: it ranks nothing" in result.stdout
    assert "undefined" in result.stdout.splitlines()[2]


def test_metrics_are_listed_and_described(run):
    listed = run("methods", "--kind", "metric").stdout
    assert "parameter-randomisation" in listed
    shown = run("methods", "road").stdout
    assert "better  lower" in shown
    example = next(line.strip() for line in shown.splitlines() if line.startswith("  onnxplain evaluate"))
    assert "there is no such file" in run(*example.split()[1:]).stderr
    (road,) = json.loads(run("methods", "relevance-mass", "--json").stdout)["methods"]
    assert (road["better"], road["range"]) == ("higher", [0.0, 1.0])
