"""Question: what is asked about a model's decisions, the same for all samples; the loop over the samples."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import registry, settings
from .errors import CapabilityError, OnnxplainError, SettingError, blaming, nearest, printable
from .explanation import Explanation
from .internals.behind import behind, only
from .linear_algebra import one_thread
from .problem import Problem, Progress, Silence
from .results.manifest import manifest_of, storable
from .results.remarks import remarks
from .rows import native
from .target import Target, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .inputs.rows import Refused
    from .inputs.sample import Sample
    from .model import Model

AT_ONCE = 64  # samples that are handed to a method at a time


def checked_seed(seed: Any) -> int:
    """Return a seed as an int; ``SettingError`` where it is no whole number from 0 on."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"seed must be a whole number from 0 on, not {printable(repr(seed))[:80]}")
    return int(seed)


@dataclass(frozen=True)
class Question:
    """A method with its settings, a target, and what else an explanation depends on beside the sample."""

    model: Model
    plugin: registry.Plugin
    explainer: Any
    target: str | int | Target
    wrt: str | None
    seed: int
    progress: Progress
    given: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: Model,
        method: str,
        target: str | int | Target = "top",
        wrt: str | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> Question:
        """Check method, settings, tensor and seed before any work. Raises SettingError, CapabilityError."""
        plugin = registry.find(method, "explainer")
        explainer = settings.build(plugin.factory, dict(given or {}), method)
        check_capability(plugin, wrt, model)
        return cls(model, plugin, explainer, target, wrt, checked_seed(seed), progress or Silence(), given or {})

    def answers(self, samples: Sequence[Sample], refused: Refused | None = None) -> list[Explanation]:
        """Explain samples one after the other, or those of equal shapes at once where the method can.

        ``refused`` is told of those that cannot be explained, which are then left out.
        """
        found: dict[int, Explanation] = {}
        waiting = deque(_together(samples, many=hasattr(self.explainer, "explain_many")))
        while waiting:
            places = waiting.popleft()
            try:
                found.update(zip(places, self._explained([samples[place] for place in places]), strict=True))
            except OnnxplainError as error:
                if refused is None:
                    raise
                if len(places) == 1:
                    refused(samples[places[0]].source, error)
                else:
                    waiting.extendleft([place] for place in reversed(places))  # one by one: which is it?
        return [found[place] for place in sorted(found)]

    def answer(self, sample: Sample) -> Explanation:
        """Explain one sample; the whole result, with settings and manifest."""
        return self.answers([sample])[0]

    def _problem(self, sample: Sample) -> Problem:
        explainer = self.explainer
        return Problem(
            model=self.model,
            sample=sample,
            target=resolve(self.target, self.model, sample.feeds),
            method=self.plugin.name,
            wrt=self.wrt,
            features_setting=getattr(explainer, "features", "auto"),
            baseline_setting=getattr(explainer, "baseline", "auto"),
            budget=getattr(explainer, "budget", None),
            tolerance=getattr(explainer, "tolerance", None),
            seed=self.seed,
            progress=self.progress,
        )

    def _explained(self, samples: Sequence[Sample]) -> Iterator[Explanation]:
        """Explain samples at once, and write settings and manifest into the results."""
        begun = time.perf_counter()
        with self.model.remembering():
            asked = [self._problem(sample) for sample in samples]
            inner = self.wrt if self._is_behind else None
            problems = asked if inner is None else [behind(p) for p in asked]
            found = self._found(problems)
        if inner is not None:
            found = [only(one, inner) for one in found]
        seconds = (time.perf_counter() - begun) / len(problems)
        fields = [f.name for f in dataclasses.fields(self.explainer) if f.init]
        for problem, solved, one in zip(asked, problems, found, strict=True):
            yield dataclasses.replace(
                one,
                settings={name: storable(getattr(self.explainer, name)) for name in fields},
                seconds=seconds,
                sample=problem.sample,
                notes=(*one.notes, *remarks(solved)),
                manifest=manifest_of(problem, solved, self.plugin, self.given, self.target) | one.manifest,
                **_as_given(one, self.model),
            )

    def _found(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Return what the method finds; a mistake of its own is a PluginError."""
        with one_thread(), blaming(self.plugin.name, self.explainer):
            many = len(problems) > 1
            found = self.explainer.explain_many(problems) if many else [self.explainer.explain(problems[0])]
            if len(found) != len(problems) or not all(isinstance(one, Explanation) for one in found):
                raise TypeError(f"it gave {[type(one).__name__ for one in found]}, not an Explanation for each problem")
        return list(found)

    @property
    def _is_behind(self) -> bool:
        """True where a method that only predicts is to explain an inner tensor."""
        needs = self.plugin.needs
        inner = registry.GRADIENT in needs or registry.ACTIVATIONS in needs
        return self.wrt is not None and not inner and self.wrt not in {i.name for i in self.model.inputs}


def _together(samples: Sequence[Sample], *, many: bool) -> Iterator[list[int]]:
    """Yield the places of samples that are explained at once: those of equal shapes, or each by itself."""
    groups: dict[Any, list[int]] = {}
    for place, sample in enumerate(samples):
        shapes = tuple((name, feed.shape) for name, feed in sorted(sample.feeds.items()))
        groups.setdefault(shapes if many else place, []).append(place)
    for places in groups.values():
        for start in range(0, len(places), AT_ONCE):
            yield places[start : start + AT_ONCE]


def _as_given(found: Explanation, model: Model) -> dict[str, Any]:
    """Return the fields whose arrays are not shaped as the model itself takes its inputs, so shaped."""
    if model.rows_first:
        return {}
    return {
        "values": {n: _native(n, a, model) for n, a in found.values.items()},
        "standard_error": None
        if found.standard_error is None
        else {n: _native(n, a, model) for n, a in found.standard_error.items()},
        "feature_labels": {n: _native(n, a, model) for n, a in found.feature_labels.items()},
    }


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
