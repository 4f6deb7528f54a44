"""Saved explanations: bit for bit the same when loaded, and read with care."""

import dataclasses
import errno
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from onnxplain import Explanation, InputError
from onnxplain.engine import home
from onnxplain.engine.results import file as explanation_file
from sample_explanations import everything, simple


def same_arrays(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


def test_every_field_comes_back_bit_for_bit(tmp_path):
    saved = everything()
    loaded = Explanation.load(saved.save(tmp_path / "e.npz"))
    assert loaded == saved
    assert saved == loaded
    for name in ("values", "standard_error", "feature_labels"):
        assert same_arrays(getattr(saved, name), getattr(loaded, name))
    for name in ("feature_values", "feature_errors"):
        assert getattr(saved, name).tobytes() == getattr(loaded, name).tobytes()
    plain = (
        "method",
        "target",
        "score",
        "baseline_score",
        "gap",
        "evaluations",
        "seconds",
        "label",
        "feature_names",
        "notes",
    )
    assert [getattr(saved, n) for n in plain] == [getattr(loaded, n) for n in plain]
    assert loaded.manifest == {"seed": 3, "target_index": [None, 2], "nested": {"x": [0.5]}}
    assert loaded.settings["array"].dtype == np.float32
    assert same_arrays({"": loaded.settings["array"]}, {"": saved.settings["array"]})
    assert same_arrays({"": loaded.settings["by_input"]["a:0"]}, {"": np.int8([1, 2])})
    assert (loaded.settings["window"], loaded.settings["path"], loaded.settings["flag"]) == ([2, 3], "a/b", True)
    assert loaded.sample.feeds["text"].dtype == object
    assert loaded.sample.feeds["text"].tolist() == [["Größe", "", "a\nb"]]
    del saved.sample.feeds["text"], loaded.sample.feeds["text"]
    assert same_arrays(saved.sample.feeds, loaded.sample.feeds)
    assert np.array_equal(saved.sample.image, loaded.sample.image)
    kept = ("modality", "source", "image_input", "columns", "raw", "label")
    assert [getattr(saved.sample, n) for n in kept] == [getattr(loaded.sample, n) for n in kept]
    assert loaded.sample.preprocessing == {"mean": [0.5, 0.25], "layout": "NCHW"}


def test_the_name_that_it_was_saved_under_will_do(tmp_path):
    saved = simple()
    saved.save(tmp_path / "mine")
    assert Explanation.load(tmp_path / "mine") == saved
    assert Explanation.load(tmp_path / "mine.npz") == saved


def test_what_is_not_there_stays_so(tmp_path):
    saved = simple()
    loaded = Explanation.load(saved.save(tmp_path / "e"))
    assert loaded == saved
    for field in dataclasses.fields(Explanation):
        if field.name != "values":
            assert getattr(loaded, field.name) == getattr(saved, field.name), field.name


def test_members_of_the_file_have_harmless_names(tmp_path):
    with zipfile.ZipFile(everything().save(tmp_path / "e.npz")) as archive:
        names = archive.namelist()
    assert len(set(names)) == len(names)
    assert all(name.isascii() and name.isprintable() and ".." not in name.split("/") for name in names)
    assert not any(name.startswith("/") or "\\" in name for name in names)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = simple().save(tmp_path / "e.npz")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((home.os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(InputError, match=r"No space left on device\n.*[0-9,]+ bytes are needed"):
        everything().save(path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["e.npz"]
    assert path.read_bytes() == before


def test_places_that_cannot_be_written_to_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    for name, reason in {"file/e": "(File exists|Not a directory)", "folder": "Is a directory", "a\0b": "null"}.items():
        with pytest.raises(InputError, match=f"cannot write .*{reason}"):
            simple().save(tmp_path / name)


def archive(path, header=None, *, compression=zipfile.ZIP_DEFLATED, **arrays):
    """Write a file by hand: a header of any kind and arrays by name."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with zipfile.ZipFile(path, "w", compression) as whole:
        for name, array in {"header": np.frombuffer(text, np.uint8), **arrays}.items():
            with whole.open(f"{name}.npy", "w") as member:
                np.save(member, array, allow_pickle=True)
    return path


HEADER = explanation_file.header_of(simple())
SAMPLE = dict.fromkeys(explanation_file._SAMPLE, "") | {"columns": [], "raw": [], "preprocessing": {}}
DAMAGED = {
    "not JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "nested deep": b"[" * 200_000,
    "a list": [],
    "no format": {},
    "foreign": {"format": "x", "schema_version": 1},
    "no version": {"format": "onnxplain-explanation"},
    "odd version": {**HEADER, "schema_version": "9"},
    "newer": {**HEADER, "schema_version": 99},
    "no fields": {"format": "onnxplain-explanation", "schema_version": 1},
    "score": {**HEADER, "score": "high"},
    "flag": {**HEADER, "score": True},
    "method": {**HEADER, "method": {}},
    "sample": {**HEADER, "sample": {"feeds": 1}},
    "columns": {**HEADER, "sample": {**dict.fromkeys(explanation_file._SAMPLE), "raw": []}},
    "modality": {**HEADER, "sample": {**SAMPLE, "modality": ["image"]}},
    "names": {**HEADER, "feature_names": 3},
    "array": {**HEADER, "settings": {"a": {"onnxplain-array": 5}}},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_header_that_does_not_fit_is_refused(tmp_path, kind):
    path = archive(tmp_path / "e.npz", DAMAGED[kind])
    with pytest.raises(
        InputError, match="newer onnxplain" if kind == "newer" else "is not a (saved|whole) explanation"
    ):
        Explanation.load(path)


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    good = archive(tmp_path / "e.npz", HEADER, **{"values/x": np.ones(2)})
    assert Explanation.load(good) == simple()
    for odd in ({"values/x": np.array(["a"])}, {"values/%zz;": np.ones(2)}, {"values/%ffffffffff;": np.ones(2)}):
        with pytest.raises(InputError, match="not a whole explanation"):
            Explanation.load(archive(tmp_path / "e.npz", HEADER, **odd))
    for odd in (np.ones(3), np.ones((0,))):
        with pytest.raises(InputError, match="not a whole explanation"):
            Explanation.load(archive(tmp_path / "e.npz", HEADER, **{"values/x": np.ones(2), "standard_error/x": odd}))
    named = archive(tmp_path / "e.npz", {**HEADER, "feature_names": ["a", "b"]}, feature_values=np.ones(3))
    with pytest.raises(InputError, match="2 feature names do not fit"):
        Explanation.load(named)


def test_pickles_bombs_and_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="pickled"):
        Explanation.load(archive(tmp_path / "p.npz", HEADER, **{"values/x": np.array([{}], dtype=object)}))
    with pytest.raises(InputError, match="decompression bomb"):
        Explanation.load(archive(tmp_path / "b.npz", HEADER, **{"values/x": np.zeros(9_000_000)}))
    np.savez(tmp_path / "f.npz", x=np.ones(3))
    np.save(tmp_path / "f.npy", np.ones(3))
    for name, reason in {
        "f.npz": "not a saved",
        "f.npy": "not a saved",
        "no.npz": "no such file",
        "": "folder",
    }.items():
        with pytest.raises(InputError, match=reason):
            Explanation.load(tmp_path / name)


def test_a_name_too_long_for_an_archive_is_refused(tmp_path):
    with pytest.raises(InputError, match="a tensor's name has more than 65,000 characters"):
        simple(values={"x" * 70_000: np.ones(1)}).save(tmp_path / "e.npz")


def test_large_arrays_of_zeros_can_be_loaded_again(tmp_path):
    zeros = simple(values={"x": np.zeros(9_000_000)})
    assert Explanation.load(zeros.save(tmp_path / "z.npz")) == zeros


def test_damaged_files_are_refused_and_never_crash(tmp_path):
    whole = everything().save(tmp_path / "e.npz").read_bytes()
    path, rng = tmp_path / "d.npz", np.random.default_rng(0)
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            Explanation.load(path)
    loaded = 0
    for place in rng.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded += isinstance(Explanation.load(path), Explanation)
        except InputError as error:
            assert len(str(error).splitlines()) <= 6  # noqa: PT017 - most, not all, are refused
    assert loaded < 75
