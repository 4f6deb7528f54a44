"""``onnxplain explain``: what it prints, what it writes, and how settings reach the methods."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxplain import Explanation
from onnxplain.cli.progress import bar

WEIGHTS = np.array([0.5, -3.0, 2.0])  # of the class 'large', as in conftest.py


def test_shapley_values_of_a_linear_model_are_printed(run, linear):
    result = run("explain", linear, "rows.csv:0", "-m", "exact-shapley", "--target", "large", "--baseline", "0")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "rows.csv:0  exact-shapley"
    assert "explained  large (class 1)" in result.stdout
    assert [line.split()[:2] for line in lines if line.startswith(("  w", "  l"))] == [
        ["weight", "+8"],
        ["width", "-6"],
        ["length", "+0.5"],
    ]
    assert "completeness gap 0" in result.stdout


def test_json_is_one_document_and_nothing_else(run, linear):
    result = run("explain", linear, "rows.csv", "-m", "exact-shapley", "-t", "1", "--baseline", "0", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert document["errors"] == []
    assert len(document["model"]["digest"]) == 64
    values = [r["values"]["x"]["data"] for r in document["results"]]
    np.testing.assert_allclose(values[0], [WEIGHTS * [1, 2, 4]], rtol=1e-6)
    np.testing.assert_allclose(values[1], [WEIGHTS * [4, 5, 6]], rtol=1e-6)


@pytest.mark.parametrize(("source", "method"), [("rows.csv:0", "exact-shapley"), ("rows.npy:0", "exact-shapley")])
def test_tables_get_shapley_values_by_default(run, linear, source, method):
    np.save("rows.npy", np.ones((1, 3), np.float32))
    result = run("explain", linear, source, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["results"][0]["method"] == method
    assert result.stderr.startswith(f"note: using {method} (choose with -m")


def test_images_get_occlusion_by_default(run, digit):
    result = run("explain", "digits-cnn", digit)
    assert result.exit_code == 0
    assert f"{digit}  occlusion\n  predicted  class 0\n" in result.stdout
    assert "of 8 x 8" in result.stdout
    assert result.stderr.startswith("note: using occlusion")


def test_catalogue_prefix_wins_over_a_file_of_that_name(run, digit, tmp_path):
    (tmp_path / "digits-cnn").write_text("no model")
    assert run("explain", "digits-cnn", digit).exit_code == 3
    assert run("explain", "catalogue:digits-cnn", digit).exit_code == 0


def test_folder_gets_arrays_pictures_and_a_page(run, digit, tmp_path):
    result = run("explain", "digits-cnn", digit, "-m", "occlusion", "-m", "rise", "--set", "masks=50", "-o", "out/deep")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "out" / "deep"
    names = ["digits-0.occlusion.npz", "digits-0.occlusion.png", "digits-0.rise.npz", "digits-0.rise.png", "index.html"]
    assert sorted(p.name for p in folder.iterdir()) == names
    assert all(f"wrote {Path('out', 'deep', name)}" in result.stdout for name in names[:-1])
    assert f"page: {Path('out', 'deep', 'index.html')}" in result.stdout
    saved = Explanation.load(folder / "digits-0.rise.npz")
    assert (saved.settings["masks"], saved.evaluations) == (50, 51)
    page = (folder / "index.html").read_text()
    assert page.count("<section") == 2
    assert "digits-0, occlusion" in page


def test_same_command_again_overwrites_its_own_files(run, linear, tmp_path):
    args = ("explain", linear, "rows.csv:0", "-m", "ablation", "-o", "out", "--format", "svg")
    assert run(*args).exit_code == 0
    before = (tmp_path / "out" / "rows-0.ablation.svg").read_bytes()
    assert run(*args).exit_code == 0
    assert (tmp_path / "out" / "rows-0.ablation.svg").read_bytes() == before
    assert before.startswith(b"<?xml")


def test_inputs_of_the_same_name_get_files_of_their_own(run, digit, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(digit, tmp_path / name / "cat.png")
    assert run("explain", "digits-cnn", "a", "b", "-m", "occlusion", "-o", "out").exit_code == 0
    names = sorted(p.name for p in (tmp_path / "out").glob("*.npz"))
    assert names == ["cat-2.occlusion.npz", "cat.occlusion.npz"]


def test_json_tells_the_files_that_were_written(run, linear, tmp_path):
    result = run("explain", linear, "rows.csv:1", "-m", "ablation", "-o", "out", "--json")
    document = json.loads(result.stdout)
    files = [*document["results"][0]["files"], document["page"]]
    assert [Path(f).name for f in files] == ["rows-1.ablation.npz", "rows-1.ablation.png", "index.html"]
    assert all(Path(f).is_file() for f in files)


def test_setting_of_one_method_wins_over_that_of_all(run, linear):
    methods = ("-m", "ablation", "-m", "exact-shapley")
    given = ("--set", "exact-shapley.baseline=2", "--set", "baseline=1")
    results = json.loads(run("explain", linear, "rows.csv:0", *methods, *given, "--json").stdout)["results"]
    assert {r["method"]: r["settings"]["baseline"] for r in results} == {"ablation": 1, "exact-shapley": 2}


def test_setting_reaches_only_the_methods_that_have_it(run, linear):
    methods = ("-m", "ablation", "-m", "kernel-shap")
    results = json.loads(run("explain", linear, "rows.csv:0", *methods, "--budget", "8", "--json").stdout)["results"]
    assert "budget" not in results[0]["settings"]
    assert results[1]["settings"]["budget"] == 8


def test_list_setting_is_read_from_the_command_line(run, digit):
    result = run("explain", "digits-cnn", digit, "-m", "occlusion", "--set", "window=2,4", "--json")
    assert json.loads(result.stdout)["results"][0]["settings"]["window"] == [2, 4]


def test_same_method_twice_runs_once(run, linear):
    result = run("explain", linear, "rows.csv:0", "-m", "ablation", "-m", "ablation", "--json")
    assert len(json.loads(result.stdout)["results"]) == 1


def test_seed_decides_random_methods(run, digit):
    def values(seed):
        args = ("-m", "rise", "--set", "masks=20", "--seed", seed, "--json")
        return json.loads(run("explain", "digits-cnn", digit, *args).stdout)["results"][0]["values"]

    assert values(1) == values(1)
    assert values(1) != values(2)


def test_unknown_preprocessing_is_said_once(run, digit, tmp_path):
    shutil.copy(run("models", "path", "digits-cnn").stdout.strip(), tmp_path / "bare.onnx")
    result = run("explain", "bare.onnx", digit, digit, "-m", "occlusion")
    assert result.exit_code == 0
    assert result.stderr.count("warning: ") == 1
    assert "--write-spec" in result.stderr


def test_short_settings_reach_the_method_that_is_chosen_for_the_input(run, linear):
    result = run("explain", linear, "rows.csv:0", "--baseline", "1", "--json")
    (found,) = json.loads(result.stdout)["results"]
    assert found["method"] == "exact-shapley"
    assert found["settings"]["baseline"] == 1
    unknown = run("explain", linear, "rows.csv:0", "--budget", "50")
    assert unknown.exit_code == 3
    assert "--budget: exact-shapley has no such setting" in unknown.stderr


def test_empty_name_of_a_folder_is_wrong_usage(run, linear, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = run("explain", linear, "rows.csv:0", "-o", "")
    assert result.exit_code == 2
    assert "the name given is empty" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("option", [("--mode", "signed"), ("--format", "svg")])
def test_pictures_without_a_folder_are_wrong_usage(run, linear, option):
    result = run("explain", linear, "rows.csv:0", *option)
    assert result.exit_code == 2
    assert "-o DIR" in result.stderr


def test_no_bar_where_stderr_is_no_terminal():
    with bar("cat") as progress:
        assert progress is None


def test_bar_is_drawn_on_a_terminal_and_taken_away(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with bar("[red]cat\x1b") as progress:
        progress.start("rise", 10)
        progress.advance(5)
        progress.start("rise", 0)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "[red]cat\\x1b rise" in shown.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_results_stay_on_stdout_while_bars_are_on_the_terminal(command, digit):
    leader, follower = os.openpty()
    args = ("explain", "digits-cnn", digit, "-m", "rise", "--json")
    with os.fdopen(follower, "wb") as terminal:
        result = command(*args, capture_output=False, stdout=-1, stderr=terminal)
    drawn = os.read(leader, 1 << 16).decode(errors="replace")  # the read may end inside a character
    os.close(leader)
    assert result.returncode == 0
    assert json.loads(result.stdout)["results"][0]["method"] == "rise"
    assert "digits-0.png rise" in drawn


def test_smoothing_goes_around_each_method(run, digit, tmp_path):
    pytest.importorskip("torch")
    args = ("-m", "saliency", "-m", "taylor", "--smooth", "smoothgrad", "--set", "smoothgrad.samples=3")
    args += ("--set", "saliency.value=absolute")
    done = run("explain", "digits-cnn", digit, *args, "--json", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["results"]
    assert [(r["method"], r["settings"]["of"], r["settings"]["samples"]) for r in found] == [
        ("smoothgrad", "saliency", 3),
        ("smoothgrad", "taylor", 3),
    ]
    assert found[0]["settings"]["settings"] == {"value": "absolute"}
    assert len(list((tmp_path / "out").glob("*.smoothgrad-of-*.npz"))) == 2


def test_channels_of_an_inner_tensor_are_ablated_by_name(run, digit):
    result = run("explain", "digits-cnn", digit, "-m", "ablation", "--wrt", "relu1")
    assert result.exit_code == 0, result.stderr
    assert "strongest" not in result.stdout
    assert "\n  channel 2 " in result.stdout
    assert "18 evaluations" in result.stdout
