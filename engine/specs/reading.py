"""The ModelSpec of a model: read from the TOML file that is named, or found beside the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingError, printable
from ..files import inside
from ..spec import BYTES, COLOURS, INTERPOLATIONS, MODALITIES, PRESETS, TASKS, InputSpec, ModelSpec, Preprocessing
from .labels import read_labels
from .scaling import Scaling
from .toml import Fields, read_toml

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


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
    from .hugging_face import from_hugging_face

    folder = model_path.absolute().parent
    folders = [folder, folder.parent] if folder.name == "onnx" else [folder]
    found = (from_hugging_face(candidate) for candidate in folders)
    return next((spec for spec in found if spec is not None), None)
