"""The manifest of an explanation: how it was made, and what a replay needs of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from .. import runtime
from ..errors import InputError, SettingError, printable
from ..explanation import brief
from ..masking.baselines import Baseline
from ..masking.features import Features
from ..settings import plain
from ..spec import InputSpec, ModelSpec, Preprocessing, Scaling
from ..target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..explanation import Explanation
    from ..model import Model
    from ..problem import Problem
    from ..registry import Plugin

SETTING_FILES = {".csv", ".npy", ".npz", ".png", ".toml", ".tsv"}
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
    return circumstances(model, plugin, given) | {
        "provider": session.provider,
        "optimised": session.optimised,
        "layout": dict(vars(layout)),
        "batching": variant.batching,
        "spec": _of_model(model).spec,
        "seed": problem.seed,
        "wrt": problem.wrt,
        "target": asked.text if isinstance(asked, Target) else str(asked),
        "target_tensor": target.tensor,
        "target_index": list(target.index),
        "target_space": target.space,
        "preprocessing": problem.sample.preprocessing,
    }


def circumstances(model: Model, plugin: Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what any result was made with: versions, machine, model, plug-in, and the settings that were given."""
    return {
        **_of_model(model).opened,
        "settings_given": brief(dict(given)),
        "plugin": f"{plugin.package}:{plugin.factory.__module__}.{plugin.factory.__qualname__}",
        "versions": _versions(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "numpy": np.__version__, **runtime.versions()}


class _Written(NamedTuple):
    """What is written of a model whatever is explained of it: how it was opened, and its spec without the labels."""

    opened: dict[str, Any]
    spec: dict[str, Any]


_written: WeakKeyDictionary[Model, _Written] = WeakKeyDictionary()


def _of_model(model: Model) -> _Written:
    """Return what is written of a model, as JSON holds it; made once."""
    if model not in _written:
        opened = {
            "onnxplain": own_version(),
            "model_path": str(model.path) if model.path else "",
            "model_digest": model.digest,
            "opset": model.opsets,
            "device": model.device.name,
            "threads": model.threads,
        }
        _written[model] = _Written(opened, plain(dataclasses.asdict(dataclasses.replace(model.spec, labels=()))))
    return _written[model]


@dataclass(frozen=True)
class Opening:
    """What a manifest says of how its model was opened, checked: the file may have come from anywhere."""

    path: str
    digest: str
    device: str
    threads: int
    spec: ModelSpec

    @classmethod
    def read(cls, kept: Mapping[str, Any], what: str = "explanation") -> Opening:
        """Read it from the manifest of ``what``. Raises ``InputError`` where that lacks something."""
        with whole_manifest(what):
            return cls(
                path=_text(kept["model_path"]),
                digest=_text(kept["model_digest"]),
                device=_text(kept["device"]),
                threads=whole(kept["threads"], MOST["threads"], least=1),
                spec=_spec(kept["spec"]),
            )


@dataclass(frozen=True)
class Recipe:
    """What a manifest says of how to recompute an explanation, checked."""

    opening: Opening
    layout: runtime.Layout
    seed: int
    wrt: str | None
    target: Target
    asked: str

    @classmethod
    def read(cls, explanation: Explanation) -> Recipe:
        """Read it from an explanation. Raises ``InputError`` where the manifest lacks something."""
        kept = explanation.manifest
        with whole_manifest():
            return cls(
                opening=Opening.read(kept),
                layout=layout_of(kept["layout"]),
                seed=whole(kept["seed"], None),
                wrt=None if kept["wrt"] is None else _text(kept["wrt"]),
                target=Target(
                    explanation.target,
                    _text(kept["target_tensor"]),
                    tuple(None if k is None else whole(k, None, least=None) for k in kept["target_index"]),
                    explanation.label,
                    _text(kept["target_space"]),
                ),
                asked=_text(kept["target"]),
            )


@contextlib.contextmanager
def whole_manifest(what: str = "explanation") -> Iterator[None]:
    """Turn what is wrong with a manifest into an ``InputError`` that names ``what`` it is of."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, SettingError) as error:
        raise InputError(
            f"the manifest of this {what} is not whole; it cannot be replayed",
            where=printable(error if str(error) else type(error).__name__)[:120],
        ) from None


def layout_of(kept: Mapping[str, Any]) -> runtime.Layout:
    """Return a layout from what JSON made of it."""
    return runtime.Layout(**{n: whole(kept[n], most, least=1) for n, most in MOST.items()})


def storable(value: Any) -> Any:
    """Return a setting as arrays, numbers and text, files by their whole path; ``revived`` undoes it."""
    if isinstance(value, dict):
        return {name: storable(one) for name, one in value.items()}
    if isinstance(value, str | os.PathLike):
        return _from_anywhere(os.fspath(value))
    if isinstance(value, Features):
        return {"type": "Features", "names": list(value.names), "labels": value.labels, "kind": value.kind}
    if isinstance(value, Baseline):
        return {"type": "Baseline", **{f.name: getattr(value, f.name) for f in dataclasses.fields(value)}}
    return value


def _from_anywhere(text: str) -> str:
    """Return a text that names a file, or rows of one (``rows.csv:0-9``), so that it does so in any folder."""
    if "." not in text:
        return text
    head, colon, rows = text.rpartition(":")
    for path, rest in ((Path(text), ""), (Path(head), colon + rows)):
        if path.suffix.lower() in SETTING_FILES and path.is_file():
            return f"{path.absolute()}{rest}"
    return text


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


def whole(value: Any, most: int | None, *, least: int | None = 0) -> int:
    """Return a whole number from a manifest; ``TypeError`` for anything else, and out of bounds."""
    if type(value) is not int or (least is not None and value < least) or (most is not None and value > most):
        raise TypeError(f"{value!r} is out of range")
    return value


def _spec(kept: Any) -> ModelSpec:
    """Return a spec from what JSON made of it."""
    fields = _tuples(kept)
    inputs = {name: _input_spec(entry) for name, entry in fields.pop("inputs").items()}
    return ModelSpec(**fields, inputs=inputs)


def _input_spec(fields: dict[str, Any]) -> InputSpec:
    preprocessing, scaling = fields.pop("preprocessing"), fields.pop("scaling", None)
    return InputSpec(
        **fields,
        preprocessing=Preprocessing(**preprocessing) if preprocessing else None,
        scaling=Scaling(**scaling) if scaling else None,
    )


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value
