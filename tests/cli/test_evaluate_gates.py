"""``onnxplain evaluate --gate``: thresholds as tests, their outcomes and exit codes."""

import json

import numpy as np
import pytest

from onnxplain.models import catalogue


@pytest.fixture
def digits():
    return [str(p) for p in catalogue.samples("digits-cnn")[:3]]


FAST = ("--metric", "deletion", "--metric", "sparseness", "--set", "deletion.steps=16")


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


class TestGates:
    COMMAND = ("-m", "occlusion", "-m", "ablation", "--metric", "deletion", "--set", "deletion.steps=16")

    def verdicts(self, run, digits, *gates, more=()):
        options = [part for gate in gates for part in ("--gate", gate)]
        result = run("evaluate", "digits-cnn", *digits, *self.COMMAND, *more, *options, "--json")
        document = json.loads(result.stdout) if result.stdout else {"gates": []}
        return result, {(v["gate"], v["method"]): v["outcome"] for v in document["gates"]}

    def test_several_are_judged_each_for_each_method(self, run, digits):
        result, found = self.verdicts(run, digits, "deletion<random", "deletion(ablation)<edges", "deletion<=1")
        assert result.exit_code == 0
        expected = [("deletion<random", "occlusion"), ("deletion<random", "ablation")]
        expected += [("deletion(ablation)<edges", "ablation")]
        expected += [("deletion<=1", "occlusion"), ("deletion<=1", "ablation")]
        assert found == dict.fromkeys(expected, "passed")

    def test_a_verdict_says_in_json_what_it_rests_on(self, run, digits):
        result = run("evaluate", "digits-cnn", *digits, *self.COMMAND, "--gate", "deletion(occlusion)<0.9", "--json")
        document = json.loads(result.stdout)
        (verdict,) = document["gates"]
        score = next(s for s in document["scores"] if s["method"] == "occlusion")
        values = np.array(score["samples"])
        assert verdict["outcome"] == "passed"
        assert verdict["difference"] == pytest.approx(values.mean() - 0.9)
        half = 4.302653 * values.std(ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom
        assert verdict["interval"] == pytest.approx([values.mean() - 0.9 - half, values.mean() - 0.9 + half])

    @pytest.mark.parametrize(
        ("gate", "said"),
        [
            ("deletoin<0.5", "there is no metric called 'deletoin'"),
            ("insertion<0.5", "about insertion, which is not evaluated"),
            ("deletion(rise)<0.5", "about rise, which is not evaluated"),
            ("deletion<rise", "about rise, which is not evaluated"),
            ("deletion(occlusion)<occlusion", "compares occlusion with itself"),
            ("deletion<inf", "the limit of a gate is a number, not inf"),
            ("deletion<", "this is no gate"),
        ],
    )
    def test_what_cannot_be_judged_is_refused_before_any_work(self, run, digits, gate, said):
        result, _ = self.verdicts(run, digits, gate)
        assert result.exit_code == 3
        assert said in result.stderr
        assert result.stdout == ""

    def test_a_metric_that_did_not_run_establishes_nothing(self, run, digits):
        more = ("--metric", "completeness")
        result, found = self.verdicts(run, digits, "completeness(occlusion)<0.1", "deletion<=1", more=more)
        assert result.exit_code == 4
        assert found["completeness(occlusion)<0.1", "occlusion"] == "not established"
        assert "occlusion does not promise completeness" in result.stderr

    @pytest.mark.usefixtures("linear")
    def test_a_control_that_there_is_none_of_establishes_nothing(self, run):
        options = ("-m", "ablation", "--metric", "sparseness", "--gate", "sparseness<edges")
        result = run("evaluate", "linear.onnx", "rows.csv", *options)
        assert result.exit_code == 4
        assert "edges gave no score" in result.stdout
