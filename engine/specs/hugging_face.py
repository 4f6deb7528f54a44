"""A ModelSpec from the configuration files of a Hugging Face repository.

The rules follow the image processors of transformers: which processors take a bare size for a square and which for the
short side, and what ConvNeXt, LeViT, PoolFormer, EfficientNet and MobileViT do beyond the others. What cannot be
reproduced exactly is recorded in ``InputSpec.problem`` and refused when an image is loaded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import SettingError, printable
from ..files import excerpt, read_json
from ..spec import HUGGING_FACE_INPUT, InputSpec, ModelSpec, Preprocessing
from .labels import LABEL_FILE_LIMIT, labels_from

if TYPE_CHECKING:
    from pathlib import Path

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers
# Processors that take a bare number in "size" for both sides, and those that take it for the short side.
_SQUARE = ("ViT", "DeiT", "Beit", "EfficientNet", "Segformer", "Blip", "Siglip", "DPT", "ViTHybrid")
_SHORT_SIDE = ("CLIP", "ConvNext", "Levit", "MobileNetV1", "MobileNetV2", "Bit", "PoolFormer", "MobileViT")
# Steps that a Preprocessing has no field for.
_UNSUPPORTED = (
    "do_align_long_axis",
    "do_color_quantize",
    "do_crop_margin",
    "do_grayscale",
    "do_image_splitting",
    "do_pad",
    "do_split_image",
    "do_thumbnail",
    "keep_aspect_ratio",
    "max_pixels",
    "min_pixels",
    "pad_size",
    "patch_size",
    "rescale_offset",
    "size_divisor",
)
_SIZE_KEYS = {"shortest_edge", "height", "width"}


class _UnsupportedStepError(Exception):
    """A configuration asks for what a Preprocessing cannot say."""


def from_hugging_face(folder: Path, input_name: str = HUGGING_FACE_INPUT) -> ModelSpec | None:
    """Return the spec that ``preprocessor_config.json`` and ``config.json`` in ``folder`` describe, None without them.

    The files do not name the model's input: the spec has it under ``input_name``.
    """
    processor_path, config_path = folder / "preprocessor_config.json", folder / "config.json"
    has_processor = processor_path.is_file()
    if not has_processor and not config_path.is_file():
        return None
    config = _read_object(config_path, is_ours=has_processor) if config_path.is_file() else {}
    labels = _labels(config, printable(config_path))
    if not has_processor and not labels:
        return None
    processor = _read_object(processor_path, is_ours=True) if has_processor else {}
    inputs = {input_name: _image_input(processor, config, input_name)} if _is_for_images(processor) else {}
    return ModelSpec(
        task=_task(config),
        labels=labels,
        inputs=inputs,
        source=str(processor_path if has_processor else config_path),
    )


def _read_object(path: Path, *, is_ours: bool) -> dict[str, Any]:
    """Return a JSON object; a ``config.json`` alone may belong to some other program, and is then let be."""
    try:
        content = read_json(path, LABEL_FILE_LIMIT)
    except SettingError:
        if is_ours:
            raise
        return {}
    if isinstance(content, dict):
        return content
    if is_ours:
        raise SettingError("this file must hold a JSON object", where=printable(path))
    return {}


def _labels(config: dict[str, Any], where: str) -> tuple[str, ...]:
    if not config.get("id2label"):
        return ()
    labels = labels_from(config["id2label"], f"{where}, id2label")
    is_placeholder = all(label == f"LABEL_{number}" for number, label in enumerate(labels))
    return () if is_placeholder else labels


def _task(config: dict[str, Any]) -> str:
    if config.get("problem_type") == "regression":
        return "regression"
    architectures = config.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return "classification" if any(str(name).endswith("Classification") for name in names) else ""


def _is_for_images(processor: dict[str, Any]) -> bool:
    return any(key in processor for key in ("do_resize", "image_mean", "image_processor_type", "crop_size"))


def _image_input(processor: dict[str, Any], config: dict[str, Any], name: str) -> InputSpec:
    try:
        return InputSpec(name, "image", preprocessing=_preprocessing(processor, config))
    except (_UnsupportedStepError, SettingError) as step:
        message = step.message if isinstance(step, SettingError) else str(step)
        problem = f"preprocessor_config.json cannot be reproduced: {message}"
    return InputSpec(name, "image", problem=problem)


def _preprocessing(processor: dict[str, Any], config: dict[str, Any]) -> Preprocessing:
    for key in _UNSUPPORTED:
        if processor.get(key):
            raise _UnsupportedStepError(f"{key} = {excerpt(processor[key])}")
    size, resize, stretch = _sizes(processor)
    flips = _flag(processor, "do_flip_channel_order", default=_kind(processor) == "MobileViT")
    colour = "L" if config.get("num_channels") == 1 else "BGR" if flips else "RGB"
    mean, std = _normalisation(processor)
    return Preprocessing(
        size=size,
        resize=resize,
        stretch=stretch,
        interpolation=_interpolation(processor),
        crop=resize > 0,
        colour=colour,
        scale=_scale(processor),
        mean=mean,
        std=std,
    )


def _kind(processor: dict[str, Any]) -> str:
    """Return the family in a name such as ``ConvNextImageProcessorFast`` or ``ViTFeatureExtractor``."""
    name = processor.get("image_processor_type") or processor.get("feature_extractor_type") or ""
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = str(name).removesuffix(ending)
    return str(name)


def _flag(processor: dict[str, Any], key: str, *, default: bool) -> bool:
    value = processor.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _UnsupportedStepError(f"{key} = {excerpt(value)} is not true or false")
    return value


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _UnsupportedStepError(f"{key} = {excerpt(value)} is not a number")
    return float(value)


def _sides(processor: dict[str, Any], key: str, *, bare_is_square: bool | None) -> tuple[int, ...]:
    """Return (short side,) or (height, width) of ``size`` or ``crop_size``."""
    value = processor.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        if bare_is_square is None:
            raise _UnsupportedStepError(f"{key} = {value} is the short side or both, depending on the processor")
        return (value, value) if bare_is_square else (value,)
    if not isinstance(value, dict):
        raise _UnsupportedStepError(f"{key} = {excerpt(value)}")
    given = {name: side for name, side in value.items() if side is not None}
    if not all(type(side) is int and 0 < side <= 65535 for side in given.values()) or not set(given) <= _SIZE_KEYS:
        raise _UnsupportedStepError(f"{key} = {excerpt(value)}")
    if set(given) == {"shortest_edge"}:
        return (given["shortest_edge"],)
    if set(given) == {"height", "width"}:
        return (given["height"], given["width"])
    raise _UnsupportedStepError(f"{key} = {excerpt(value)}")


def _sizes(processor: dict[str, Any]) -> tuple[tuple[int, int], int, bool]:
    """Return the size of the input, the short side before the crop, and whether both sides are resized to that."""
    kind = _kind(processor)
    crops = _flag(processor, "do_center_crop", default=False)
    if processor.get("do_center_crop") is None and "crop_size" in processor:
        raise _UnsupportedStepError("crop_size without do_center_crop")
    if not _flag(processor, "do_resize", default="size" in processor):
        if crops:
            raise _UnsupportedStepError("a crop without a resize")
        return (0, 0), 0, False
    bare_is_square = True if kind in _SQUARE else False if kind in _SHORT_SIDE else None
    sides = _sides(processor, "size", bare_is_square=bare_is_square)
    if kind == "ConvNext":
        return _convnext_sizes(processor, sides)
    resized = _resized(processor, kind, sides)
    if not crops:
        if len(resized) == 1:
            return (0, 0), resized[0], False
        return (resized[0], resized[1]), 0, False
    crop = _sides(processor, "crop_size", bare_is_square=True)
    if len(crop) != 2 or len(set(resized)) != 1:
        raise _UnsupportedStepError("a crop out of a size that is not square")
    if resized == crop:
        return (crop[0], crop[1]), 0, False
    return (crop[0], crop[1]), resized[0], len(resized) == 2


def _convnext_sizes(processor: dict[str, Any], sides: tuple[int, ...]) -> tuple[tuple[int, int], int, bool]:
    """ConvNeXt: straight to a square from 384 on; below, the short side to size / crop_pct and a crop."""
    side = sides[0]
    if side >= 384:
        return (side, side), 0, False
    return (side, side), int(side / _crop_share(processor, 224 / 256)), False


def _resized(processor: dict[str, Any], kind: str, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the short side, or both sides, after the resize and before the crop."""
    if kind == "Levit" and len(sides) == 1:
        return (int(256 / 224 * sides[0]),)
    if kind == "PoolFormer":
        return (int(sides[0] / _crop_share(processor, 0.9)),)
    if processor.get("crop_pct") is not None:
        raise _UnsupportedStepError(f"crop_pct = {excerpt(processor['crop_pct'])}")
    return sides


