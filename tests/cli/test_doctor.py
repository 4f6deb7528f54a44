"""``onnxplain doctor``: what it measures and what it complains about."""

import importlib.metadata
import json

import onnxruntime
import pytest

from onnxplain.cli import doctor
from onnxplain.engine import registry, runtime


def healthy():
    return {
        "versions": {"onnx": "1.21.0", "protobuf": "6.31.1", "pillow": "12.3.0", "onnxruntime": "1.30"},
        "broken_plugins": [],
        "devices": {"cpu": "", "cuda": "there is no NVIDIA driver on this machine"},
        "cache": {"path": "/cache", "size": 0, "writable": True},
    }


def test_json_says_versions_devices_and_cache(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "cuda_missing", lambda _=0: "no driver")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "layouts.json").write_bytes(b"{}" * 50)
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["schema_version"]) == (0, 1)
    assert found["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert found["devices"] == {"cpu": "", "cuda": "no driver"}
    assert found["providers"] == onnxruntime.get_available_providers()
    assert found["cache"]["path"] == str(tmp_path / "home")
    assert found["cache"]["size"] >= 100
    assert found["plugins"] >= 5


def test_text_names_devices_that_work_and_those_that_do_not(run, monkeypatch):
    monkeypatch.setattr(runtime, "cuda_missing", lambda _=0: "no driver")
    shown = run("doctor").stdout
    assert "  cpu        works\n" in shown
    assert "  cuda       no driver\n" in shown


def test_nothing_is_said_of_a_healthy_installation():
    assert doctor._warnings(healthy()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {"onnx": "1.20.1"}}, "onnx 1.20.1 is below 1.21.0"),
        ({"versions": {"pillow": "12.2.9"}}, "pillow 12.2.9 is below 12.3.0"),
        ({"versions": {"protobuf": "5.29.0"}}, "protobuf 5.29.0 is below 6.31.1"),
        ({"versions": {"onnxruntime": "1.30", "onnxruntime-gpu": "1.30"}}, "overwrite each other"),
        ({"devices": {"cpu": "it fails", "cuda": ""}}, "the CPU does not run models: it fails"),
        ({"cache": {"path": "/cache", "size": 0, "writable": False}}, "set ONNXPLAIN_HOME"),
        ({"broken_plugins": [{"name": "odd", "package": "p", "reason": "no"}]}, "plug-in 'odd' of p does not load: no"),
    ],
)
def test_warnings(change, said):
    (warning,) = doctor._warnings(healthy() | change)
    assert said in warning


def test_two_digit_numbers_are_compared_as_numbers():
    assert doctor._warnings(healthy() | {"versions": {"onnx": "1.100.0", "pillow": "12.10"}}) == []


def test_broken_plugin_is_shown(run, monkeypatch):
    monkeypatch.setitem(registry._broken, "odd", registry.Broken("odd", "somewhere", "ImportError"))
    result = run("doctor")
    assert result.exit_code == 0
    assert "warning: plug-in 'odd' of somewhere does not load: ImportError\n" in result.stdout
