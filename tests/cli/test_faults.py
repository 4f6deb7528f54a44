"""Mistakes and accidents: each has its exit code and a few lines on stderr, and leaves nothing half-written."""

import errno
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxplain import Explanation, register
from onnxplain.cli import folder
from onnxplain.engine import home, registry, runtime
from onnxplain.models import catalogue


@pytest.fixture
def refused(run):
    """Run a command that must be refused with exit code 3: nothing on stdout, one to six lines on stderr."""

    def check(*args):
        result = run(*args)
        lines = result.stderr.splitlines()
        assert result.exit_code == 3, result.output
        assert result.stdout == ""
        assert 1 <= len(lines) <= 6
        assert lines[0].startswith("error: ")
        assert "Traceback" not in result.stderr
        assert "internal error" not in result.stderr
        return result.stderr

    return check


def network():
    return catalogue.path("digits-cnn").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "this file is empty"),
        (b"\x80\x04\x95", "not an ONNX model"),
        (b"just some text\n", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(60), "not an ONNX model"),
    ],
)
def test_file_that_is_no_model(refused, digit, tmp_path, content, said):
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    shown = refused("explain", "m.onnx", digit, "-m", "occlusion")
    assert said in shown
    assert "m.onnx" in shown


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_model(refused, digit, tmp_path, share):
    whole = network()
    (tmp_path / "m.onnx").write_bytes(whole[: int(len(whole) * share)])
    refused("explain", "m.onnx", digit, "-m", "occlusion")


def test_name_that_is_neither_file_nor_demonstration_model(refused, digit):
    assert "did you mean 'digits-cnn'" in refused("explain", "digits-cn", digit)


def test_demonstration_model_that_is_not_built(refused, digit):
    assert "tip: onnxplain models build efficientnet-lite0" in refused("explain", "efficientnet-lite0", digit)


def test_gpu_that_is_not_there(refused, digit, monkeypatch):
    monkeypatch.setattr(runtime, "cuda_missing", lambda _=0: "there is no NVIDIA driver on this machine")
    shown = refused("explain", "digits-cnn", digit, "--device", "cuda")
    assert "CUDA cannot be used here: there is no NVIDIA driver" in shown
    assert "--device cpu" in shown


def test_unknown_device(refused, digit):
    assert "unknown device 'gpu'" in refused("explain", "digits-cnn", digit, "--device", "gpu")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 2, 2, 2, 2), np.float32), "(2, 2, 2, 2, 2)"),
        (np.zeros((1, 1, 8, 9), np.float32), "(1, 1, 8, 9)"),
        (np.full((1, 1, 8, 8), np.nan, np.float32), "nan"),
        (np.full((1, 1, 8, 8), "x"), "takes numbers, not text"),
        (np.zeros((1, 1, 8, 8), np.complex64), "complex"),
    ],
)
def test_array_that_the_model_does_not_take(refused, tmp_path, array, said):
    np.save(tmp_path / "a.npy", array)
    shown = refused("explain", "digits-cnn", "a.npy", "-m", "occlusion")
    assert shown.count("a.npy") == 1
    assert said in shown.lower()


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(20), b"", b"GIF89a" + bytes(20)])
def test_picture_that_cannot_be_decoded(refused, tmp_path, content):
    (tmp_path / "cat.png").write_bytes(content)
    assert "cat.png" in refused("explain", "digits-cnn", "cat.png", "-m", "occlusion")


def test_unknown_class_by_number_and_by_name(refused, digit, linear):
    assert "there is no class 10" in refused("explain", "digits-cnn", digit, "-m", "occlusion", "-t", "10")
    shown = refused("explain", linear, "rows.csv:0", "-m", "ablation", "-t", "larg")
    assert "did you mean 'large'?" in shown


def test_index_that_cannot_be_read(refused, digit):
    shown = refused("explain", "digits-cnn", digit, "-m", "occlusion", "-t", "relu2[0.5]")
    assert "the index in 'relu2[0.5]' cannot be read" in shown
    assert "such as relu2[0,4]" in shown


