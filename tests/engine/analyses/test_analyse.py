import dataclasses
from typing import Annotated

import numpy as np
import pytest

import onnxplain
from effect_models import COLUMNS, classifier, row_222
from onnxplain import Analysis, InputError, OnnxplainError, SettingError
from onnxplain.engine import registry
from onnxplain.models import catalogue
from text_models import string_model, written

ROWS = np.array([(1, 1, 0), (0, 2, 1), (3, 0, 2), (2, 1, 1)], np.float32)
Y = [2.0, 3, 6, 4]


@pytest.fixture
def table(tmp_path):
    """A CSV file of the rows, with a column of true values and one of weights."""
    path = tmp_path / "rows.csv"
    lines = [f"{a:g},{b:g},{c:g},{y:g},{w}" for (a, b, c), y, w in zip(ROWS, Y, (1, 2, 3, 4), strict=True)]
    path.write_text("age,income,town,truth,mass\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def seen():
    """A plug-in that hands out the study it was given."""
    studies = []

    @onnxplain.register("analysis", "look-at-the-study", needs=onnxplain.DATA)
    @dataclasses.dataclass(frozen=True)
    class Look:
        """Looks."""

        weights: Annotated[object, "column"] = None

        def analyse(self, study):
            studies.append(study)
            return Analysis("", ("rows",), ((study.count,),))

    yield lambda *given, **more: (onnxplain.analyse(*given[:2], "look-at-the-study", **more), studies.pop())[1]
    registry.unregister("look-at-the-study")


def test_columns_beside_the_models_are_labels_and_weights(seen, table):
    study = seen(row_222(), str(table), labels="truth", weights="mass")
    np.testing.assert_array_equal(study.rows["x"], ROWS)
    np.testing.assert_array_equal(study.labels, Y)
    np.testing.assert_array_equal(study.beside["mass"], [1, 2, 3, 4])
    assert study.first.columns == COLUMNS
    assert [s.feeds["x"].tolist() for s in study.samples] == ROWS[:, None].tolist()
    some = seen(row_222(), f"{table}:1-2", labels="truth", weights="mass")
    np.testing.assert_array_equal(some.rows["x"], ROWS[1:3])
    np.testing.assert_array_equal(some.labels, Y[1:3])


def test_a_files_own_label_column_is_found(seen, tmp_path):
    (tmp_path / "own.csv").write_text("Class,age,income,town\nowl,1,2,3\ncat,4,5,6\n")
    study = seen(classifier(), tmp_path / "own.csv")
    assert study.labels.tolist() == ["owl", "cat"]
    np.testing.assert_array_equal(study.rows["x"], [[1, 2, 3], [4, 5, 6]])


def test_labels_come_from_files_of_their_own(seen, tmp_path):
    np.save(tmp_path / "y.npy", np.array(Y))
    (tmp_path / "y.csv").write_text("name\ncat\ndog\nowl\ncat\n")
    np.save(tmp_path / "x.npy", ROWS)
    assert seen(row_222(), tmp_path / "x.npy", labels=str(tmp_path / "y.npy")).labels.tolist() == Y
    assert seen(classifier(), ROWS, labels=tmp_path / "y.csv").labels.tolist() == ["cat", "dog", "owl", "cat"]
    np.savez(tmp_path / "both.npz", x=ROWS, truth=np.array(Y))
    study = seen(row_222(), f"{tmp_path / 'both.npz'}:1-3", labels="truth")
    np.testing.assert_array_equal(study.rows["x"], ROWS[1:])
    assert study.labels.tolist() == Y[1:]
    assert seen(row_222(), {"x": ROWS, "t": np.array(Y)}, labels="t").labels.tolist() == Y


def test_a_folder_of_pictures_is_loaded(seen, tmp_path):
    paths = [p for p in catalogue.samples("digits-cnn") if p.suffix == ".png"][:4]
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    study = seen(catalogue.path("digits-cnn"), [str(p) for p in paths], labels=range(len(paths)))
    assert study.rows["image"].shape == (len(paths), 1, 8, 8)
    assert study.samples[1].image is not None
    folder = seen(catalogue.path("digits-cnn"), tmp_path)
    np.testing.assert_array_equal(
        np.sort(folder.rows["image"].sum(axis=(1, 2, 3))), np.sort(study.rows["image"].sum(axis=(1, 2, 3)))
    )


def test_labels_are_read_from_names_of_files(seen, tmp_path):
    paths = [p for p in catalogue.samples("digits-cnn") if p.suffix == ".png"][:3]
    for path in paths:
        folder = tmp_path / path.stem[-1]
        folder.mkdir()
        (folder / path.name).write_bytes(path.read_bytes())
        (tmp_path / f"x-{path.name}").write_bytes(path.read_bytes())
    model = catalogue.path("digits-cnn")
    expected = sorted(p.stem[-1] for p in paths)
    assert seen(model, tmp_path, labels="x-*-{label}.png").labels.tolist() == expected
    assert seen(model, str(tmp_path / "*" / "*.png"), labels="{label}/*").labels.tolist() == expected
    assert "does not fit the labels' form" in refused(tmp_path, "look-at-the-study", model, labels="y-{label}.png")
    message = refused({"image": np.zeros((2, 1, 8, 8), np.float32)}, "look-at-the-study", model, labels="{label}.png")
    assert "are read from names of files" in message


def test_texts_are_data_in_lists_arrays_and_files(seen, tmp_path):
    model = onnxplain.load(written(tmp_path, string_model()))
    (tmp_path / "rows.csv").write_text("id,blurb,class\n7,a film,0\n8,dull,1\n")
    given = (
        [onnxplain.Text("a film"), onnxplain.Text("dull")],
        ["a film", "dull"],
        np.array(["a film", "dull"]),
        {"text": ["a film", "dull"]},
        str(tmp_path / "rows.csv"),
    )
    for data in given:
        study = seen(model, data)
        assert study.rows["text"].tolist() == [["a film"], ["dull"]]
        assert study.first.text == "a film"
    assert study.labels.tolist() == [0, 1]
    assert study.notes == ("columns that are not the model's, left out: id",)


def test_rows_are_drawn_with_labels_and_samples_alike(seen):
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    study = seen(row_222(), rows, labels=np.arange(20)).at_most(7)
    assert study.count == 7
    np.testing.assert_array_equal(study.rows["x"][:, 0] / 3, study.labels)
    assert (np.diff(study.labels) > 0).all()
    assert [s.feeds["x"][0, 0] for s in study.samples] == study.rows["x"][:, 0].tolist()


def test_the_result_says_how_it_was_made(table):
    of_file = onnxplain.analyse(row_222(), str(table), "permutation-importance", labels="truth", repeats=2)
    assert of_file.notes[-1] == "columns that are not the model's, left out: mass"
    assert of_file.manifest["data"] == str(table)
    found = onnxplain.analyse(row_222(), ROWS, "permutation-importance", labels=Y, seed=3, repeats=2)
    assert found.name == "permutation-importance"
    assert found.settings["repeats"] == 2
    assert found.manifest["seed"] == 3
    assert found.manifest["data_rows"] == 4
    assert found.manifest["settings_given"] == {"repeats": 2}
    assert len(found.manifest["data_digest"]) == 64
    other = onnxplain.analyse(row_222(), ROWS + 1, "permutation-importance", labels=Y, seed=3, repeats=2)
    assert other.manifest["data_digest"] != found.manifest["data_digest"]
    assert found.seconds > 0


def test_progress_counts_model_rows():
    class Count:
        started, done = 0, 0

        def start(self, description, total):
            assert description == "permutation-importance"
            Count.started = total

        def advance(self, done):
            Count.done += done

    found = onnxplain.analyse(row_222(), ROWS, "permutation-importance", labels=Y, repeats=3, progress=Count())
    assert Count.started == Count.done == found.evaluations == 4 * (1 + 3 * 3)


def refused(data=ROWS, name="permutation-importance", model=None, **settings):
    with pytest.raises(OnnxplainError) as caught:
        onnxplain.analyse(model or row_222(), data, name, **settings)
    assert 1 <= len(str(caught.value).splitlines()) <= 6
    return str(caught.value)


def test_names_that_do_not_exist_have_the_nearest_told(table):
    assert "did you mean 'permutation-importance'" in refused(name="permutation-importanc")
    assert "lime' is an explainer, not an analysis" in refused(name="lime")
    assert "did you mean 'repeats'" in refused(labels=Y, repeat=3)
    assert "did you mean 'truth'" in refused(str(table), labels="trut")
    assert "there is no array 'y' in the data" in refused({"x": ROWS}, labels="y")
    assert "did you mean" in refused(str(table) + "x", labels="truth")


def test_data_that_do_not_fit_are_told(tmp_path):
    def file(text):
        (tmp_path / "bad.csv").write_text(text)
        return refused(str(tmp_path / "bad.csv"), labels=Y)

    assert "this file is empty" in file("")
    assert "this file has no rows" in file("age,income,town\n")
    assert "there are 4 labels for 1 rows" in file("age,income,town\n1,2,3\n")
    assert "missing value in column 'income'" in file("age,income,town\n1,,3\n1,2,3\n1,2,3\n1,2,3\n")
    assert "takes the shape" in refused(ROWS[:, :2], labels=Y)
    assert "labels of shape (2, 2) for 4 rows" in refused(labels=[[1, 2], [3, 4]])
    assert "seed must be a whole number" in refused(labels=Y, seed=-1)
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    assert "which column holds the labels?" in refused(labels=str(tmp_path / "two.csv"))
    (tmp_path / "gap.csv").write_text("age,income,town,y\n1,2,3,\n")
    assert "its cell is empty" in refused(str(tmp_path / "gap.csv"))


def test_missing_values_go_where_the_model_takes_them():
    rows = ROWS.copy()
    rows[0, 1] = np.nan
    assert "missing value in column 'income'" in refused(rows, labels=Y)


def test_unknown_columns_of_weights_are_told():
    with pytest.raises((SettingError, InputError), match="there is no array 'w' in the data"):
        onnxplain.analyse(row_222(), {"x": ROWS}, "partial-dependence", weights="w")
