"""A saved analysis, made again: bit for bit, or refused where model, data or labels are others."""

import dataclasses

import numpy as np
import pytest

import onnxplain
from effect_models import classifier, row_222
from onnxplain import Analysis, CapabilityError, InputError, SettingError
from onnxplain.engine.analyses.replay import replay_analysis
from onnxplain.engine.explain import samples_of
from onnxplain.engine.runtime import Layout
from text_models import SPECIAL, VOCABULARY, text_beside_model, token_model, tokenizer, written

ROWS = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
Y = (2 * ROWS[:, 0] + ROWS[:, 1] * ROWS[:, 2]).astype(float)


def saved(found, tmp_path):
    return Analysis.load(found.save(tmp_path / "saved.npz"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("permutation-importance", {"labels": Y, "repeats": 3}),
        ("permutation-importance", {"labels": Y, "features": onnxplain.Features}),
        ("partial-dependence", {"points": 5, "percentiles": (10, 90)}),
        ("ice", {"columns": "age", "rows": 20}),
    ],
)
def test_a_replay_is_the_same_bit_for_bit(tmp_path, name, settings):
    if settings.get("features") is onnxplain.Features:
        labels = np.array([[0, 0, 1]])
        settings = settings | {"features": onnxplain.Features(("pair", "town"), {"x": labels}, "groups")}
    model = row_222()
    found = onnxplain.analyse(model, ROWS, name, seed=4, **settings)
    again = onnxplain.replay(saved(found, tmp_path), model, ROWS, settings.get("labels"))
    assert again == found
    assert again.manifest["data_digest"] == found.manifest["data_digest"]


def test_loops_have_the_layouts_that_they_had(tmp_path):
    found = onnxplain.analyse(row_222(), ROWS, "permutation-importance", labels=Y, repeats=2)
    (layout,) = found.manifest["layouts"]
    assert layout.keys() == {"workers", "threads", "batch"}
    other = {"workers": 1, "threads": 1, "batch": 7}
    changed = dataclasses.replace(found, manifest=found.manifest | {"layouts": [other]})
    again = onnxplain.replay(saved(changed, tmp_path), row_222(), ROWS, Y)
    assert again.manifest["layouts"] == [other]
    model = row_222()
    onnxplain.replay(changed, model, ROWS, Y)
    assert model.layout is None
    model.layout = Layout(1, 1, 3)
    assert onnxplain.analyse(model, ROWS, "ice", columns="age").manifest["layouts"] == [
        {"workers": 1, "threads": 1, "batch": 3}
    ]


def test_files_of_data_are_read_again(tmp_path):
    lines = [",".join(f"{v:.9g}" for v in (*row, y)) for row, y in zip(ROWS, Y, strict=True)]
    (tmp_path / "rows.csv").write_text("age,income,town,truth\n" + "\n".join(lines) + "\n")
    model = row_222()
    found = onnxplain.analyse(model, tmp_path / "rows.csv", "permutation-importance", labels="truth")
    assert found.manifest["labels_given"] == "truth"
    assert onnxplain.replay(saved(found, tmp_path), model) == found


def test_what_is_not_the_same_is_refused(tmp_path):
    model = row_222()
    found = saved(onnxplain.analyse(model, ROWS, "permutation-importance", labels=Y, repeats=2), tmp_path)
    with pytest.raises(InputError, match="the data of this analysis were arrays"):
        onnxplain.replay(found, model)
    with pytest.raises(InputError, match="these are not the data") as caught:
        onnxplain.replay(found, model, ROWS + 1, Y)
    assert "50 rows of arrays; 50 then" in str(caught.value)
    with pytest.raises(InputError, match="give the labels again too"):
        onnxplain.replay(found, model, ROWS)
    with pytest.raises(InputError, match="this is not the model"):
        onnxplain.replay(found, classifier(), ROWS, Y)
    for key in ("layouts", "seed", "model_digest", "data_digest"):
        broken = dataclasses.replace(found, manifest={k: v for k, v in found.manifest.items() if k != key})
        with pytest.raises(InputError, match="manifest of this analysis is not whole"):
            onnxplain.replay(broken, model, ROWS, Y)
    for odd in ({"settings_given": "top"}, {"settings_given": -1}, {"data_rows": "many"}):
        broken = dataclasses.replace(found, manifest=found.manifest | odd)
        with pytest.raises(InputError, match="manifest of this analysis is not whole"):
            onnxplain.replay(broken, model, ROWS, Y)


