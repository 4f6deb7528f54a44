"""What can be explained of a model and how, found without an input of the user's."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import graph
from .errors import CapabilityError, OnnxplainError, SettingError, printable
from .registry import GRADIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .inputs.text_inputs import TextInputs
    from .model import Model, TensorSpec
    from .registry import Plugin
    from .spec import InputSpec, ModelSpec

MOST_MADE_UP = 1 << 28  # numbers of an input
OPEN_SIZES = {"H": 224, "W": 224, "T": 16}  # for axes whose size the model leaves open
SOUND_RATE = 16_000  # samples per second, where a model asks
MORE_STEPS = 512  # for models of sound, which take no few
UNOPENED = "ONNX Runtime "  # how the reasons begin for which no session of a model can be had
NOT_OPENED = "ONNX Runtime does not open this model"
GRADIENTS = 'needs gradients: pip install "onnxplain[torch]"'


def batching(model: Model) -> tuple[str, str]:
    """Run the model on made-up numbers; return how it takes rows (empty if that fails) and why it fails."""
    for info in model.inputs:
        count = math.prod(n for n in info.shape if isinstance(n, int))
        if count > MOST_MADE_UP:
            return "", f"input '{printable(info.name)}' takes {count:,} numbers, more than are made up to try it"
    reason = ""
    for feeds in _made_up(model):
        try:
            model.predict(feeds)
        except OnnxplainError as error:
            reason = reason or f"{error.message}{f' ({error.where})' if error.where else ''}"
        else:
            return model.batching, ""
    return "", reason


def _made_up(model: Model) -> Iterator[dict[str, np.ndarray]]:
    """Yield one row of numbers from 0 to 1, whole numbers being 0; then with whole numbers of 1, or more time steps."""
    known = preprocessing(model)
    made: list[dict[str, np.ndarray]] = []
    for whole, steps in ((0, 0), (1, 0), (0, MORE_STEPS)):
        rng = np.random.default_rng(0)
        feeds = {i.name: _feed(i, known[i.name], (whole, steps), rng) for i in model.inputs}
        if not any(all(np.array_equal(feed, other[name]) for name, feed in feeds.items()) for other in made):
            made.append(feeds)
            yield feeds


def _feed(tensor: TensorSpec, known: dict[str, Any], made: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    from .inputs.filling import RATE_NAMES

    layout, (whole, steps) = known["layout"], made
    if not tensor.shape and tensor.name.lower() in RATE_NAMES:
        return np.array(SOUND_RATE, tensor.dtype)
    open_sizes = OPEN_SIZES | {"T": max(OPEN_SIZES["T"], round(known["rate"]), steps)}  # a second of sound
    letters = layout if len(layout) == len(tensor.shape) else " " * len(tensor.shape)
    shape = tuple(
        1
        if axis == tensor.batch_axis and not isinstance(n, int)
        else n
        if isinstance(n, int)
        else open_sizes.get(letter, 1)
        for axis, (n, letter) in enumerate(zip(tensor.shape, letters, strict=True))
    )
    if tensor.dtype.kind == "O":
        return np.full(shape, "", dtype=object)
    return rng.random(shape).astype(tensor.dtype) if tensor.dtype.kind == "f" else np.full(shape, whole, tensor.dtype)


def labels_problem(model: Model, reason: str) -> str:
    """Say where the spec names another number of classes than the output has; empty if it fits or is not known."""
    labels = model.spec.labels
    if not labels or reason:
        return ""
    from .target import fitting_labels

    for feeds in _made_up(model):
        try:
            classes = model.predict(feeds)[model.default_output].shape[-1]
        except (OnnxplainError, KeyError, IndexError):
            continue
        if fitting_labels(labels, classes):
            return ""
        return (
            f"the spec names {len(labels)} classes, output '{printable(model.default_output)}' has {classes}: "
            "the names are not used\n  tip: correct labels or output in the spec"
        )
    return ""


def default_target(model: Model) -> dict[str, Any]:
    """Return what is explained where no target is given, as names and in words; without an output nothing can be."""
    try:
        output = model.default_output
    except OnnxplainError as error:
        return {"output": None, "tensor": None, "cut": None, "text": f"none: {error.message}"}
    cut = model.final_activation(output)
    tensor, activation = cut if cut is not None else (output, None)
    chosen = model.spec.target
    text = f"{'the predicted class' if chosen == 'top' else printable(chosen)} of '{printable(output)}'"
    if activation is not None:
        text += f", before its final {activation} (tensor '{printable(tensor)}')"
    return {"output": output, "tensor": tensor, "cut": activation, "text": text}


def preprocessing(model: Model) -> dict[str, dict[str, Any]]:
    """Return for each input its modality, layout and how image files are prepared; ``assumed`` marks a first guess."""
    guessed = spec_to_write(model)
    texts = text_readiness(model)
    found = {}
    for name, entry in model.spec.inputs.items():
        chosen = entry.preprocessing or guessed.inputs[name].preprocessing
        found[name] = {
            "modality": guessed.inputs[name].modality,
            "layout": guessed.inputs[name].layout,
            "problem": entry.problem,
            "columns": len(entry.columns),
            "text": texts.get(name),
            "rate": entry.rate,
            "channels": list(entry.channels),
            "scaling": dataclasses.asdict(entry.scaling) if entry.scaling is not None else None,
            "assumed": entry.preprocessing is None and chosen is not None,
            "preprocessing": dataclasses.asdict(chosen) if chosen is not None else None,
        }
    return found


def text_readiness(model: Model) -> dict[str, dict[str, Any]]:
    """Return, by the inputs that texts go into, how they get there, and what is missing for that (empty: nothing)."""
    from .inputs.text_inputs import text_inputs

    return {found.main.name: _readiness(model, found) for found in text_inputs(model.inputs, model.spec)}


def _readiness(model: Model, found: TextInputs) -> dict[str, Any]:
    from .inputs.tokenizer import INSTALL, find_tokenizer, is_installed

    if found.takes_strings:
        return {"as": "string", "tokenizer": None, "missing": ""}
    missing, file = "", None
    try:
        folder = model.path.parent if model.path is not None else None
        file = find_tokenizer(model.spec.inputs[found.main.name].tokenizer, model.spec.source, folder)
    except OnnxplainError as error:
        missing = error.message
    if file is None or not file.is_file():
        missing = missing or "a tokenizer: put tokenizer.json beside the model, name it in the spec or with --tokenizer"
    elif not is_installed():
        missing = f"the package tokenizers: {INSTALL}"
    return {"as": "tokens", "tokenizer": str(file) if file else None, "missing": missing}


def spec_to_write(model: Model) -> ModelSpec:
    """Return all that is known of a model as a spec, with first guesses where nothing is."""
    from .specs.inference import infer_spec

    output = default_target(model)["output"]
    shape = next((o.shape for o in model.outputs if o.name == output), None)
    guessed = infer_spec(model.inputs, shape, model.labels)
    inputs = {
        name: _as_text(model, _with_categories(model, entry))
        if entry.preprocessing is not None or entry.problem or entry.modality != "image"
        else dataclasses.replace(entry, preprocessing=guessed.inputs[name].preprocessing)
        for name, entry in model.spec.inputs.items()
    }
    return dataclasses.replace(model.spec, task=model.spec.task or guessed.task, labels=model.labels, inputs=inputs)


def _with_categories(model: Model, entry: InputSpec) -> InputSpec:
    """Name the columns of a table of text, and the categories that the model's encoders list for them."""
    listed = graph.text_categories(model.proto).get(entry.name, {}) if entry.modality == "table" else {}
    if not listed or entry.categories:
        return entry
    columns = entry.columns or ((entry.name,) if max(listed) == 0 else ())
    if max(listed) >= len(columns):
        return entry
    known = {columns[place]: found.names for place, found in listed.items()}
    return dataclasses.replace(entry, columns=columns, categories=known)


