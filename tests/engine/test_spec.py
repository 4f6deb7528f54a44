from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain.engine.errors import SettingError
from onnxplain.engine.spec import PRESETS, InputSpec, ModelSpec, Preprocessing, Scaling
from onnxplain.engine.specs.inference import complete_spec, infer_spec
from onnxplain.engine.specs.reading import find_spec, read_spec
from onnxplain.engine.specs.toml import to_toml, write_spec

if TYPE_CHECKING:
    from pathlib import Path


class Info(NamedTuple):
    name: str
    shape: tuple
    dtype: np.dtype = np.dtype(np.float32)
    batch_axis: int | None = 0


FULL = """
task = "classification"
target = "logits:3"
output = "probabilities"
background = "data/rows.csv"
labels = ["cat", "dog"]

[inputs."input.1"]
modality = "image"
layout = "NHWC"
[inputs."input.1".preprocessing]
preset = "imagenet"
size = [192, 160]
colour = "BGR"

[inputs.row]
columns = ["age", "sex", "fare"]
[inputs.row.categories]
sex = ["female", "male"]
[inputs.row.groups]
person = ["age", "sex"]
"""


def written(tmp_path: Path, text: str, name: str = "model.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_field_is_read(tmp_path):
    path = written(tmp_path, FULL)
    spec = read_spec(path)
    assert (spec.task, spec.target, spec.output) == ("classification", "logits:3", "probabilities")
    assert (spec.background, spec.labels, spec.source) == ("data/rows.csv", ("cat", "dog"), str(path))
    image, row = spec.inputs["input.1"], spec.inputs["row"]
    assert (image.modality, image.layout) == ("image", "NHWC")
    assert image.preprocessing == Preprocessing(
        size=(192, 160),
        resize=256,
        colour="BGR",
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    assert row.modality == "table"
    assert row.columns == ("age", "sex", "fare")
    assert row.categories == {"sex": ("female", "male")}
    assert row.groups == {"person": ("age", "sex")}


def test_presets_give_the_values_that_their_names_promise():
    for name, low, high in (("unit", 0, 1), ("minus-one-to-one", -1, 1), ("none", 0, 255)):
        preset = PRESETS[name]
        ends = [(pixel * preset.scale - preset.mean[0]) / preset.std[0] for pixel in (0, 255)]
        assert ends == pytest.approx([low, high])
        assert preset.size == (0, 0)
    imagenet = PRESETS["imagenet"]
    assert (imagenet.resize, imagenet.size, imagenet.interpolation) == (256, (224, 224), "bilinear")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('tsk = "classification"', ["unknown key 'tsk'", "did you mean", "'task'"]),
        ('task = "clasification"', ["clasification", "classification", "task"]),
        ("task = 3", ["task must be a string, not 3"]),
        ("labels = [1, 2]", ["labels must be a list of strings"]),
        ("labels = 7", ["labels must be a list of strings"]),
        ("inputs = 7", ["inputs must be a table"]),
        ('[inputs.x]\nlayot = "NCHW"', ["unknown key 'layot'", "inputs.x", "'layout'"]),
        ('[inputs.x]\nlayout = "NQ"', ["layout 'NQ'", "inputs.x"]),
        ('[inputs.x]\nmodality = "picture"', ["picture", "image", "inputs.x.modality"]),
        ('[inputs.x]\nmodality = "image"\nlayout = "NF"', ["must have H and W"]),
        ('[inputs.x]\ncolumns = ["a", "a"]', ["same name twice"]),
        ('[inputs.x]\ncolumns = ["a"]\n[inputs.x.groups]\ng = ["b"]', ["column 'b'", "not in columns"]),
        ('[inputs.x.groups]\ng = ["b"]\nh = ["b"]', ["same column twice"]),
        ('[inputs.x.preprocessing]\npreset = "imagnet"', ["imagnet", "did you mean 'imagenet'"]),
        (
            "[inputs.x.preprocessing]\nsize = [1, 2, 3]",
            ["size must be two whole numbers", "inputs.x.preprocessing.size"],
        ),
        ("[inputs.x.preprocessing]\nsize = [1.0, 2]", ["size must be two whole numbers"]),
        ("[inputs.x.preprocessing]\nsize = true", ["size must be two whole numbers"]),
        ("[inputs.x.preprocessing]\nsize = [0, 3]", ["size (0, 3)"]),
        ("[inputs.x.preprocessing]\nsize = [-3, 3]", ["size (-3, 3)"]),
        ("[inputs.x.preprocessing]\nscale = true", ["scale must be a number"]),
        ("[inputs.x.preprocessing]\nscale = nan", ["scale must be a number"]),
        ("[inputs.x.preprocessing]\nscale = 0", ["must not be 0"]),
        ("[inputs.x.preprocessing]\nstd = [1.0, 0.0, 1.0]", ["must not be 0"]),
        ("[inputs.x.preprocessing]\nmean = [1.0, 0.0]", ["mean has 2 values"]),
        ('[inputs.x.preprocessing]\ncolour = "L"\nstd = [1, 1, 1]', ["std has 3 values"]),
        ("[inputs.x.preprocessing]\ncrop = 1", ["crop must be true or false"]),
        ("[inputs.x.preprocessing]\nresize = 1.5", ["resize must be a whole number"]),
        ("[inputs.x.preprocessing]\nresize = 100\nsize = [101, 102]", ["resize 100 is shorter"]),
        ("[inputs.x.preprocessing]\nresize = 100\nsize = 50\ncrop = false", ["crop = false"]),
        ('[inputs.x.preprocessing]\npreset = "imagenet"\nsize = [299, 299]', ["resize 256 is shorter", "set resize"]),
        ("a = [", ["not valid TOML"]),
        ("a = " + "[" * 5000, ["not valid TOML"]),
        ("a = " + "9" * 5000, ["not valid TOML"]),
    ],
)
def test_what_is_wrong_in_a_spec_is_named(tmp_path, text, words):
    with pytest.raises(SettingError) as caught:
        read_spec(written(tmp_path, text))
    for word in words:
        assert word in str(caught.value)
    assert "model.toml" in str(caught.value)
    assert str(caught.value).count("\n") < 6


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Preprocessing(colour="CMYK"), "colour 'CMYK' is not one of RGB, BGR, L"),
        (lambda: Preprocessing(interpolation="area"), "interpolation 'area' is not one of nearest"),
        (lambda: Preprocessing(size=(70000, 1)), "1 to 65535"),
        (lambda: InputSpec("x", "picture"), "modality 'picture' is not one of image"),
    ],
)
def test_specs_made_in_python_are_checked_too(build, words):
    with pytest.raises(SettingError, match=words):
        build()


