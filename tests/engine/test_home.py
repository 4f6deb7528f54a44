"""The cache folder: what may be lost is written whole, and a damaged file is as good as none."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

import onnxplain
from onnxplain.engine import home
from onnxplain.engine.home import recall, remember, write_whole


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXPLAIN_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_can_be_moved(folder, monkeypatch):
    assert onnxplain.home() == folder
    monkeypatch.setenv("ONNXPLAIN_HOME", "~/somewhere")
    assert onnxplain.home() == Path.home() / "somewhere"
    monkeypatch.delenv("ONNXPLAIN_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert onnxplain.home().name == "onnxplain"


def test_what_is_remembered_is_recalled(folder):
    assert recall("f.json", "a") is None
    assert not folder.exists()
    remember("f.json", "a", {"batch": 3})
    remember("f.json", "b", [1])
    remember("f.json", "a", {"batch": 4})
    assert (recall("f.json", "a"), recall("f.json", "b"), recall("g.json", "a")) == ({"batch": 4}, [1], None)
    assert [p.name for p in folder.iterdir()] == ["f.json"]


def test_the_oldest_are_forgotten(folder):
    for key in "abcda":
        remember("f.json", key, key, limit=3)
    assert list(json.loads((folder / "f.json").read_text())) == ["c", "d", "a"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 200_000, b'{"a": ' * 100_000])
def test_damaged_files_are_as_good_as_none(folder, content):
    folder.mkdir()
    (folder / "f.json").write_bytes(content)
    assert recall("f.json", "a") is None
    remember("f.json", "a", 1)
    assert recall("f.json", "a") == 1


def test_a_folder_that_refuses_keeps_nothing(folder):
    folder.write_text("a file where the folder should be")
    remember("f.json", "a", 1)
    assert recall("f.json", "a") is None
    assert folder.read_text() == "a file where the folder should be"


def test_files_are_there_whole_with_the_usual_rights(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / ("x" * 250), b"one")
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path, monkeypatch, call, error):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(*((home.os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(type(error)):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert path.read_bytes() == b"old"
