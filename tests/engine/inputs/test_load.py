from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from onnxplain.engine.errors import InputError, SettingError
from onnxplain.engine.inputs import expand_sources, load_samples
from onnxplain.engine.spec import PRESETS, InputSpec, ModelSpec, Preprocessing


class Info(NamedTuple):
    name: str
    shape: tuple
    dtype: np.dtype = np.dtype(np.float32)
    batch_axis: int | None = 0


COLOUR = [Info("image", ("N", 3, 8, 12))]
NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(NOISE).save(path)
    return path


def spec_of(**fields):
    return ModelSpec(inputs={"image": InputSpec("image", "image", **fields)}, source="model.toml")


def one(source, inputs, spec=None):
    (sample,) = load_samples(str(source), inputs, spec)
    return sample


def refusal(source, inputs, spec=None, error=InputError):
    with pytest.raises(error) as caught:
        load_samples(str(source), inputs, spec)
    assert str(caught.value).count("\n") < 6
    return str(caught.value)


def test_an_image_without_a_spec_is_loaded_and_its_preprocessing_said_to_be_assumed(photo):
    sample = one(photo, COLOUR)
    wanted = np.asarray(Image.open(photo).resize((12, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(sample.image, wanted)
    np.testing.assert_allclose(sample.feeds["image"][0], wanted.transpose(2, 0, 1) / 255, atol=1e-7)
    assert (sample.modality, sample.image_input, sample.source) == ("image", "image", str(photo))
    assert sample.preprocessing["assumed"] is True
    assert sample.preprocessing["size"] == (8, 12)
    assert sample.preprocessing["layout"] == "NCHW"


def test_an_empty_spec_and_a_spec_without_preprocessing_are_assumptions_too(photo):
    assert one(photo, COLOUR, ModelSpec(labels=("a",))).preprocessing["assumed"] is True
    assert one(photo, COLOUR, spec_of(layout="NCHW")).preprocessing["assumed"] is True


def test_the_preprocessing_of_the_spec_is_applied_at_the_size_of_the_model(photo):
    sample = one(photo, COLOUR, spec_of(preprocessing=PRESETS["minus-one-to-one"]))
    assert sample.preprocessing["assumed"] is False
    assert sample.feeds["image"].shape == (1, 3, 8, 12)
    np.testing.assert_allclose(sample.feeds["image"][0, 1], sample.image[..., 1] / 127.5 - 1, atol=1e-6)


def test_a_short_side_without_a_size_is_cropped_to_the_models(photo):
    sample = one(photo, COLOUR, spec_of(preprocessing=Preprocessing(size=(0, 0), resize=10)))
    whole = np.asarray(Image.open(photo).resize((15, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(sample.image, whole[1:9, 2:14])


def test_open_sizes_keep_the_images_own(photo):
    sample = one(photo, [Info("image", ("N", "h", "w", 3))])
    np.testing.assert_array_equal(sample.image, NOISE)
    assert sample.feeds["image"].shape == (1, 20, 30, 3)


def test_channels_and_types_of_the_model_decide_the_first_guess(photo):
    grey = one(photo, [Info("image", ("N", 1, 8, 12))])
    assert grey.feeds["image"].shape == (1, 1, 8, 12)
    assert grey.preprocessing["colour"] == "L"
    whole = one(photo, [Info("image", ("N", 8, 12, 3), np.dtype(np.uint8))])
    np.testing.assert_array_equal(whole.feeds["image"][0], whole.image)
    assert "do not fit 'image': float32 (rows, 4, 8, 12)" in refusal(photo, [Info("image", ("N", 4, 8, 12))])


def test_a_layout_from_the_spec_overrides_the_shape(photo):
    inputs = [Info("image", ("N", "a", "b", "c"))]
    assert one(photo, inputs, spec_of(layout="NHWC")).feeds["image"].shape == (1, 20, 30, 3)
    assert one(photo, inputs, spec_of(layout="NCHW")).feeds["image"].shape == (1, 3, 20, 30)
    swapped = refusal(photo, [Info("image", ("N", 3, 8, 12))], spec_of(layout="NHWC"))
    assert "do not fit 'image': float32 (rows, 3, 8, 12) in the layout NHWC" in swapped
    assert "correct the layout" in swapped
    assert "layout 'CHW' does not fit" in refusal(photo, inputs, spec_of(layout="CHW"))


def test_what_the_preprocessing_gives_must_be_what_the_model_takes(photo):
    message = refusal(photo, COLOUR, spec_of(preprocessing=Preprocessing(size=(9, 12))))
    assert "(1, 3, 9, 12), the model takes 'image': float32 (rows, 3, 8, 12)" in message
    assert "set size = [8, 12]" in message
    message = refusal(photo, COLOUR, spec_of(preprocessing=Preprocessing(size=(8, 12), colour="L")))
    assert 'check "colour"' in message


def test_a_recorded_problem_of_the_preprocessing_is_raised_with_the_image(photo):
    assert "do_pad" in refusal(photo, COLOUR, spec_of(problem="do_pad = True cannot be reproduced"))


def test_an_image_for_a_model_without_image_inputs_says_what_it_takes(photo):
    message = refusal(photo, [Info("row", ("N", 5))])
    assert "no input of the model is known to take one" in message
    assert "the model takes 'row': float32 (rows, 5)" in message
    assert "spec" in message


def test_an_image_for_a_model_with_more_inputs_asks_for_an_archive(photo):
    message = refusal(photo, [*COLOUR, Info("mask", ("N", 8, 12))])
    assert "fills one input" in message
    assert "npz" in message


def test_images_are_recognised_without_an_ending(photo):
    bare = photo.rename(photo.with_name("upload"))
    assert one(bare, COLOUR).modality == "image"


def test_a_spec_for_another_model_is_refused(photo):
    spec = ModelSpec(inputs={"picture": InputSpec("picture")})
    assert "input 'picture'" in refusal(photo, COLOUR, spec, SettingError)


def test_tables_and_arrays_are_dispatched_with_their_rows(tmp_path):
    row = [Info("row", ("N", 2))]
    (tmp_path / "a.csv").write_text("u,v\n1,2\n3,4\n5,6\n")
    np.save(tmp_path / "b.npy", [[1.0, 2], [3, 4], [5, 6]])
    np.savez(tmp_path / "c.npz", row=[[1.0, 2], [3, 4], [5, 6]])
    for name in ("a.csv", "b.npy", "c.npz"):
        samples = list(load_samples(f"{tmp_path / name}:1-2", row))
        assert [s.feeds["row"].tolist() for s in samples] == [[[3, 4]], [[5, 6]]]
        assert [s.source for s in samples] == [f"{tmp_path / name}:1", f"{tmp_path / name}:2"]
        assert {s.modality for s in samples} == {"table"}
        assert len(list(load_samples(str(tmp_path / name), row))) == 3
    assert "no such file" in refusal(tmp_path / "d.csv:3", row)


def test_arrays_for_image_models_show_a_picture_only_where_the_preprocessing_is_known(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.full((1, 3, 8, 12), 0.4, np.float32))
    sample = one(path, COLOUR)
    assert (sample.modality, sample.image) == ("image", None)
    sample = one(path, COLOUR, spec_of(preprocessing=PRESETS["unit"]))
    np.testing.assert_array_equal(sample.image, np.full((8, 12, 3), 102))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.dat", b"hello", "what can be read: images (PNG, JPEG, BMP, WEBP)"),
        ("x.pdf", b"%PDF-1.4", "looks like a PDF document"),
        ("x.gif", b"GIF89a", "looks like a GIF image"),
        ("x.pkl", b"\x80\x04", "looks like a Python pickle"),
        ("x", b"", "looks like an empty file"),
    ],
)
def test_other_files_are_refused_with_what_can_be_read(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name, COLOUR)


def test_a_missing_file_is_named_with_the_nearest(photo):
    assert "did you mean 'photo.png'?" in refusal(photo.with_name("photo.jpg"), COLOUR)
    assert "there is no folder" in refusal(photo.parent / "absent" / "photo.png", COLOUR)
    with pytest.raises(InputError, match="no such file"):
        expand_sources([str(photo.with_name("photo.jpg"))])
    with pytest.raises(InputError, match="no such file"):
        expand_sources(["a\x00b", "x"])
    with pytest.raises(InputError, match="no such file"):
        expand_sources(["x" * 5000])
    with pytest.raises(InputError, match="is empty"):
        expand_sources([""])


def test_folders_give_the_files_that_can_be_read_sorted_and_not_deeper(tmp_path):
    for name in ("b.png", "a.JPG", "c.csv", "d.npz", "notes.txt", ".hidden.png", "model.onnx"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deeper.png").mkdir()
    (tmp_path / "deeper.png" / "e.png").write_bytes(b"")
    found = [str(tmp_path / name) for name in ("a.JPG", "b.png", "c.csv", "d.npz")]
    assert expand_sources([str(tmp_path)]) == found


def test_patterns_give_what_matches_and_rows_are_kept(tmp_path):
    for name in ("b.png", "a.png", "c.csv", "[x].png"):
        (tmp_path / name).write_bytes(b"")
    base = str(tmp_path)
    assert expand_sources([f"{base}/[ab].png", f"{base}/c.csv:3", f"{base}/[x].png"]) == [
        f"{base}/a.png",
        f"{base}/b.png",
        f"{base}/c.csv:3",
        f"{base}/[x].png",
    ]
    with pytest.raises(InputError, match="no file matches this pattern"):
        expand_sources([f"{base}/*.webp"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no files in this folder[\s\S]*\.npy"):
        expand_sources([f"{base}/empty"])