def test_a_spec_above_one_mebibyte_or_not_utf8_is_refused(tmp_path):
    with pytest.raises(SettingError, match="1,048,576 bytes"):
        read_spec(written(tmp_path, "#" * (1 << 20) + "\n"))
    path = tmp_path / "latin.toml"
    path.write_bytes(b'task = "\xe9"')
    with pytest.raises(SettingError, match=r"not UTF-8 text \(byte 8\)"):
        read_spec(path)


def test_names_with_control_bytes_do_not_reach_the_message(tmp_path):
    with pytest.raises(SettingError) as caught:
        read_spec(written(tmp_path, '"\\u001b[31mtask\\u202e" = 1'))
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
    assert r"\x1b[31mtask\u202e" in str(caught.value)


def test_labels_are_read_from_the_files_beside_the_spec(tmp_path):
    (tmp_path / "names").mkdir()
    written(tmp_path, "tench\ngreat white shark\n\n", "names/a.txt")
    written(tmp_path, json.dumps(["tench", "shark"]), "b.json")
    written(tmp_path, json.dumps({"1": "shark", "0": "tench"}), "c.json")
    written(tmp_path, json.dumps({"0": ["n01", "tench"], "1": ["n02", "shark"]}), "d.json")
    assert read_spec(written(tmp_path, 'labels = "names/a.txt"')).labels == ("tench", "great white shark")
    for name in "bcd":
        assert read_spec(written(tmp_path, f'labels = "{name}.json"')).labels == ("tench", "shark")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"0": "a", "2": "b"}', "numbered 0 to 1"),
        ('{"0": "a", "x": "b"}', "numbered 0 to 1"),
        ("[]", "no labels"),
        ('["a", 3]', "label 1 is 3"),
        ('["a", ""]', "label 1 is ''"),
        ('["\\ud800"]', "not valid Unicode"),
        ('"a"', "must be a list"),
        ("[" * 100000, "not valid JSON"),
        ("{", "not valid JSON"),
    ],
)
def test_label_files_that_are_no_labels_are_refused(tmp_path, content, message):
    written(tmp_path, content, "l.json")
    with pytest.raises(SettingError, match=message):
        read_spec(written(tmp_path, 'labels = "l.json"'))


@pytest.mark.parametrize(
    "name", ["../secret.txt", "/etc/hostname", "a/../../secret.txt", "C:\\\\x.txt", "link.txt", "down/secret.txt"]
)
def test_labels_may_not_come_from_outside_the_folder_of_the_spec(tmp_path, name):
    (tmp_path / "secret.txt").write_text("secret\n")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "down").symlink_to(tmp_path)
    for field in ("labels", "background"):
        with pytest.raises(SettingError, match=r"folder of the spec[\s\S]*" + field) as caught:
            read_spec(written(folder, f'{field} = "{name}"'))
        assert "model.toml" in str(caught.value)