def _crop_share(processor: dict[str, Any], default: float) -> float:
    share = default if processor.get("crop_pct") is None else _number(processor["crop_pct"], "crop_pct")
    if not 0 < share <= 1:
        raise _UnsupportedStepError(f"crop_pct = {share}")
    return share


def _interpolation(processor: dict[str, Any]) -> str:
    if not _flag(processor, "do_resize", default="size" in processor):
        return "bilinear"
    value = processor.get("resample")
    if type(value) is not int or value not in _FILTERS:
        raise _UnsupportedStepError(f"resample = {excerpt(value)}")
    return _FILTERS[value]


def _scale(processor: dict[str, Any]) -> float:
    if not _flag(processor, "do_rescale", default=True):
        return 1.0
    return _number(processor.get("rescale_factor", 1 / 255), "rescale_factor")


def _normalisation(processor: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std; EfficientNet with ``include_top`` divides by std a second time."""
    if not _flag(processor, "do_normalize", default="image_mean" in processor):
        if _flag(processor, "include_top", default=False):
            raise _UnsupportedStepError("include_top without do_normalize")
        return (0.0,), (1.0,)
    mean, std = _per_channel(processor, "image_mean"), _per_channel(processor, "image_std")
    if _flag(processor, "include_top", default=_kind(processor) == "EfficientNet"):
        std = tuple(value * value for value in std)
    return mean, std


def _per_channel(processor: dict[str, Any], key: str) -> tuple[float, ...]:
    value = processor.get(key)
    values = value if isinstance(value, list) else [value]
    return tuple(_number(entry, key) for entry in values)