def test_target_of_the_spec_that_is_unknown_is_told_as_the_spec_s(refused, linear):
    spec = linear.with_suffix(".toml")
    spec.write_text('target = "huge"\n' + spec.read_text())
    shown = refused("explain", linear, "rows.csv:0", "-m", "ablation")
    assert "there is no class 'huge'" in shown
    assert f"at: target in {spec}" in shown


def test_unknown_tensor_as_target_and_for_wrt(refused, digit):
    assert "did you mean 'relu2'" in refused("explain", "digits-cnn", digit, "-m", "occlusion", "-t", "rellu2")
    assert "did you mean 'relu2'" in refused("explain", "digits-cnn", digit, "-m", "occlusion", "-t", "rellu2[0]")
    assert "did you mean 'image'?" in refused("explain", "digits-cnn", digit, "-m", "occlusion", "--wrt", "imag")


def test_tensor_that_the_target_does_not_depend_on(refused, digit):
    said = refused("explain", "digits-cnn", digit, "-m", "ablation", "--target", "relu1[3]", "--wrt", "relu2")
    assert "does not depend on tensor 'relu2'" in said


def test_unknown_method_is_refused_before_the_model_is_read(refused):
    assert "did you mean 'occlusion'?" in refused("explain", "no-such.onnx", "no-such.png", "-m", "oclusion")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--set", "rise.maskes=3"), "did you mean 'masks'?"),
        (("--set", "maskes=3"), "did you mean 'masks'?"),
        (("--set", "ris.masks=3"), "did you mean 'rise'?"),
        (("--set", "masks=0"), "rise.masks must be at least 2, not 0"),
        (("--set", "masks=many"), "rise.masks takes a number, an array, or a .npy or .npz file, not 'many'"),
        (("--set", "budget=many"), "rise.budget takes integer or none, not 'many'"),
    ],
)
def test_setting_that_cannot_be_used_is_refused_before_the_model_is_read(refused, args, said):
    assert said in refused("explain", "no-such.onnx", "no-such.png", "-m", "rise", *args)


def test_short_form_that_no_method_takes_is_refused(refused):
    shown = refused("explain", "no-such.onnx", "no-such.png", "-m", "occlusion", "-m", "ablation", "--budget", "3")
    assert "--budget: occlusion and ablation have no such setting" in shown


@pytest.mark.parametrize("written", ["masks", "masks:3", "rise.=3", "=3"])
def test_assignment_without_a_name_or_value_is_wrong_usage(run, written):
    result = run("explain", "m.onnx", "x.png", "-m", "rise", "--set", written)
    assert result.exit_code == 2
    assert "--set takes SETTING=VALUE or METHOD.SETTING=VALUE" in result.stderr


def test_too_many_features_for_exact_values(refused, digit):
    shown = refused("explain", "digits-cnn", digit, "-m", "exact-shapley", "--features", "pixels")
    assert "exact-shapley takes at most 20 features, not 64" in shown
    assert "kernel-shap" in shown


def test_output_that_is_a_file_is_refused_before_the_model_is_read(refused, tmp_path):
    (tmp_path / "out").write_text("mine")
    assert "is a file" in refused("explain", "no-such.onnx", "x.png", "-m", "rise", "-o", "out")
    assert "is a file" in refused("explain", "no-such.onnx", "x.png", "-m", "rise", "-o", "out/deeper")
    assert (tmp_path / "out").read_text() == "mine"


