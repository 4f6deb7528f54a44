"""The manifest of an explanation: how it was made, and what a replay needs of it."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from . import runtime
from .errors import InputError, SettingError, printable
from .explanation import brief
from .masking.baselines import Baseline
from .masking.features import Features
from .settings import plain
from .spec import InputSpec, ModelSpec, Preprocessing
from .target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .explanation import Explanation
    from .problem import Problem
    from .registry import Plugin

MOST = {"workers": 1024, "threads": 1024, "batch": 65_536}  # of a layout that is believed


@cache
def own_version() -> str:
    """Return the version of onnxplain; it is parsed from the installed metadata, so once is enough."""
    return version("onnxplain")


def manifest_of(
    problem: Problem, solved: Problem, plugin: Plugin, given: Mapping[str, Any], asked: str | int | Target
) -> dict[str, Any]:
    """Return what is needed to recompute the result, and what a reader wants to know of how it was made.

    ``solved`` is the problem that the method was handed: another than ``problem`` where an inner tensor is explained by
    the part of the model behind it.
    """
    model, target = problem.model, problem.target
    variant = solved.model.variant((target.tensor,), solved.sample.feeds)
    layout = solved.model.runner(target, solved.sample.feeds).layout
    session = variant.session(layout.threads)
    return {
        "onnxplain": own_version(),
        "model_path": str(model.path) if model.path else "",
        "model_digest": model.digest,
        "opset": model.opsets,
        "device": model.device.name,
        "provider": session.provider,
        "optimised": session.optimised,
        "threads": model.threads,
        "layout": dataclasses.asdict(layout),
        "batching": variant.batching,
        "spec": plain(dataclasses.asdict(dataclasses.replace(model.spec, labels=()))),
        "seed": problem.seed,
        "wrt": problem.wrt,
        "target": asked.text if isinstance(asked, Target) else str(asked),
        "target_tensor": target.tensor,
        "target_index": list(target.index),
        "target_space": target.space,
        "settings_given": brief(dict(given)),
        "plugin": f"{plugin.package}:{plugin.factory.__module__}.{plugin.factory.__qualname__}",
        "preprocessing": problem.sample.preprocessing,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **runtime.versions()},
        "machine": f"{platform.system()} {platform.machine()}",
    }


@dataclass(frozen=True)
class Recipe:
    """What a manifest says of how to recompute, checked: the file may have come from anywhere."""

    path: str
    digest: str
    device: str
    threads: int
    layout: runtime.Layout
    spec: ModelSpec
    seed: int
    wrt: str | None
    target: Target
    asked: str

    @classmethod
    def read(cls, explanation: Explanation) -> Recipe:
        """Read it from an explanation. Raises ``InputError`` where the manifest lacks something."""
        kept = explanation.manifest
        try:
            return cls(
                path=_text(kept["model_path"]),
                digest=_text(kept["model_digest"]),
                device=_text(kept["device"]),
                threads=_whole(kept["threads"], MOST["threads"], least=1),
                layout=runtime.Layout(**{n: _whole(kept["layout"][n], most, least=1) for n, most in MOST.items()}),
                spec=_spec(kept["spec"]),
                seed=_whole(kept["seed"], None),
                wrt=None if kept["wrt"] is None else _text(kept["wrt"]),
                target=Target(
                    explanation.target,
                    _text(kept["target_tensor"]),
                    tuple(None if k is None else _whole(k, None, least=None) for k in kept["target_index"]),
                    explanation.label,
                    _text(kept["target_space"]),
                ),
                asked=_text(kept["target"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, SettingError) as error:
            raise InputError(
                "the manifest of this explanation is not whole; it cannot be replayed",
                where=printable(error if str(error) else type(error).__name__)[:120],
            ) from None


def revived(value: Any) -> Any:
    """Return a stored setting as the plug-in takes it: nested lists as arrays, features and baselines as such."""
    if isinstance(value, dict) and value.keys() == {"type", "names", "labels", "kind"}:
        return Features(tuple(value["names"]), value["labels"], value["kind"])
    if isinstance(value, dict) and value.get("type") == "Baseline" and {"name", "references"} <= value.keys():
        return Baseline(**{f.name: value[f.name] for f in dataclasses.fields(Baseline) if f.name in value})
    if isinstance(value, list) and value and isinstance(value[0], list):
        return np.asarray(value)
    return {k: revived(v) for k, v in value.items()} if isinstance(value, dict) else value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _whole(value: Any, most: int | None, *, least: int | None = 0) -> int:
    if type(value) is not int or (least is not None and value < least) or (most is not None and value > most):
        raise TypeError(f"{value!r} is out of range")
    return value


def _spec(kept: Any) -> ModelSpec:
    """Return a spec from what JSON made of it."""
    fields = _tuples(kept)
    inputs = {name: _input_spec(entry) for name, entry in fields.pop("inputs").items()}
    return ModelSpec(**fields, inputs=inputs)


def _input_spec(fields: dict[str, Any]) -> InputSpec:
    preprocessing = fields.pop("preprocessing")
    return InputSpec(**fields, preprocessing=Preprocessing(**preprocessing) if preprocessing else None)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value
