"""explain: from a model and inputs to explanations; the function behind the front door."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import graph, registry, settings
from .errors import CapabilityError, InputError, SettingError, nearest, printable
from .inputs.acceptance import accepted
from .inputs.array import check_feeds, may_miss, split_rows
from .inputs.load import load_samples
from .inputs.sample import Sample
from .inputs.text import Place, Text, load_text
from .inputs.text_inputs import text_inputs
from .internals.behind import behind, only
from .manifest import manifest_of
from .masking.baselines import Baseline
from .masking.features import Features
from .model import Model, load
from .problem import Problem, Progress, Silence
from .remarks import remarks
from .rows import has_rows, leading, native
from .target import Target, resolve

if TYPE_CHECKING:
    from .explanation import Explanation

Inputs = np.ndarray | Mapping[str, np.ndarray] | Sample | Text | str | os.PathLike[str] | Sequence[Any]

AT_ONCE = 64  # samples that are handed to a method at a time


def explain(
    model: Model | str | os.PathLike[str] | bytes,
    inputs: Inputs,
    method: str = "occlusion",
    target: str | int = "top",
    wrt: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    smooth: str | None = None,
    **given: Any,
) -> Any:
    """Explain the decision of a model on one input, or on several.

    ``model`` is a Model or a path; ``inputs`` an array, a dict of arrays by input name, a Sample, a Text, a file
    (``cat.jpg``, ``rows.csv:3``, ``batch.npz``) or a list of these. ``given`` are the method's settings, as listed by
    ``onnxplain methods NAME``; with several inputs a setting may be a dict by input name. ``smooth`` is ``smoothgrad``,
    ``smoothgrad-squared`` or ``vargrad``: those methods around a gradient method, which ``given`` are then the settings
    of. Returns one Explanation for one row and a list for several. Raises an ``OnnxplainError`` that says what cannot
    be used and why.

    >>> import numpy as np, onnxplain
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> result = onnxplain.explain(model, np.zeros((1, 1, 8, 8), np.float32), "occlusion", target=3, window=2)
    >>> result.values["image"].shape
    (1, 1, 8, 8)
    """
    if smooth is not None:
        method, given = smooth, {"of": method, "settings": given}
    opened = model if isinstance(model, Model) else load(model)
    samples = list(samples_of(opened, inputs))
    results = explain_samples(opened, samples, method, target, wrt, seed, progress, given)
    return results[0] if len(results) == 1 and not _is_many(inputs, opened) else results


def explain_sample(
    model: Model,
    sample: Sample,
    method: str,
    target: str | int | Target = "top",
    wrt: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    given: Mapping[str, Any] | None = None,
) -> Explanation:
    """Explain one sample; the whole result, with settings and manifest."""
    return explain_samples(model, [sample], method, target, wrt, seed, progress, given)[0]


def explain_samples(
    model: Model,
    samples: Sequence[Sample],
    method: str,
    target: str | int | Target = "top",
    wrt: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    given: Mapping[str, Any] | None = None,
) -> list[Explanation]:
    """Explain samples one after the other, or those of equal shapes at once where the method can."""
    plugin = registry.find(method, "explainer")
    explainer = settings.build(plugin.factory, dict(given or {}), method)
    check_capability(plugin, wrt, model)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"seed must be a whole number from 0 on, not {printable(repr(seed))[:80]}")

    def problem_of(sample: Sample) -> Problem:
        return Problem(
            model=model,
            sample=sample,
            target=resolve(target, model, sample.feeds),
            method=method,
            wrt=wrt,
            features_setting=getattr(explainer, "features", "auto"),
            baseline_setting=getattr(explainer, "baseline", "auto"),
            budget=getattr(explainer, "budget", None),
            tolerance=getattr(explainer, "tolerance", None),
            seed=int(seed),
            progress=progress or Silence(),
        )

    results: dict[int, Explanation] = {}
    for places in _together(samples, many=hasattr(explainer, "explain_many")):
        begun = time.perf_counter()
        with model.remembering():
            asked = [problem_of(samples[place]) for place in places]
            inner = wrt if _is_behind(plugin, wrt, model) else None
            problems = asked if inner is None else [behind(p) for p in asked]
            if len(problems) > 1:
                found: list[Explanation] = explainer.explain_many(problems)
            else:
                found = [explainer.explain(problems[0])]
        if inner is not None:
            found = [only(one, inner) for one in found]
        seconds = (time.perf_counter() - begun) / len(problems)
        for place, problem, solved, one in zip(places, asked, problems, found, strict=True):
            finished = dataclasses.replace(
                one,
                settings={
                    f.name: _storable(getattr(explainer, f.name)) for f in dataclasses.fields(explainer) if f.init
                },
                seconds=seconds,
                sample=problem.sample,
                notes=(*one.notes, *remarks(solved)),
                manifest=manifest_of(problem, solved, plugin, given or {}, target) | one.manifest,
            )
            results[place] = _as_given(finished, model)
    return [results[place] for place in range(len(samples))]


def _together(samples: Sequence[Sample], *, many: bool) -> Iterator[list[int]]:
    """Yield the places of samples that are explained at once: those of equal shapes, or each by itself."""
    groups: dict[Any, list[int]] = {}
    for place, sample in enumerate(samples):
        shapes = tuple((name, feed.shape) for name, feed in sorted(sample.feeds.items()))
        groups.setdefault(shapes if many else place, []).append(place)
    for places in groups.values():
        for start in range(0, len(places), AT_ONCE):
            yield places[start : start + AT_ONCE]


def _as_given(found: Explanation, model: Model) -> Explanation:
    """Return the explanation with arrays shaped as the model itself takes its inputs."""
    return dataclasses.replace(
        found,
        values={n: _native(n, a, model) for n, a in found.values.items()},
        standard_error=None
        if found.standard_error is None
        else {n: _native(n, a, model) for n, a in found.standard_error.items()},
        feature_labels={n: _native(n, a, model) for n, a in found.feature_labels.items()},
    )


def samples_of(model: Model, inputs: Inputs, tokenizer: str | os.PathLike[str] | None = None) -> Iterator[Sample]:
    """Yield the samples that ``inputs`` stands for, checked and with the batch axis first.

    ``tokenizer`` is a tokenizer.json for texts, where it is not beside the model nor named in its spec.
    """
    if isinstance(inputs, Sample):
        yield _checked(inputs, model)
    elif isinstance(inputs, Text):
        sample = load_text(inputs, model.inputs, model.spec, place_of(model, tokenizer))
        yield dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs))
    elif isinstance(inputs, str | os.PathLike):
        for sample in load_samples(os.fspath(inputs), model.inputs, model.spec, place_of(model, tokenizer)):
            yield accepted(dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs)), model)
    elif _is_many(inputs, model):
        for one in inputs:
            yield from samples_of(model, one, tokenizer)
    else:
        for sample in split_rows(inputs, model.inputs, spec=model.spec):
            yield accepted(dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs)), model)


def place_of(model: Model, tokenizer: str | os.PathLike[str] | None = None) -> Place:
    """Return what the model's file says about texts: where a tokenizer would be, and how many codes are known."""
    found = text_inputs(model.inputs, model.spec)
    rows = graph.embedding_rows(model.proto, found.main.name) if found is not None else (0, 0)
    return Place(model.path.parent if model.path is not None else None, *rows, tokenizer)