def test_output_that_cannot_be_written_is_refused_before_the_model_is_read(refused, monkeypatch):
    def deny(**_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(folder.tempfile, "TemporaryFile", deny)
    shown = refused("explain", "no-such.onnx", "x.png", "-m", "rise", "-o", "out")
    assert "cannot write results: Permission denied" in shown


def test_folder_with_files_of_others_is_refused_before_the_model_is_read(refused, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("<h1>my site</h1>")
    for command in (("explain", "no.onnx", "x.png"), ("evaluate", "no.onnx", "x.png"), ("analyse", "ice", "no.onnx")):
        more = ("--data", "rows.csv") if command[0] == "analyse" else ("-m", "rise")
        shown = refused(*command, *more, "-o", mine)
        assert "this folder holds files of others, such as 'index.html'" in shown
        assert "root of a file system" in refused(*command, *more, "-o", Path(tmp_path.anchor))
    assert [p.name for p in mine.iterdir()] == ["index.html"]
    assert (mine / "index.html").read_text() == "<h1>my site</h1>"


def test_folder_with_results_takes_more_of_them(run, refused, linear, tmp_path):
    explaining = ("explain", linear, "rows.csv:0", "-m", "ablation", "-o", "out")
    assert run(*explaining).exit_code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run("evaluate", linear, "rows.csv:0", "-m", "ablation", "--metric", "sparseness", "-o", "out").exit_code == 0
    (tmp_path / "out" / "index.html").unlink()
    assert run(*explaining).exit_code == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    (tmp_path / "out" / "index.html").write_text("<h1>my site</h1>")
    assert "was not written by onnxplain" in refused(*explaining)
    assert (tmp_path / "out" / "index.html").read_text() == "<h1>my site</h1>"


def test_bad_file_among_good_ones_is_told_and_the_rest_is_done(run, digit, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(digit, photos / "a.png")
    (photos / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.copy(digit, photos / "c.png")
    result = run("explain", "digits-cnn", "photos", "missing.png", "-m", "occlusion", "-o", "out", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 4
    assert [Path(r["input"]["source"]).name for r in document["results"]] == ["a.png", "c.png"]
    assert [Path(e["input"]).name for e in document["errors"]] == ["b.png", "missing.png"]
    assert {e["kind"] for e in document["errors"]} == {"InputError"}
    assert result.stderr.count("error: ") == 2
    assert sorted(p.name for p in (tmp_path / "out").glob("*.npz")) == ["a.occlusion.npz", "c.occlusion.npz"]


def test_method_that_fails_among_others_is_told_and_the_rest_is_done(run, digit):
    result = run("explain", "digits-cnn", digit, "-m", "exact-shapley", "-m", "ablation", "--features", "pixels")
    assert result.exit_code == 4
    assert f"error: {digit}, exact-shapley: exact-shapley takes at most 20" in result.stderr
    assert f"{digit}  ablation" in result.stdout


@pytest.fixture
def careless():
    """A method of another package that divides by zero, and one that gives no Explanation."""

    @dataclass(frozen=True)
    class Careless:
        """Makes a mistake."""

        def explain(self, problem):
            return 1 / (problem.seed - problem.seed)

    @dataclass(frozen=True)
    class Odd:
        """Gives a number."""

        def explain(self, problem):
            return problem.seed

    register("explainer", "careless")(Careless)
    register("explainer", "odd")(Odd)
    yield
    registry.unregister("careless")
    registry.unregister("odd")


def test_plugin_that_makes_a_mistake_is_told_and_the_rest_is_done(run, digit, careless):
    result = run("explain", "digits-cnn", digit, digit, "-m", "careless", "-m", "odd", "-m", "occlusion")
    assert result.exit_code == 4
    assert result.stdout.count(f"{digit}  occlusion") == 2
    assert f"{digit}, careless: careless failed: ZeroDivisionError: division by zero" in result.stderr
    assert f"{digit}, odd: odd failed: TypeError: it gave ['int'], not an Explanation" in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_where_an_item_failed(run, digit, careless):
    result = run("explain", "digits-cnn", digit, "-m", "careless", "-m", "occlusion", "--debug")
    assert result.exit_code == 4
    assert "return 1 / (problem.seed - problem.seed)" in result.stderr
    assert "return 1 / (problem.seed" not in run("explain", "digits-cnn", digit, "-m", "careless").stderr


def test_evaluation_goes_on_beside_a_plugin_that_makes_a_mistake(run, digit, careless):
    result = run("evaluate", "digits-cnn", digit, "-m", "careless", "-m", "occlusion", "--metric", "sparseness")
    assert result.exit_code == 4
    assert "careless failed: ZeroDivisionError" in result.stderr
    assert "occlusion" in result.stdout


def test_same_failure_again_takes_one_line(run, digit):
    result = run("explain", "digits-cnn", digit, digit, digit, "-m", "occlusion", "-t", "nonsense")
    assert result.exit_code == 3
    assert result.stderr.count("error: ") == 3
    assert result.stderr.count("tip: ") == 1


def test_all_failed_is_refused_and_json_says_why(run):
    result = run("explain", "digits-cnn", "missing.png", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 3
    assert document["results"] == []
    assert document["errors"][0]["message"] == "there is no such file"


def test_full_disk_leaves_no_file_and_says_what_was_needed(run, linear, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(home.os, "fsync", full)
    result = run("explain", linear, "rows.csv:0", "-m", "ablation", "-o", "out")
    assert result.exit_code == 3
    assert re.search(
        r"cannot write '.*rows-0\.ablation\.npz': No space left on device\n  tip: [\d,]+ bytes", result.stderr
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_full_disk_keeps_the_files_of_an_earlier_run(run, linear, tmp_path, monkeypatch):
    args = ("explain", linear, "rows.csv:0", "-m", "ablation", "-o", "out")
    assert run(*args).exit_code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(home.os, "fsync", full)
    assert run(*args).exit_code == 3
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


SIGNAL = "os.kill(os.getpid(), signal.SIGINT)"
INTERRUPT_WRITING = f"""
import os, signal
os.fsync = lambda _: {SIGNAL}
"""
INTERRUPT_COMPUTING = f"""
import os, signal
from onnxplain import Game
stream = Game.stream
def interrupted(self, coalitions):
    for number, found in enumerate(stream(self, coalitions)):
        if number == 2:
            {SIGNAL}
        yield found
Game.stream = interrupted
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("before", [INTERRUPT_COMPUTING, INTERRUPT_WRITING], ids=["computing", "writing"])
def test_interrupt_ends_with_its_code_one_line_and_no_half_written_file(command, digit, tmp_path, before):
    args = ("explain", "digits-cnn", digit, "-m", "rise", "--set", "masks=500000", "--set", "cells=4", "-o", "out")
    if before is INTERRUPT_WRITING:
        args = ("explain", "digits-cnn", digit, "-m", "occlusion", "-o", "out")
    result = command(*args, before=before)
    assert result.returncode == 130
    assert (result.stdout, result.stderr) == ("", "interrupted\n")
    left = [p for p in tmp_path.rglob("*") if p.is_file() and "home" not in p.parts]
    assert left == []


def test_line_break_in_a_file_name_does_not_start_a_line(refused, tmp_path):
    (tmp_path / "a\nerror: b.png").write_bytes(b"")
    shown = refused("explain", "digits-cnn", "a\nerror: b.png", "-m", "occlusion")
    assert shown.startswith("error: a\\nerror: b.png: ")


def test_picture_larger_than_the_limit_is_refused(refused, tmp_path):
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    assert "8000 x 8000 pixels" in refused("explain", "digits-cnn", "huge.png", "-m", "occlusion")


def test_saved_explanation_is_whole(run, linear, tmp_path):
    assert run("explain", linear, "rows.csv:0", "-m", "ablation", "-o", "out").exit_code == 0
    assert Explanation.load(tmp_path / "out" / "rows-0.ablation.npz").method == "ablation"


@pytest.mark.parametrize(
    ("command", "name", "tip"),
    [
        ("explain", "rise", "this is the name of a method, which is given with -m rise"),
        ("evaluate", "kernel-shap", "this is the name of a method, which is given with -m kernel-shap"),
        ("evaluate", "deletion", "this is the name of a metric, which is given with --metric deletion"),
    ],
)
def test_a_method_in_the_place_of_an_input_is_told_how_methods_are_given(run, digit, command, name, tip):
    result = run(command, "digits-cnn", digit, name)
    assert result.exit_code == 4
    assert f"error: {name}: there is no such file\n  tip: {tip}\n" in result.stderr