def _as_text(model: Model, entry: InputSpec) -> InputSpec:
    """Return the entry of a model's only input, where that takes one string, as one of texts: it is no category."""
    from .inputs.text_inputs import is_column, text_inputs

    found = next((one for one in text_inputs(model.inputs, model.spec) if one.main.name == entry.name), None)
    given = dataclasses.replace(model.spec, inputs={**model.spec.inputs, entry.name: entry})
    if found is None or not found.takes_strings or is_column(found, given):
        return entry
    return entry if entry.modality == "text" else dataclasses.replace(entry, modality="text", layout="")


def capabilities(model: Model, reason: str = "") -> list[dict[str, Any]]:
    """Return for each method whether it can explain this model, and why not.

    ``with`` is what it must be given beside the input, in words: the name of a tensor, or few features. ``reason`` is
    why the model did not run (see ``batching``). Made-up numbers may be to blame for that, but not where ONNX Runtime
    does not open it.
    """
    from .internals.activation import AT_TENSORS
    from .internals.attention import METHODS, count
    from .internals.layer import MAPS
    from .perturbation.exact_shapley import MOST_FEATURES
    from .registry import plugins

    beside = dict.fromkeys(AT_TENSORS, "--wrt TENSOR") | {"exact-shapley": f"at most {MOST_FEATURES} features"}
    attends = any(count(model.proto)[:2])
    kinds = {entry["modality"] for entry in preprocessing(model).values()} - {"state"}
    target = default_target(model)
    no_gradient = cache(partial(_no_gradient, model, target))
    refusal = cache(partial(_refusal, model))
    found = []
    for plugin in plugins("explainer"):
        why = NOT_OPENED if reason.startswith(UNOPENED) else _hindrance(plugin, kinds, target)
        if not why and GRADIENT in plugin.needs:
            why = no_gradient()
        if not why and plugin.name in METHODS and not attends:
            why = "no attention was found in this model"
        if not why and not reason and (plugin.name == "cam" or plugin.name in MAPS):
            why = refusal("cam" if plugin.name == "cam" else "eigen-cam")
        needed = None if why else beside.get(plugin.name)
        found.append({"name": plugin.name, "can_run": not why, "why": why or None, "with": needed})
    return found