def _is_many(inputs: Inputs, model: Model) -> bool:
    """Say whether this is a list of inputs; texts are files, or one row for a model that takes texts."""
    if not isinstance(inputs, list | tuple) or not inputs:
        return False
    if isinstance(inputs[0], str):
        return all(i.dtype.kind != "O" for i in model.inputs)
    return not np.isscalar(inputs[0])


def _checked(sample: Sample, model: Model) -> Sample:
    """Check a sample that was made by hand, or read from a file, like any arrays; it holds one row."""
    try:
        given = {n: native(n, np.asarray(a), model.inputs) for n, a in sample.feeds.items()}
    except (IndexError, ValueError):
        given = dict(sample.feeds)  # of a rank that is refused, or completed, next
    feeds = leading(check_feeds(given, model.inputs, may_miss(model.spec)), model.inputs)
    count = max((len(f) for n, f in feeds.items() if has_rows(n, model.inputs)), default=1)
    if count != 1:
        raise InputError(f"a Sample holds one row, not {count}", tip="give the array itself, or a list of Samples")
    return accepted(dataclasses.replace(sample, feeds=feeds), model)


def _native(name: str, array: np.ndarray, model: Model) -> np.ndarray:
    return native(name, array, model.inputs) if any(i.name == name for i in model.inputs) else array


def check_capability(plugin: registry.Plugin, wrt: str | None, model: Model) -> None:
    """Refuse a plug-in that needs what is not installed, and a tensor that the model does not have."""
    if plugin.package == "onnxplain" and registry.GRADIENT in plugin.needs and not importlib.util.find_spec("torch"):
        raise CapabilityError(
            f"{plugin.name} needs gradients, and so torch, which is not installed",
            tip='pip install "onnxplain[torch]", or use a method that needs none: occlusion, rise, kernel-shap',
        )
    if wrt is not None and wrt not in model.tensor_names:
        raise SettingError(f"there is no tensor '{printable(wrt)}' in this model", tip=nearest(wrt, model.tensor_names))


def _is_behind(plugin: registry.Plugin, wrt: str | None, model: Model) -> bool:
    """Say whether a method that only predicts is to explain an inner tensor."""
    inner = registry.GRADIENT in plugin.needs or registry.ACTIVATIONS in plugin.needs
    return wrt is not None and not inner and wrt not in {i.name for i in model.inputs}


def _storable(value: Any) -> Any:
    """Return a setting as arrays, numbers and text; ``manifest.revived`` undoes it."""
    if isinstance(value, Features):
        return {"type": "Features", "names": list(value.names), "labels": value.labels, "kind": value.kind}
    if isinstance(value, Baseline):
        return {"type": "Baseline", **{f.name: getattr(value, f.name) for f in dataclasses.fields(value)}}
    return value
