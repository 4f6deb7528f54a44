"""``onnxplain methods``: the registry as a table, as one description and as JSON."""

import json

import pytest

from onnxplain import methods
from onnxplain.engine import registry


def test_table_has_a_line_for_every_method(run):
    lines = run("methods").stdout.splitlines()
    assert lines[0].split()[:4] == ["name", "kind", "needs", "inputs"]
    assert [line.split()[0] for line in lines[1:]] == [m.name for m in methods()]
    assert "rise" in [line.split()[0] for line in lines]


def test_kind_filters(run):
    names = [m["name"] for m in json.loads(run("methods", "--kind", "explainer", "--json").stdout)["methods"]]
    assert names == [m.name for m in methods("explainer")]
    assert json.loads(run("methods", "--kind", "attack", "--json").stdout)["methods"] == []


def test_json_says_what_a_program_needs(run):
    document = json.loads(run("methods", "rise", "--json").stdout)
    assert document["schema_version"] == 1
    (rise,) = document["methods"]
    assert {"name", "kind", "needs", "modalities", "settings", "source"} <= set(rise)
    assert rise["needs"] == ["predict"]
    settings = {setting["name"]: setting for setting in rise["settings"]}
    assert (settings["probability"]["type"], settings["probability"]["bounds"]) == ("number", "0.001 to 0.999")
    assert settings["budget"]["type"] == "integer or none"
    assert settings["budget"]["bounds"].startswith("at least")


def test_description_has_settings_with_bounds_source_and_an_example_that_parses(run):
    shown = run("methods", "rise").stdout
    assert "arXiv:1806.07421" in shown
    assert "at least" in shown
    example = next(line.strip() for line in shown.splitlines() if line.startswith("  onnxplain explain"))
    result = run(*example.split()[1:])
    assert "there is no such file" in result.stderr  # model.onnx: all settings were taken


@pytest.mark.parametrize("name", [m.name for m in methods("explainer")])
def test_example_of_every_method_has_settings_that_it_takes(run, name):
    shown = run("methods", name).stdout
    example = next(line.strip() for line in shown.splitlines() if line.startswith("  onnxplain explain"))
    assert "there is no such file" in run(*example.split()[1:]).stderr


def test_unknown_method_names_the_nearest(run):
    result = run("methods", "ocluson")
    assert result.exit_code == 3
    told = "there is no plug-in called 'ocluson'\n  tip: did you mean 'occlusion' or 'localisation'?"
    assert result.stderr == f"error: {told}\n"


def test_broken_plugin_is_a_warning_and_the_rest_is_listed(run, monkeypatch):
    monkeypatch.setitem(registry._broken, "odd", registry.Broken("odd", "somewhere", "ImportError: no\x1b"))
    result = run("methods")
    assert result.exit_code == 0
    assert "warning: plug-in 'odd' of somewhere does not load: ImportError: no\\x1b\n" in result.stderr
    assert "occlusion" in result.stdout
