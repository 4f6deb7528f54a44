"""``onnxplain models``: the catalogue as a table, and paths that a shell can use."""

import json
from pathlib import Path

import pytest

from onnxplain.engine.errors import CapabilityError
from onnxplain.models import catalogue


@pytest.mark.parametrize("args", [(), ("list",)])
def test_list_says_what_is_built(run, args):
    shown = run("models", *args).stdout
    lines = {line.split()[0]: line for line in shown[: shown.index("Licences")].splitlines() if line}
    assert "ready" in lines["digits-cnn"]
    assert "not built" in lines["wine-mlp"]


@pytest.mark.parametrize("args", [("--json",), ("list", "--json")])
def test_json_says_where_models_lie(run, args, tmp_path):
    document = json.loads(run("models", *args).stdout)
    entries = {m["name"]: m for m in document["models"]}
    assert document["home"] == str(tmp_path / "home" / "models")
    assert Path(entries["digits-cnn"]["path"]).is_file()
    assert entries["efficientnet-lite0"]["path"] is None
    assert entries["efficientnet-lite0"]["state"] == "not built"


def test_path_and_samples_are_files(run):
    assert Path(run("models", "path", "digits-cnn").stdout.removesuffix("\n")).is_file()
    samples = run("models", "samples", "digits-cnn").stdout.splitlines()
    assert [Path(s) for s in samples] == catalogue.samples("digits-cnn")


def test_model_that_is_not_built_says_how(run):
    result = run("models", "path", "wine-mlp")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "tip: onnxplain models build wine-mlp" in result.stderr


def test_unknown_model_names_the_nearest(run):
    result = run("models", "build", "wine-mpl")
    assert result.exit_code == 3
    assert "did you mean 'wine-mlp'?" in result.stderr


def test_build_reports_on_stderr_and_gives_the_path_on_stdout(run, monkeypatch):
    def build(name, *, report, again):
        report(f"fetching {name}")
        return Path(f"{name}-{again}.onnx")

    monkeypatch.setattr(catalogue, "build", build)
    result = run("models", "build", "wine-mlp", "--again")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "wine-mlp-True.onnx\n", "note: fetching wine-mlp\n")


def test_build_that_fails_is_refused(run, monkeypatch):
    def fail(*_, **__):
        raise CapabilityError("no network", tip="check it")

    monkeypatch.setattr(catalogue, "build", fail)
    result = run("models", "build", "wine-mlp")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "error: no network\n  tip: check it\n")
