"""What names, dtypes and shapes tell of a model's inputs, and how a spec is completed by it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, nearest, printable
from ..files import excerpt
from ..layout import infer_layout, sizes_by_letter
from ..spec import LONGEST_SIDE, PRESETS, InputSpec, ModelSpec, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import InputInfo


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
