"""Each configuration is the shape of one that transformers saves; the expected values follow its image processors."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest

from onnxplain.engine.errors import SettingError
from onnxplain.engine.spec import InputSpec, Preprocessing
from onnxplain.engine.specs.hugging_face import from_hugging_face
from onnxplain.engine.specs.inference import complete_spec


class Info(NamedTuple):
    name: str
    shape: tuple
    dtype: np.dtype = np.dtype(np.float32)
    batch_axis: int | None = 0


VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 192},
}
CLIP = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "image_processor_type": "CLIPImageProcessor",
    "resample": 3,
    "size": {"shortest_edge": 256},
}


@pytest.fixture
def spec_of(tmp_path):
    def read(processor, config=None):
        if processor is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        return from_hugging_face(tmp_path)

    return read


@pytest.fixture
def prepared(spec_of):
    def read(processor, config=None):
        entry = spec_of(processor, config).inputs["pixel_values"]
        assert entry.problem == ""
        return entry.preprocessing

    return read


def test_height_and_width_are_resized_to_directly(prepared):
    assert prepared(VIT) == Preprocessing(
        size=(224, 192), resize=0, crop=False, interpolation="bilinear", scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3
    )


def test_the_shortest_edge_is_resized_and_the_centre_cropped(prepared):
    found = prepared(CLIP)
    assert (found.size, found.resize, found.crop, found.stretch) == ((224, 224), 256, True, False)
    assert (found.interpolation, found.mean, found.std) == ("bicubic", (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    assert found.scale == pytest.approx(1 / 255)


def test_a_bare_size_means_what_the_processor_takes_it_for(prepared):
    old_vit = {**VIT, "size": 224, "feature_extractor_type": "ViTFeatureExtractor"}
    del old_vit["image_processor_type"]
    found = prepared(old_vit)
    assert (found.size, found.resize) == ((224, 224), 0)
    old_clip = {**CLIP, "size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}
    found = prepared(old_clip)
    assert (found.size, found.resize, found.stretch) == ((224, 224), 224, False)
    deit = {
        **VIT,
        "size": 256,
        "crop_size": 224,
        "do_center_crop": True,
        "image_processor_type": "DeiTImageProcessorFast",
    }
    found = prepared(deit)
    assert (found.size, found.resize, found.stretch, found.crop) == ((224, 224), 256, True, True)


def test_convnext_crops_below_384_and_warps_from_there_on(prepared):
    convnext = {**VIT, "image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875}
    found = prepared({**convnext, "size": {"shortest_edge": 224}})
    assert (found.size, found.resize, found.crop) == ((224, 224), 256, True)
    found = prepared({**convnext, "size": {"shortest_edge": 224}, "crop_pct": None})
    assert found.resize == 256
    found = prepared({**convnext, "size": 384})
    assert (found.size, found.resize, found.crop) == ((384, 384), 0, False)


def test_levit_and_poolformer_enlarge_the_short_side(prepared):
    assert (
        prepared({**CLIP, "image_processor_type": "LevitImageProcessor", "size": {"shortest_edge": 224}}).resize == 256
    )
    poolformer = {**CLIP, "image_processor_type": "PoolFormerImageProcessor", "size": 224, "crop_pct": 0.9}
    assert prepared(poolformer).resize == 248


def test_efficientnet_divides_by_std_twice_with_its_top(prepared):
    efficientnet = {**VIT, "image_processor_type": "EfficientNetImageProcessor", "resample": 0, "include_top": True}
    found = prepared(efficientnet)
    assert found.interpolation == "nearest"
    assert found.std == (0.25, 0.25, 0.25)
    assert found.mean == (0.5, 0.5, 0.5)
    assert prepared({**efficientnet, "include_top": False}).std == (0.5, 0.5, 0.5)


def test_mobilevit_takes_bgr_without_normalisation(prepared):
    mobilevit = {
        "crop_size": {"height": 256, "width": 256},
        "do_center_crop": True,
        "do_flip_channel_order": True,
        "do_resize": True,
        "feature_extractor_type": "MobileViTFeatureExtractor",
        "resample": 2,
        "size": {"shortest_edge": 288},
    }
    found = prepared(mobilevit)
    assert (found.colour, found.mean, found.std, found.resize) == ("BGR", (0.0,), (1.0,), 288)


def test_steps_that_are_switched_off_are_left_out(prepared):
    found = prepared({**VIT, "do_resize": False, "do_rescale": False, "do_normalize": False})
    assert found == Preprocessing(size=(0, 0), crop=False)


@pytest.mark.parametrize(
    ("number", "name"), [(0, "nearest"), (1, "lanczos"), (2, "bilinear"), (3, "bicubic"), (4, "box"), (5, "hamming")]
)
def test_filters_are_numbered_as_in_pillow(prepared, number, name):
    from PIL import Image

    assert prepared({**VIT, "resample": number}).interpolation == name
    assert Image.Resampling(number).name.lower() == name


def test_one_channel_in_the_config_makes_grey(prepared):
    grey = {**VIT, "image_mean": [0.5], "image_std": [0.5]}
    assert prepared(grey, {"num_channels": 1}).colour == "L"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"do_pad": True}, "do_pad"),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "longest_edge"),
        ({"size": 224, "image_processor_type": "UnheardOfImageProcessor"}, "short side or both"),
        ({"size": {"height": -1, "width": 3}}, "size"),
        ({"size": None}, "size"),
        ({"size": {"shortest_edge": "big"}}, "size"),
        ({"size": {"shortest_edge": 70000}}, "size"),
        ({"size": {"shortest_edge": 0}}, "size"),
        ({"resample": 9}, "resample"),
        ({"resample": True}, "resample"),
        ({"resample": None}, "resample"),
        ({"image_mean": ["a"]}, "image_mean"),
        ({"image_std": [0, 0, 0]}, "must not be 0"),
        ({"image_std": None}, "image_std"),
        ({"rescale_factor": "x"}, "rescale_factor"),
        ({"do_resize": "yes"}, "do_resize"),
        ({"crop_size": 8}, "do_center_crop"),
        ({"do_center_crop": True, "crop_size": 8}, "not square"),
        ({"do_center_crop": True, "crop_size": 8, "do_resize": False}, "crop without a resize"),
        ({"crop_pct": 0.9}, "crop_pct"),
        ({"rescale_offset": True}, "rescale_offset"),
    ],
)
def test_what_cannot_be_reproduced_is_recorded_not_guessed(spec_of, change, words):
    entry = spec_of({**VIT, **change}).inputs["pixel_values"]
    assert entry.preprocessing is None
    assert entry.modality == "image"
    assert words in entry.problem


def test_labels_and_task_come_from_the_config(spec_of):
    config = {"architectures": ["ViTForImageClassification"], "id2label": {"1": "dog", "0": "cat"}}
    spec = spec_of(VIT, config)
    assert (spec.labels, spec.task) == (("cat", "dog"), "classification")
    assert spec.source.endswith("preprocessor_config.json")
    assert spec_of(None, {"problem_type": "regression", "id2label": {"0": "LABEL_0"}}).labels == ()
    assert spec_of(None, {"problem_type": "regression", "id2label": {"0": "LABEL_0"}}).task == "regression"


def test_a_config_of_something_else_is_no_spec(spec_of, tmp_path):
    assert from_hugging_face(tmp_path) is None
    assert spec_of(None, {"port": 8080}) is None
    (tmp_path / "config.json").write_text("// comment\n{}")
    assert from_hugging_face(tmp_path) is None


def test_a_damaged_preprocessor_config_is_an_error(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(SettingError, match=r"not valid JSON[\s\S]*preprocessor_config.json"):
        from_hugging_face(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("[1]")
    with pytest.raises(SettingError, match="JSON object"):
        from_hugging_face(tmp_path)


def test_a_processor_of_sound_has_no_image_input(spec_of):
    whisper = {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16000, "feature_size": 80}
    assert spec_of(whisper).inputs == {}


def test_the_unnamed_image_input_takes_the_name_of_the_models_only_one(spec_of):
    spec = spec_of(VIT)
    image = Info("input.1", ("N", 3, 224, 192))
    completed = complete_spec(spec, [image])
    assert completed.inputs["input.1"].preprocessing == spec.inputs["pixel_values"].preprocessing
    assert completed.inputs["input.1"].layout == "NCHW"
    assert complete_spec(spec, [Info("ids", ("N", 7))]).inputs == {"ids": InputSpec("ids", "table", "NF")}
    assert complete_spec(spec, [Info("pixel_values", ("N", 3, 8, 8))]).inputs["pixel_values"].preprocessing is not None


def test_the_input_can_be_named(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    assert from_hugging_face(tmp_path, "image").inputs["image"].name == "image"