def _hindrance(plugin: Plugin, kinds: set[str], target: dict[str, Any]) -> str:
    if target["output"] is None:
        return f"{target['text'].removeprefix('none: ')}; name a tensor with --target"
    if plugin.modalities and not kinds & set(plugin.modalities):
        return f"it explains {', '.join(plugin.modalities)}; this model takes {', '.join(sorted(kinds))}"
    return ""


def _no_gradient(model: Model, target: dict[str, Any]) -> str:
    """Return why there is no gradient of the target at the inputs; empty where nothing is known to stand in the way."""
    strings = [info.name for info in model.inputs if info.dtype.kind == "O"]
    if strings:
        return f"input '{printable(strings[0])}' holds text: there is no gradient"
    odd = graph.without_gradient(model.proto, target["tensor"])
    if odd:
        return f"{odd} has no gradient"
    return GRADIENTS if importlib.util.find_spec("torch") is None else ""


def _refusal(model: Model, method: str) -> str:
    """Return why a method refuses a model that runs on all made-up numbers; empty where it takes some.

    Other methods that refuse for the same reason need not be asked.
    """
    from .explain import explain

    reason = ""
    for feeds in _made_up(model):
        try:
            explain(model, feeds, method)
        except (CapabilityError, SettingError) as error:
            reason = reason or error.message
        except OnnxplainError:
            continue  # the numbers are to blame
        else:
            return ""
    return reason