def test_a_missing_label_file_is_named_with_the_nearest(tmp_path):
    written(tmp_path, "a\n", "labels.txt")
    with pytest.raises(SettingError, match=r"no such file[\s\S]*did you mean 'labels.txt'"):
        read_spec(written(tmp_path, 'labels = "lables.txt"'))


def test_a_written_spec_is_read_back_equal(tmp_path):
    spec = read_spec(written(tmp_path, FULL))
    path = write_spec(spec, tmp_path / "copy.toml")
    again = read_spec(path)
    assert again == spec
    assert again.source == str(path)
    assert "check it against the code" in path.read_text()


def test_an_existing_spec_is_kept_unless_told_otherwise(tmp_path):
    path = written(tmp_path, 'task = "regression"')
    with pytest.raises(SettingError, match="may have been edited"):
        write_spec(ModelSpec(), path)
    assert read_spec(path).task == "regression"
    write_spec(ModelSpec(), path, overwrite=True)
    assert read_spec(path) == ModelSpec()
    assert [p.name for p in tmp_path.iterdir()] == ["model.toml"]
    with pytest.raises(SettingError, match="cannot write"):
        write_spec(ModelSpec(), tmp_path / "absent" / "model.toml")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tuples = st.lists(texts, max_size=4, unique=True).map(tuple)
floats = st.floats(allow_nan=False, allow_infinity=False)
nonzero = floats.filter(bool)
preprocessings = st.builds(
    Preprocessing,
    size=st.tuples(st.integers(1, 100), st.integers(1, 100)) | st.just((0, 0)),
    resize=st.integers(100, 65535) | st.just(0),
    interpolation=st.sampled_from(["nearest", "bicubic", "hamming"]),
    colour=st.sampled_from(["RGB", "BGR"]),
    scale=nonzero,
    mean=st.tuples(floats) | st.tuples(floats, floats, floats),
    std=st.tuples(nonzero) | st.tuples(nonzero, nonzero, nonzero),
    stretch=st.booleans(),
)
entries = st.builds(
    InputSpec,
    name=st.just("x"),
    modality=st.sampled_from(["image", "table", "text", "array"]),
    layout=st.sampled_from(["", "NCHW", "HW"]),
    preprocessing=st.none() | preprocessings,
    columns=st.just(()),
    categories=st.dictionaries(texts, tuples, max_size=2),
    groups=texts.map(lambda name: {name: ("a", "b")}),
    problem=texts,
) | st.builds(
    InputSpec,
    name=st.just("x"),
    modality=st.just("series"),
    scaling=st.none() | st.builds(Scaling, nonzero, *[st.tuples(f) | st.tuples(f, f, f) for f in (floats, nonzero)]),
)


@given(
    st.builds(
        ModelSpec,
        st.sampled_from(["", "regression"]),
        tuples,
        texts,
        texts,
        st.dictionaries(texts, entries, max_size=2),
    )
)
@settings(max_examples=60, deadline=None)
def test_any_names_and_numbers_survive_writing(tmp_path_factory, spec):
    spec = replace(spec, inputs={name: replace(entry, name=name) for name, entry in spec.inputs.items()})
    path = tmp_path_factory.mktemp("spec") / "model.toml"
    assert read_spec(write_spec(spec, path)) == spec
    shown = [c for c in path.read_text(encoding="utf-8") if not c.isprintable() and c != "\n"]
    assert shown == []


def test_a_name_that_toml_cannot_hold_is_refused():
    with pytest.raises(SettingError, match="not valid Unicode"):
        to_toml(ModelSpec(labels=("\ud800",)))


def test_the_spec_beside_a_model_is_found_by_its_stem_then_by_its_folder(tmp_path):
    model = tmp_path / "net.v2.onnx"
    assert find_spec(model) is None
    written(tmp_path, 'task = "regression"', "onnxplain.toml")
    assert find_spec(model).task == "regression"
    written(tmp_path, 'task = "classification"', "net.v2.toml")
    assert find_spec(str(model)).task == "classification"


def test_a_hugging_face_repository_is_found_from_its_onnx_folder(tmp_path):
    folder = tmp_path / "onnx"
    folder.mkdir()
    written(tmp_path, json.dumps({"id2label": {"0": "cat", "1": "dog"}}), "config.json")
    assert find_spec(folder / "model.onnx").labels == ("cat", "dog")
    assert find_spec(tmp_path / "model.onnx").labels == ("cat", "dog")
    other = tmp_path / "weights"
    other.mkdir()
    assert find_spec(other / "model.onnx") is None


