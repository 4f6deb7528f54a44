"""explain: from a model and inputs to explanations; the function behind the front door."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import registry, runtime, settings
from .errors import CapabilityError, InputError, SettingError, nearest, printable
from .inputs.array import split_rows
from .inputs.load import load_samples
from .inputs.sample import Sample
from .masking.baselines import Baseline
from .masking.features import Features
from .model import Model, load
from .problem import Problem, Progress, Silence
from .rows import leading, native
from .target import resolve

if TYPE_CHECKING:
    from .explanation import Explanation

Inputs = np.ndarray | Mapping[str, np.ndarray] | Sample | str | os.PathLike[str] | Sequence[Any]


def explain(
    model: Model | str | os.PathLike[str] | bytes,
    inputs: Inputs,
    method: str = "occlusion",
    target: str | int = "top",
    wrt: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **given: Any,
) -> Any:
    """Explain the decision of a model on one input, or on several.

    ``model`` is a Model or a path; ``inputs`` an array, a dict of arrays by input name, a Sample, a file
    (``cat.jpg``, ``rows.csv:3``, ``batch.npz``) or a list of these. ``given`` are the method's settings, as listed by
    ``onnxplain methods NAME``; with several inputs a setting may be a dict by input name. Returns one Explanation
    for one row and a list for several. Raises an ``OnnxplainError`` that says what cannot be used and why.

    >>> import numpy as np, onnxplain
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> result = onnxplain.explain(model, np.zeros((1, 1, 8, 8), np.float32), "occlusion", target=3, window=2)
    >>> result.values["image"].shape
    (1, 1, 8, 8)
    """
    opened = model if isinstance(model, Model) else load(model)
    samples = list(samples_of(opened, inputs))
    results = [explain_sample(opened, s, method, target, wrt, seed, progress, given) for s in samples]
    return results[0] if len(results) == 1 and not _is_many(inputs) else results


def explain_sample(
    model: Model,
    sample: Sample,
    method: str,
    target: str | int = "top",
    wrt: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    given: Mapping[str, Any] | None = None,
) -> Explanation:
    """Explain one sample; the whole result, with settings and manifest."""
    plugin = registry.find(method, "explainer")
    explainer = settings.build(plugin.factory, dict(given or {}), method)
    _check_capability(plugin, wrt, model)
    if seed < 0:
        raise SettingError(f"seed must be at least 0, not {seed}")
    begun = time.perf_counter()
    problem = Problem(
        model=model,
        sample=sample,
        target=resolve(target, model, sample.feeds),
        method=method,
        wrt=wrt,
        features_setting=getattr(explainer, "features", "auto"),
        baseline_setting=getattr(explainer, "baseline", "auto"),
        budget=getattr(explainer, "budget", None),
        tolerance=getattr(explainer, "tolerance", None),
        seed=seed,
        progress=progress or Silence(),
    )
    found: Explanation = explainer.explain(problem)
    seconds = time.perf_counter() - begun
    chosen = {f.name: _storable(getattr(explainer, f.name)) for f in dataclasses.fields(explainer)}
    return dataclasses.replace(
        found,
        values={n: _native(n, a, model) for n, a in found.values.items()},
        standard_error=None
        if found.standard_error is None
        else {n: _native(n, a, model) for n, a in found.standard_error.items()},
        settings=chosen,
        seconds=seconds,
        manifest=_manifest(problem, plugin, given or {}, str(target)) | found.manifest,
    )


def replay(explanation: Explanation, model: Model | str | os.PathLike[str] | None = None) -> Explanation:
    """Recompute a saved explanation from its manifest: same input, settings, seed, session layout and batch size.

    The result equals the saved one bit for bit on the same kind of machine. ``model`` is needed where the file is no
    longer where the manifest says. Raises ``InputError`` where the model is another one.
    """
    manifest = explanation.manifest
    if explanation.sample is None or "layout" not in manifest:
        raise InputError("this explanation was saved without its input or manifest; it cannot be replayed")
    source = model if model is not None else manifest.get("model_path") or ""
    if not isinstance(source, Model):
        if not source or not Path(source).exists():
            raise InputError(
                f"the model is not at '{printable(source)}' any more",
                tip="name it: onnxplain replay FILE --model MODEL",
            )
        source = load(source, device=manifest["device"], threads=manifest["threads"])
    if source.digest != manifest["model_digest"]:
        raise InputError(
            "this is not the model that was explained: its digest differs",
            where=f"now {source.digest[:16]}, then {manifest['model_digest'][:16]}",
        )
    before = source.layout
    source.layout = runtime.Layout(**manifest["layout"])
    try:
        return explain_sample(
            source,
            explanation.sample,
            explanation.method,
            explanation.target,
            manifest.get("wrt"),
            manifest["seed"],
            None,
            {n: _revived(v) for n, v in explanation.settings.items()},
        )
    finally:
        source.layout = before


def samples_of(model: Model, inputs: Inputs) -> Iterator[Sample]:
    """Yield the samples that ``inputs`` stands for, checked and with the batch axis first."""
    if isinstance(inputs, Sample):
        yield inputs
    elif isinstance(inputs, str | os.PathLike):
        for sample in load_samples(os.fspath(inputs), model.inputs, model.spec):
            yield dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs))
    elif isinstance(inputs, list | tuple) and inputs and not np.isscalar(inputs[0]):
        for one in inputs:
            yield from samples_of(model, one)
    else:
        for sample in split_rows(inputs, model.inputs, spec=model.spec):
            yield dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs))


def _is_many(inputs: Inputs) -> bool:
    return isinstance(inputs, list | tuple) and bool(inputs) and not np.isscalar(inputs[0])


def _native(name: str, array: np.ndarray, model: Model) -> np.ndarray:
    return native(name, array, model.inputs) if any(i.name == name for i in model.inputs) else array


def _check_capability(plugin: registry.Plugin, wrt: str | None, model: Model) -> None:
    if wrt is None:
        return
    if wrt not in model.tensor_names:
        raise SettingError(f"there is no tensor '{printable(wrt)}' in this model", tip=nearest(wrt, model.tensor_names))
    if registry.GRADIENT not in plugin.needs and wrt not in {i.name for i in model.inputs}:
        raise CapabilityError(
            f"{plugin.name} explains inputs; it cannot explain with respect to tensor '{printable(wrt)}'",
            tip="leave out --wrt, or make the tensor the target",
        )


def _manifest(problem: Problem, plugin: registry.Plugin, given: Mapping[str, Any], asked: str) -> dict[str, Any]:
    """Return what is needed to recompute the result, and what a reader wants to know of how it was made."""
    model, target = problem.model, problem.target
    variant = model.variant((target.tensor,), problem.sample.feeds)
    layout = model.runner(target, problem.sample.feeds).layout
    session = variant.session(layout.threads)
    return {
        "onnxplain": version("onnxplain"),
        "model_path": str(model.path) if model.path else "",
        "model_digest": model.digest,
        "opset": model.opsets,
        "device": model.device.name,
        "provider": session.provider,
        "optimised": session.optimised,
        "threads": model.threads,
        "layout": dataclasses.asdict(layout),
        "batching": variant.batching,
        "seed": problem.seed,
        "wrt": problem.wrt,
        "target": asked,
        "target_tensor": target.tensor,
        "target_index": list(target.index),
        "target_space": target.space,
        "settings_given": settings.plain({n: _storable(v) for n, v in given.items()}),
        "plugin": f"{plugin.package}:{plugin.factory.__module__}.{plugin.factory.__qualname__}",
        "preprocessing": problem.sample.preprocessing,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **runtime.versions()},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _storable(value: Any) -> Any:
    """Return a setting as arrays, numbers and text: features as their labels, a baseline as its references."""
    if isinstance(value, Features):
        return value.labels
    return value.references if isinstance(value, Baseline) else value


def _revived(value: Any) -> Any:
    """Return nested lists as arrays again, after a trip through JSON."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return np.asarray(value)
    return {k: _revived(v) for k, v in value.items()} if isinstance(value, dict) else value
