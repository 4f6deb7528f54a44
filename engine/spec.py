"""ModelSpec: what an ONNX file does not say about its task, labels, inputs and preprocessing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import SettingError, nearest, printable
from .files import excerpt, inside
from .layout import infer_layout, sizes_by_letter
from .specs.labels import read_labels
from .specs.scaling import Scaling, contradiction
from .specs.toml import Fields, read_toml, to_toml, write_spec

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from .layout import InputInfo

__all__ = [
    "PRESETS",
    "InputSpec",
    "ModelSpec",
    "Preprocessing",
    "Scaling",
    "complete_spec",
    "find_spec",
    "infer_spec",
    "read_spec",
    "to_toml",
    "write_spec",
]

TASKS = ("", "classification", "regression")
MODALITIES = ("image", "table", "text", "series", "array", "state")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
COLOURS = {"RGB": 3, "BGR": 3, "L": 1}
HUGGING_FACE_INPUT = "pixel_values"
BYTES = "bytes"
LONGEST_TEXT = 1 << 20  # tokens
LONGEST_SIDE = 65535  # pixels of an image
MOST_RATE = 100_000_000  # samples per second


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes an input array: ``(resize(image) * scale - mean) / std`` per channel.

    ``resize`` is the length of the short side before the crop (0: resize straight to ``size``); ``size`` is
    (height, width) of the input, (0, 0) for what the model's shape says, or else the image's own. ``scale``
    multiplies the 0..255 values first. ``mean`` and ``std`` are in the order of ``colour``. SettingError if the
    fields are out of range or contradict each other.
    """

    size: tuple[int, int] = (224, 224)
    resize: int = 0
    interpolation: str = "bilinear"  # nearest, bilinear, bicubic, lanczos, box, hamming
    crop: bool = True  # centre crop to ``size`` after resizing the short side
    colour: str = "RGB"  # RGB, BGR or L
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    stretch: bool = False  # resize to (resize, resize) before the crop, whatever the shape of the image

    def __post_init__(self) -> None:
        message = self._contradiction()
        if message:
            raise SettingError(message, where="preprocessing")

    def _contradiction(self) -> str:
        """Say what is wrong with the fields; empty if nothing is."""
        if self.interpolation not in INTERPOLATIONS:
            return f"interpolation '{excerpt(self.interpolation)}' is not one of {', '.join(INTERPOLATIONS)}"
        if self.colour not in COLOURS:
            return f"colour '{excerpt(self.colour)}' is not one of {', '.join(COLOURS)}"
        sides = (*self.size, self.resize)
        if not all(0 <= side <= LONGEST_SIDE for side in sides) or (0 in self.size and any(self.size)):
            return f"size {self.size} and resize {self.resize} must be 0 (not set) or 1 to {LONGEST_SIDE}"
        if self.resize and not self.crop and any(self.size):
            return "resize is the short side before the crop: with crop = false, leave out resize or size"
        if self.resize and any(self.size) and self.resize < min(self.size):
            return f"resize {self.resize} is shorter than size {self.size}: there is nothing to crop; set resize too"
        return self._scaling_contradiction()

    def _scaling_contradiction(self) -> str:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, COLOURS[self.colour]):
                return f"{name} has {len(values)} values, colour {self.colour} has {COLOURS[self.colour]}"
        return contradiction(self.scale, self.mean, self.std)


PRESETS = {
    "imagenet": Preprocessing(
        resize=256, scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),  # torchvision's
    "unit": Preprocessing(size=(0, 0), scale=1 / 255),
    "minus-one-to-one": Preprocessing(size=(0, 0), scale=1 / 127.5, mean=(1.0,)),
    "none": Preprocessing(size=(0, 0)),
}