def test_rows_that_were_named_are_read_again(tmp_path):
    lines = ["age,income,town,y", *(",".join(map(str, [*row, y])) for row, y in zip(ROWS.tolist(), Y, strict=True))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    np.savez(tmp_path / "rows.npz", x=ROWS, y=Y)
    (tmp_path / "model.onnx").write_bytes(row_222().proto.SerializeToString())
    model = onnxplain.load(tmp_path / "model.onnx")
    for data, labels in (("rows.csv:3-20", None), ("rows.npz:3-20", "y")):
        found = onnxplain.analyse(model, str(tmp_path / data), "permutation-importance", labels=labels)
        assert found.manifest["data_rows"] == 18
        assert onnxplain.replay(saved(found, tmp_path), model) == found


def test_tokenizer_from_anywhere_is_kept_beside_the_spec_and_read_again(tmp_path, monkeypatch):
    (tmp_path / "far").mkdir()
    (tmp_path / "reviews.txt").write_text("a moving film\ndull\nnot dull\n")
    tokenizer().save(str(tmp_path / "far" / "own.json"))
    model = onnxplain.load(written(tmp_path, token_model()), device="cpu")
    monkeypatch.chdir(tmp_path)
    asked = (model, str(tmp_path / "reviews.txt"), "permutation-importance")
    settings = {"labels": np.arange(3), "score": "mse", "target": 1, "repeats": 2}
    with pytest.raises(CapabilityError, match="there is no tokenizer"):
        onnxplain.analyse(*asked, **settings)
    found = onnxplain.analyse(*asked, **settings, tokenizer="far/own.json")
    (alone,) = samples_of(model, onnxplain.Text("dull", "far/own.json"))
    (text,) = onnxplain.explain(model, alone, "ablation").manifest["preprocessing"]["texts"].values()
    named = {key: text[key] for key in ("tokenizer", "tokenizer_digest")}
    assert found.manifest["preprocessing"] == {"texts": {"input_ids": named}}
    assert found.manifest["tokenizer_given"] == str(tmp_path / "far" / "own.json")
    assert found.manifest["spec"]["inputs"]["input_ids"]["tokenizer"] == model.spec.inputs["input_ids"].tokenizer == ""
    kept = saved(found, tmp_path)
    monkeypatch.chdir(tmp_path / "far")
    labels = settings["labels"]
    again = replay_analysis(kept, model, labels=labels)
    assert again == found
    assert again.manifest["tokenizer_given"] == found.manifest["tokenizer_given"]
    (tmp_path / "far" / "own.json").rename(tmp_path / "moved.json")
    with pytest.raises(InputError, match=r"own.json' any more\n  tip: name it: onnxplain replay FILE --tokenizer FILE"):
        replay_analysis(kept, model, labels=labels)
    assert onnxplain.replay(kept, model, labels=labels, tokenizer=tmp_path / "moved.json") == found
    others = [*SPECIAL, *reversed(list(VOCABULARY)[len(SPECIAL) :])]
    tokenizer({token: code for code, token in enumerate(others)}).save(str(tmp_path / "far" / "own.json"))
    with pytest.raises(InputError, match="these are not the data") as caught:
        replay_analysis(kept, model, labels=labels)
    assert caught.value.tip == "the tokenizer is another one than then"
    for odd in (
        {"tokenizer_given": 3},
        {"tokenizer_given": "\0"},
        {"preprocessing": "x"},
        {"preprocessing": {"texts": 1}},
    ):
        broken = dataclasses.replace(kept, manifest=kept.manifest | odd)
        with pytest.raises(InputError, match=r"is not whole|any more"):
            replay_analysis(broken, model, labels=labels)


@pytest.mark.parametrize("name", ["partial-dependence", "ice"])
def test_curves_beside_texts_take_a_tokenizer_too(tmp_path, name):
    tokenizer().save(str(tmp_path / "own.json"))
    (tmp_path / "rows.csv").write_text("width,text,height\n3,a film,0.5\n1,dull,1\n2,not,2\n")
    model = onnxplain.load(written(tmp_path, text_beside_model()), device="cpu")
    asked = (model, str(tmp_path / "rows.csv"), name)
    found = onnxplain.analyse(*asked, target=1, tokenizer=tmp_path / "own.json")
    assert {row[0] for row in found.rows} == {"width", "height"}
    assert onnxplain.replay(saved(found, tmp_path), model) == found
    with pytest.raises(SettingError, match="no such file"):
        onnxplain.analyse(*asked, target=1, tokenizer=tmp_path / "none.json")
    with pytest.raises(SettingError, match="this is no tokenizer"):
        onnxplain.analyse(*asked, target=1, tokenizer=tmp_path / "rows.csv")
    with pytest.raises(InputError, match="there is no use for a tokenizer"):
        onnxplain.analyse(row_222(), ROWS, name, tokenizer=tmp_path / "own.json")
