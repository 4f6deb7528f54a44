"""``onnxplain replay``: identical, different, and what cannot be replayed."""

import dataclasses
import json

import numpy as np
import onnx
import pytest

from onnxplain import Explanation
from small_graphs import affine


@pytest.fixture
def saved(run, linear, tmp_path):
    assert run("explain", linear, "rows.csv:0", "-m", "exact-shapley", "-o", "out").exit_code == 0
    return tmp_path / "out" / "rows-0.exact-shapley.npz"


def test_same_model_gives_the_same_bits(run, saved):
    result = run("replay", saved)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "identical\n", "")
    assert json.loads(run("replay", saved, "--json").stdout)["identical"] is True


def test_random_method_is_replayed_from_its_seed(run, digit):
    args = ("-m", "rise", "--set", "masks=300", "--seed", "7", "-o", "out")
    assert run("explain", "digits-cnn", digit, *args).exit_code == 0
    assert run("replay", "out/digits-0.rise.npz").stdout == "identical\n"


def test_other_numbers_are_told_with_the_largest_difference(run, saved):
    explanation = Explanation.load(saved)
    values = {"x": explanation.values["x"] + np.array([[0.0, 0.5, 0.0]])}
    dataclasses.replace(explanation, values=values, score=1.0).save(saved)
    result = run("replay", saved)
    assert result.exit_code == 1
    assert result.stdout.startswith("different\n  score: 1.0 then, ")
    assert "values of x: largest difference 0.5 (" in result.stdout
    assert json.loads(run("replay", saved, "--json").stdout)["values"]["x"]["absolute"] == pytest.approx(0.5)


def test_another_machine_is_noted(run, saved):
    explanation = Explanation.load(saved)
    versions = explanation.manifest["versions"] | {"onnxruntime": "0.0.1"}
    manifest = explanation.manifest | {"machine": "Plan9 mips", "versions": versions}
    dataclasses.replace(explanation, manifest=manifest).save(saved)
    result = run("replay", saved)
    assert result.exit_code == 0
    assert "note: machine was Plan9 mips, is " in result.stderr
    assert "note: version of onnxruntime was 0.0.1, is " in result.stderr


def test_model_that_has_moved_is_named(run, saved, linear, tmp_path):
    linear.rename(tmp_path / "moved.onnx")
    linear.with_suffix(".toml").rename(tmp_path / "moved.toml")
    lost = run("replay", saved)
    assert lost.exit_code == 3
    assert "--model" in lost.stderr
    assert run("replay", saved, "--model", "moved.onnx").stdout == "identical\n"


def test_spec_that_changed_since_does_not_change_a_replay(run, saved, linear):
    spec = linear.with_suffix(".toml")
    spec.write_text(spec.read_text().replace("large", "big"))
    assert run("replay", saved).stdout == "identical\n"
    spec.unlink()
    assert run("replay", saved).stdout == "identical\n"


def test_another_model_is_refused(run, saved, tmp_path):
    onnx.save(affine(np.eye(3), np.zeros(3)), tmp_path / "other.onnx")
    result = run("replay", saved, "--model", "other.onnx")
    assert result.exit_code == 3
    assert "not the model that was explained" in result.stderr


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_file_that_is_no_explanation(run, tmp_path, content):
    (tmp_path / "e.npz").write_bytes(content)
    result = run("replay", "e.npz")
    assert result.exit_code == 3
    assert "e.npz" in result.stderr
    assert "internal error" not in result.stderr
