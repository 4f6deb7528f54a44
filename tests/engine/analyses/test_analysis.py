import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest

import onnxplain
from onnxplain import Analysis, InputError
from onnxplain.engine.render import png


@pytest.fixture
def analysis():
    return Analysis(
        "nonsense",
        ("feature", "value", "class"),
        (("a", 1.5, None), ("b", float("nan"), "owl")),
        {"names": np.array(["a", "b"]), "values": np.array([1.5, 0.25]), "grid/0": np.arange(3.0)},
        settings={"weights": np.array([1.0, 2.0]), "points": 3},
        picture="bars",
        words={"title": "nonsense: value", "value": "value"},
        notes=("made by hand",),
        evaluations=7,
        seconds=0.5,
        manifest={"seed": 0},
    )


def test_a_file_holds_all_of_it(analysis, tmp_path):
    path = analysis.save(tmp_path / "result")
    assert path.name == "result.npz"
    again = Analysis.load(path)
    assert again == analysis
    assert again.rows[0] == ("a", 1.5, None)
    assert np.isnan(again.rows[1][1])
    np.testing.assert_array_equal(again.settings["weights"], [1, 2])
    assert (again.seconds, again.manifest, again.words) == (0.5, {"seed": 0}, analysis.words)
    with zipfile.ZipFile(path) as archive:
        assert not any(b"pickle" in archive.read(name)[:80] for name in archive.namelist())


def test_equality_looks_at_numbers_not_at_times(analysis):

    assert dataclasses.replace(analysis, seconds=9.0, manifest={}) == analysis
    assert dataclasses.replace(analysis, evaluations=8) != analysis
    changed = analysis.arrays | {"values": np.array([1.5, np.nextafter(0.25, 1)])}
    assert dataclasses.replace(analysis, arrays=changed) != analysis
    assert analysis != "nonsense"


def test_json_has_a_dict_per_row_and_no_nan(analysis):
    document = json.loads(json.dumps(analysis.to_json(), allow_nan=False))
    assert document["rows"][1] == {"feature": "b", "value": None, "class": "owl"}
    assert document["arrays"]["values"]["data"] == [1.5, 0.25]
    assert document["name"] == "nonsense"
    assert document["evaluations"] == 7


@pytest.mark.parametrize("damage", ["header", "rows", "object", "other", "newer"])
def test_files_that_are_damaged_or_of_another_kind_are_refused(analysis, tmp_path, damage):
    path = analysis.save(tmp_path / "result.npz")
    if damage == "other":
        np.savez(path, x=np.zeros(3))
    elif damage == "object":
        np.savez(path, header=np.array([{}], dtype=object))
    else:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        header = json.loads(np.load(io.BytesIO(parts["header.npy"])).tobytes())
        change = {"header": {"columns": 3}, "rows": {"rows": [["a"]]}, "newer": {"schema_version": 99}}[damage]
        packed = io.BytesIO()
        np.save(packed, np.frombuffer(json.dumps(header | change).encode(), dtype=np.uint8))
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (parts | {"header.npy": packed.getvalue()}).items():
                archive.writestr(name, data)
    with pytest.raises(InputError) as caught:
        Analysis.load(path)
    assert len(str(caught.value).splitlines()) <= 6


def test_an_explanation_is_not_an_analysis(tmp_path):
    model = onnxplain.models.path("digits-cnn")
    made = onnxplain.explain(model, np.zeros((1, 1, 8, 8), np.float32), "ablation", features="grid:2", target=1)
    with pytest.raises(InputError, match="is not a saved analysis"):
        Analysis.load(made.save(tmp_path / "e.npz"))


def test_a_notebook_shows_the_picture(analysis):

    assert analysis._repr_png_() == png(analysis.plot())
    assert dataclasses.replace(analysis, picture="none")._repr_png_() is None


def test_a_listing_is_kept_and_told_row_by_row(analysis, tmp_path):
    found = dataclasses.replace(analysis, listing=("names", "values"))
    again = Analysis.load(found.save(tmp_path / "listed.npz"))
    assert again == found != analysis
    assert again.listed() == [("a", 1.5), ("b", 0.25)]
    assert again.listed(1) == [("a", 1.5)]
    assert again.to_json()["listing"] == [{"names": "a", "values": 1.5}, {"names": "b", "values": 0.25}]
    odd = dataclasses.replace(analysis, listing=("names", "grid/0"))
    with pytest.raises(InputError, match="is not a whole analysis"):
        Analysis.load(odd.save(tmp_path / "odd.npz"))
