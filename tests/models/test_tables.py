"""The models of tables: accuracy, outputs, the files beside them, and that ONNX gives what scikit-learn gave."""

import csv
import json
import tomllib

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxplain
from onnxplain.engine.inputs.table import load_values
from onnxplain.models import shop
from onnxplain.models.catalogue import build, path, samples

pytest.importorskip("skl2onnx")


@pytest.fixture(scope="module", params=["breast-cancer-forest", "wine-mlp"])
def built(request, tmp_path_factory):
    """The folder of a model that was built just now."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXPLAIN_HOME", str(home))
        file = build(request.param)
        assert path(request.param) == file
        assert samples(request.param) == [file.parent / "samples" / "held-out.csv"]
    return file


def read_table(file):
    with file.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    return header, rows


def read_spec(file):
    return tomllib.loads(file.with_suffix(".toml").read_text(encoding="utf-8"))


def predicted_classes(file, rows):
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    output = session.run([read_spec(file)["output"]], {"features": np.array(rows, dtype=np.float32)})[0]
    table = np.array([[row[k] for k in sorted(row)] for row in output]) if isinstance(output, list) else output
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-4)
    return table.argmax(axis=1)


def test_held_out_rows_are_classified_well(built):
    _, rows = read_table(built.parent / "samples" / "held-out.csv")
    header, labels = read_table(built.parent / "held-out-labels.csv")
    assert header == ["class"]
    names = read_spec(built)["labels"]
    right = [names[k] == label for k, [label] in zip(predicted_classes(built, rows), labels, strict=True)]
    assert len(right) in {143, 45}
    assert np.mean(right) >= 0.92


def test_spec_names_columns_and_classes(built):
    spec = read_spec(built)
    table = spec["inputs"]["features"]
    assert (spec["task"], table["modality"], table["layout"]) == ("classification", "table", "NF")
    dims = onnx.load(built).graph.input[0].type.tensor_type.shape.dim
    assert len(table["columns"]) == dims[1].dim_value == len(set(table["columns"]))
    assert len(spec["labels"]) == {30: 2, 13: 3}[dims[1].dim_value]
    for file in (built.parent / spec["background"], built.parent / "samples" / "held-out.csv"):
        assert read_table(file)[0] == table["columns"]


def test_background_is_a_hundred_training_rows(built):
    _, background = read_table(built.parent / "background.csv")
    _, held_out = read_table(built.parent / "samples" / "held-out.csv")
    assert len(background) == 100
    assert not {tuple(row) for row in background} & {tuple(row) for row in held_out}


def test_forest_keeps_its_zipmap_and_perceptron_its_scaler(built):
    operators = [node.op_type for node in onnx.load(built).graph.node]
    if built.stem == "breast-cancer-forest":
        assert operators == ["TreeEnsembleClassifier", "Cast", "ZipMap"]
    else:
        assert operators[0] == "Scaler"
        assert "ZipMap" not in operators


def test_manifest_records_digest_and_versions_but_no_date(built):
    manifest = json.loads((built.parent / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest) == {"model", "digest", "packages", "built_with", "files"}
    assert set(manifest["built_with"]) == {"numpy", "onnx", "scikit-learn", "skl2onnx"}
    assert manifest["digest"] == manifest["files"][built.name]


def built_now(name, home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXPLAIN_HOME", str(home))
        return build(name)


def held_out(file):
    """The model, its prediction for each row that was held out, and the true labels."""
    model = onnxplain.load(file)
    rows = load_values(str(file.parent / "samples" / "held-out.csv"), model.inputs, model.spec)
    _, labels = read_table(file.parent / "held-out-labels.csv")
    return model, model.predict(rows)[model.spec.output], [label for [label] in labels]


@pytest.mark.parametrize(
    ("name", "count", "least"), [("iris-logistic", 38, 0.97), ("breast-cancer-logistic", 143, 0.95)]
)
def test_logistic_regressions_classify_well(name, count, least, tmp_path):
    model, scores, labels = held_out(built_now(name, tmp_path))
    assert len(labels) == count
    assert np.mean([model.labels[k] == label for k, label in zip(scores.argmax(axis=1), labels, strict=True)]) >= least


def test_boosted_trees_predict_the_course_of_diabetes_in_its_own_unit(tmp_path):
    file = built_now("diabetes-boosting", tmp_path)
    model, scores, labels = held_out(file)
    truth = np.array(labels, dtype=float)
    assert (model.spec.task, model.labels) == ("regression", ("disease progression",))
    assert 1 - np.square(truth - scores[:, 0]).sum() / np.square(truth - truth.mean()).sum() > 0.25
    found = onnxplain.explain(model, f"{file.parent}/samples/held-out.csv:0", "kernel-shap", budget=20_000)
    assert found.label == "disease progression"
    assert found.score == pytest.approx(scores[0, 0], rel=1e-6)
    assert found.feature_values.sum() == pytest.approx(found.score - found.baseline_score, abs=1e-6)


def test_pipeline_of_mixed_columns_gives_what_scikit_learn_gives(tmp_path):
    file = built_now("shop-pipeline", tmp_path)
    model, scores, labels = held_out(file)
    people = shop.customers()
    table = np.array([people.columns[name].astype(object) for name in shop.COLUMNS], dtype=object).T
    trained = shop.pipeline().fit(table[: -shop.HELD_OUT], people.again[: -shop.HELD_OUT])
    np.testing.assert_allclose(scores, trained.predict_proba(table[-shop.HELD_OUT :]), atol=1e-5)
    assert np.isnan(np.array(table[-shop.HELD_OUT :, :2], dtype=float)).any()
    assert np.mean([shop.CLASSES[k] == label for k, label in zip(scores.argmax(axis=1), labels, strict=True)]) > 0.78
    assert [i.dtype.kind for i in model.inputs] == ["f", "f", "i", "i", "O", "O", "O"]