@dataclass(frozen=True)
class InputSpec:
    """One input of the model: its modality, its layout and how files become arrays.

    ``layout`` has a letter per axis: N batch, C channels, H height, W width, T time, F features; ``""`` if unknown.
    ``categories`` names the codes 0, 1, 2, ... of a column. A series has ``rate`` samples per second (0: steps without
    a unit) and a name per channel in ``channels``; ``time`` is the column of a CSV file that holds the seconds, and
    ``scaling`` what is done to the numbers of a file. What a file does not fill, and a ``state``, which is never
    masked, holds ``fill``. SettingError if fields contradict each other.
    """

    name: str
    modality: str = "array"  # image, table, text, series, array, or state (of a recurrent network)
    layout: str = ""
    preprocessing: Preprocessing | None = None
    columns: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # group name -> columns that belong together
    problem: str = ""  # why image files cannot be prepared for this input; arrays can still be given
    rate: float = 0.0
    channels: tuple[str, ...] = ()
    time: str = ""
    fill: float | None = None
    tokenizer: str = ""  # of a text's codes: a tokenizer.json, relative to the spec; "" for one beside the model
    length: int = 0  # most tokens of a text; 0 for what tokenizer and model say
    scaling: Scaling | None = None  # of a series
    codes: str = ""  # what whole numbers stand for: "bytes", or a vocabulary, a file relative to the spec

    def __post_init__(self) -> None:
        message = self._contradiction()
        if message:
            raise SettingError(message, where=f"inputs.{excerpt(self.name)}")

    def _contradiction(self) -> str:
        if self.modality not in MODALITIES:
            return f"modality '{excerpt(self.modality)}' is not one of {', '.join(MODALITIES)}"
        if len(set(self.layout)) != len(self.layout) or not set(self.layout) <= set("NCHWTF"):
            return f"layout '{excerpt(self.layout)}' must have different letters out of N, C, H, W, T and F"
        if self.modality == "image" and self.layout and not set("HW") <= set(self.layout) <= set("NCHW"):
            return f"layout '{self.layout}' of an image must have H and W, and may have N and C"
        if len(set(self.columns)) != len(self.columns):
            return "columns has the same name twice"
        if not 0 <= self.length <= LONGEST_TEXT:
            return f"length {self.length} must be 0 (not set) or 1 to {LONGEST_TEXT} tokens"
        return self._unknown_column() or self._series_contradiction()

    def _series_contradiction(self) -> str:
        if not 0 <= self.rate <= MOST_RATE:
            return f"rate {self.rate:g} is not from 0 (not known) to {MOST_RATE:,} samples per second"
        if len(set(self.channels)) != len(self.channels):
            return "channels has the same name twice"
        if self.time and self.time in self.channels:
            return f"time '{excerpt(self.time)}' is one of the channels"
        of_series = self.rate or self.channels or self.time or self.scaling
        if of_series and self.modality not in {"series", "array"}:
            return f"rate, channels, time and scaling are for a series, not for an input of modality {self.modality}"
        if self.codes and self.modality not in {"array", "text"}:
            return f"codes are for an array or a text, not for an input of modality {self.modality}"
        return self._scaling_contradiction()

    def _scaling_contradiction(self) -> str:
        if self.modality == "series" and self.preprocessing:
            return "the preprocessing of an image is not for a series: that has scale, mean and std alone"
        if self.scaling and self.channels and self.scaling.channels not in {1, len(self.channels)}:
            return f"mean and std are for {self.scaling.channels} channels, and {len(self.channels)} have names"
        return ""

    def _unknown_column(self) -> str:
        grouped = [column for columns in self.groups.values() for column in columns]
        for column in (*self.categories, *grouped):
            if self.columns and column not in self.columns:
                return f"column '{excerpt(column)}' of categories or groups is not in columns"
        if len(set(grouped)) != len(grouped):
            return "groups name the same column twice"
        return ""