@pytest.mark.parametrize(
    ("info", "modality", "layout"),
    [
        (Info("x", ("N", 3, 224, 224)), "image", "NCHW"),
        (Info("x", (1, 224, 224, 3)), "image", "NHWC"),
        (Info("x", (1, 1, 28, 28), batch_axis=None), "image", "NCHW"),
        (Info("x", (None, 28, 28, 1), np.dtype(np.uint8)), "image", "NHWC"),
        (Info("x", (3, 32, 32), batch_axis=None), "image", "CHW"),
        (Info("pixel_values", ("batch_size", "num_channels", "height", "width")), "image", "NCHW"),
        (Info("image", (None, None, None, None)), "image", "NCHW"),
        (Info("x", ("N", "h", "w", "channels")), "image", "NHWC"),
        (Info("x", ("N", "a", "b", "c1")), "array", ""),
        (Info("x", (None, 64, 56, 56)), "array", ""),
        (Info("x", (None, 3, 8, 8), np.dtype(np.int64)), "array", ""),
        (Info("x", ("N", 13)), "table", "NF"),
        (Info("x", (1, 13), batch_axis=None), "table", "NF"),
        (Info("age", ("N", 1), np.dtype(object)), "table", "NF"),
        (Info("age", ("N",)), "table", "N"),
        (Info("input_ids", ("batch", "sequence"), np.dtype(np.int64)), "text", "NT"),
        (Info("x", ("batch", "sequence"), np.dtype(np.int64)), "table", "NF"),
        (Info("x", ("N", 9, 128)), "series", "NCT"),
        (Info("x", ("N", 128, 9)), "series", "NTC"),
        (Info("x", ("N", 9, "T")), "series", "NCT"),
        (Info("x", ("N", "T", 9)), "series", "NTC"),
        (Info("x", ("N", 28, 28)), "array", ""),
        (Info("x", ("T", "N", 40), batch_axis=1), "series", "TNC"),
        (Info("x", (), batch_axis=None), "array", ""),
        (Info("x", ("N", 2, 3, 4, 5)), "array", ""),
    ],
)
def test_modality_and_layout_are_inferred_from_shapes(info, modality, layout):
    entry = infer_spec([info]).inputs[info.name]
    assert (entry.modality, entry.layout) == (modality, layout)


def test_the_first_guess_at_preprocessing_follows_channels_size_and_type():
    def guess(*shape, dtype=np.float32):
        return infer_spec([Info("x", ("N", *shape), np.dtype(dtype))]).inputs["x"].preprocessing

    assert guess(3, 32, 48) == Preprocessing(size=(32, 48), scale=1 / 255)
    assert guess(28, 28, 1) == Preprocessing(size=(28, 28), colour="L", scale=1 / 255)
    assert guess(3, "h", 48) == Preprocessing(size=(0, 0), scale=1 / 255)
    assert guess(32, 48, 3, dtype=np.uint8) == Preprocessing(size=(32, 48))
    assert guess(4, 32, 32) is None


def test_labels_make_a_classifier_if_their_number_fits():
    infos = [Info("x", ("N", 4))]
    assert infer_spec(infos, ("N", 2), ("a", "b")).task == "classification"
    assert infer_spec(infos, ("N", 3), ("a", "b")).task == ""
    assert infer_spec(infos, ("N", 3)).task == ""


def test_an_inferred_spec_survives_writing(tmp_path):
    spec = infer_spec([Info("in put", ("N", 3, 8, 8)), Info("row", ("N", 4))], ("N", 2), ["a", "b"])
    assert read_spec(write_spec(spec, tmp_path / "m.toml")) == spec


def test_a_spec_is_completed_by_inference_without_guessing_preprocessing():
    infos = [Info("image", ("N", 3, 8, 8)), Info("row", ("N", 4))]
    given = ModelSpec(inputs={"row": InputSpec("row", "table", columns=("a", "b", "c", "d"))})
    spec = complete_spec(given, infos)
    assert spec.inputs["image"] == InputSpec("image", "image", "NCHW")
    assert spec.inputs["row"] == InputSpec("row", "table", "NF", columns=("a", "b", "c", "d"))
    assert complete_spec(None, infos).inputs["row"].layout == "NF"
    assert complete_spec(spec, infos) == spec


def test_a_spec_for_inputs_that_the_model_lacks_is_refused():
    with pytest.raises(SettingError, match=r"input 'imgae'[\s\S]*did you mean 'image'"):
        complete_spec(ModelSpec(inputs={"imgae": InputSpec("imgae")}), [Info("image", ("N", 3, 8, 8))])