@dataclass(frozen=True)
class ModelSpec:
    """What an ONNX file does not say; read from a TOML file beside the model or given with ``--spec``."""

    task: str = ""  # classification, regression, or "" if unknown
    labels: tuple[str, ...] = ()
    target: str = "top"  # default target
    output: str = ""  # default output tensor, "" for the first that can be explained
    inputs: dict[str, InputSpec] = field(default_factory=dict)
    background: str = ""  # file of background rows, relative to the spec
    unit: str = ""  # of the numbers that a regression gives, such as "EUR"
    source: str = field(default="", compare=False)  # the file that this spec was read from


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read a spec from TOML; SettingError names the file and the field of whatever is unknown or of a wrong type."""
    path = Path(path)
    top = Fields(read_toml(path), printable(path))
    inputs = top.table("inputs")
    background = _read_path(top, "background", path.parent)
    spec = ModelSpec(
        task=top.text("task", "", TASKS),
        labels=_read_labels(top, path),
        target=top.text("target", "top"),
        output=top.text("output", ""),
        inputs={name: _read_input(name, inputs, path.parent) for name in inputs.listed()} if inputs else {},
        background=background,
        unit=top.text("unit", ""),
        source=str(path),
    )
    top.finish()
    return spec


def _read_path(fields: Fields, key: str, folder: Path) -> str:
    """Return the name of a file, which must be inside the folder; empty if none is given."""
    name = fields.text(key, "")
    if name:
        inside(folder, name, fields.where(key))
    return name


def _read_labels(top: Fields, path: Path) -> tuple[str, ...]:
    if top.is_text("labels"):
        name = top.text("labels", "")
        return read_labels(inside(path.parent, name, top.where("labels")))
    return top.names("labels")


def _read_input(name: str, inputs: Fields, folder: Path) -> InputSpec:
    fields = inputs.table(name)
    if fields is None:
        raise KeyError(name)
    layout = fields.text("layout", "")
    preprocessing = fields.table("preprocessing")
    values = {
        "layout": layout,
        "columns": fields.names("columns"),
        "categories": fields.lists_of_names("categories"),
        "groups": fields.lists_of_names("groups"),
        "problem": fields.text("problem", ""),
        "tokenizer": _read_path(fields, "tokenizer", folder),
        "length": fields.whole("length", 0),
        "codes": fields.text("codes", "") if fields.text("codes", "") == BYTES else _read_path(fields, "codes", folder),
        "rate": fields.number("rate", 0.0),
        "channels": fields.names("channels"),
        "time": fields.text("time", ""),
        "fill": fields.number("fill", 0.0) if "fill" in fields.listed() else None,
        "preprocessing": preprocessing,
    }
    values["modality"] = fields.text("modality", _modality_of(values), MODALITIES)
    is_series = values["modality"] == "series"
    values["preprocessing"] = _read_preprocessing(preprocessing) if preprocessing and not is_series else None
    values["scaling"] = _read_scaling(preprocessing) if preprocessing and is_series else None
    fields.finish()
    try:
        return InputSpec(name, **values)  # type: ignore[arg-type]  # each value was read by its type
    except SettingError as problem:
        raise SettingError(problem.message, where=fields.where()) from None


def _modality_of(values: Mapping[str, object]) -> str:
    """Return the modality that the other fields of an input imply."""
    layout = str(values["layout"])
    is_series = "T" in layout or bool(values["rate"] or values["channels"])
    if set("HW") <= set(layout) or (values["preprocessing"] and not is_series):
        return "image"
    if values["tokenizer"] or values["length"]:
        return "text"
    if values["columns"] or values["categories"] or values["groups"] or "F" in layout:
        return "table"
    return "series" if is_series else "array"


def _read_scaling(fields: Fields) -> Scaling:
    values = {
        "scale": fields.number("scale", 1.0),
        "mean": fields.numbers("mean", (0.0,)),
        "std": fields.numbers("std", (1.0,)),
    }
    fields.finish()
    try:
        return Scaling(**values)  # type: ignore[arg-type]  # each value was read by its type
    except SettingError as problem:
        raise SettingError(problem.message, where=fields.where()) from None


def _read_preprocessing(fields: Fields) -> Preprocessing:
    preset = fields.text("preset", "none", PRESETS)
    base = PRESETS[preset]
    values = {
        "size": fields.pair("size", base.size),
        "resize": fields.whole("resize", base.resize),
        "interpolation": fields.text("interpolation", base.interpolation, INTERPOLATIONS),
        "crop": fields.flag("crop", default=base.crop),
        "colour": fields.text("colour", base.colour, COLOURS),
        "scale": fields.number("scale", base.scale),
        "mean": fields.numbers("mean", base.mean),
        "std": fields.numbers("std", base.std),
        "stretch": fields.flag("stretch", default=base.stretch),
    }
    fields.finish()
    try:
        return Preprocessing(**values)  # type: ignore[arg-type]  # each value was read by its type
    except SettingError as problem:
        raise SettingError(problem.message, where=fields.where()) from None


def find_spec(model_path: str | os.PathLike[str]) -> ModelSpec | None:
    """Return the spec that lies beside a model, None if there is none.

    ``model.toml`` beside ``model.onnx`` comes first, then ``onnxplain.toml``, then Hugging Face's
    ``preprocessor_config.json`` and ``config.json``, also in the parent of a folder named ``onnx``.
    """
    model_path = Path(model_path)
    for candidate in (model_path.with_suffix(".toml"), model_path.with_name("onnxplain.toml")):
        if candidate.is_file():
            return read_spec(candidate)
    from .specs.hugging_face import from_hugging_face

    folder = model_path.absolute().parent
    folders = [folder, folder.parent] if folder.name == "onnx" else [folder]
    found = (from_hugging_face(candidate) for candidate in folders)
    return next((spec for spec in found if spec is not None), None)


def infer_spec(
    inputs: Sequence[InputInfo], output_shape: tuple[int | str | None, ...] | None = None, labels: Sequence[str] = ()
) -> ModelSpec:
    """Return what names, dtypes and shapes tell: modalities, layouts, and a first guess at the preprocessing of images.

    The guess is values from 0 to 1 (the pixels themselves for integer inputs) and grey for one channel. The task is
    classification if there is a label per value of the output.

    >>> from onnxplain.engine.model import TensorSpec
    >>> spec = infer_spec([TensorSpec("image", np.dtype("float32"), ("N", 3, 64, 64), batch_axis=0)])
    >>> spec.inputs["image"].layout, spec.inputs["image"].preprocessing.size
    ('NCHW', (64, 64))
    """
    last = output_shape[-1] if output_shape else None
    return ModelSpec(
        task="classification" if labels and last in (len(labels), None) else "",
        labels=tuple(labels),
        inputs={info.name: _infer_input(info) for info in inputs},
    )


def _infer_input(info: InputInfo) -> InputSpec:
    modality, layout = infer_layout(info)
    preprocessing = infer_preprocessing(info, layout) if modality == "image" else None
    return InputSpec(info.name, modality, layout, preprocessing)


def infer_preprocessing(info: InputInfo, layout: str) -> Preprocessing | None:
    """Return the first guess at the preprocessing of an image input.

    None if it takes neither grey nor colour, or is larger than images can be.
    """
    sizes = sizes_by_letter(layout, info.shape)
    colour = {1: "L", 3: "RGB"}.get(sizes.get("C", 3 if "C" in layout else 1))
    if colour is None or max(sizes.get("H", 0), sizes.get("W", 0)) > LONGEST_SIDE:
        return None
    guess = PRESETS["none" if np.issubdtype(info.dtype, np.integer) else "unit"]
    size = (sizes["H"], sizes["W"]) if sizes.get("H") and sizes.get("W") else (0, 0)
    return dataclasses.replace(guess, size=size, colour=colour)


def complete_spec(spec: ModelSpec | None, inputs: Sequence[InputInfo]) -> ModelSpec:
    """Return the spec with an entry for each input of the model; SettingError if it describes other inputs.

    Modalities and layouts that it leaves open are inferred, preprocessings are not: those would be guesses.
    """
    spec = spec or ModelSpec()
    guesses = {info.name: InputSpec(info.name, *infer_layout(info)) for info in inputs}
    given = _named_as_in_model(spec, guesses)
    for name in given:
        if name not in guesses:
            raise SettingError(
                f"the spec describes an input '{excerpt(name)}', which the model does not have",
                where=printable(spec.source),
                tip=nearest(name[:200], guesses),
            )
    return dataclasses.replace(
        spec, inputs={name: _complete_input(given.get(name), guess) for name, guess in guesses.items()}
    )


def _named_as_in_model(spec: ModelSpec, guesses: dict[str, InputSpec]) -> dict[str, InputSpec]:
    """Give Hugging Face's image input, which its files do not name, the name of the model's only image input."""
    if not spec.source.endswith(".json") or set(spec.inputs) <= set(guesses):
        return spec.inputs
    images = [name for name, entry in guesses.items() if entry.modality == "image"]
    if len(images) != 1:
        return {}
    (entry,) = spec.inputs.values()
    return {images[0]: dataclasses.replace(entry, name=images[0])}


def _complete_input(given: InputSpec | None, guess: InputSpec) -> InputSpec:
    if given is None:
        return guess
    if guess.modality == "state" and given.modality == "array" and not given.layout:
        return dataclasses.replace(given, modality="state")  # an entry that says something else of it
    is_same_kind = given.modality == guess.modality
    return dataclasses.replace(given, layout=given.layout or (guess.layout if is_same_kind else ""))
