"""Other models to explain again with: the same graph with other weights, the same function as another graph, a file."""

from __future__ import annotations

import gc
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import InputError, ModelError, SettingError, printable
from ..model import Model
from ..target import Target, resolve
from .attributions import values_of
from .score import Reading, undefined
from .similarity import likeness

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from onnx import ModelProto

    from ..explanation import Explanation
    from .similarity import Likeness
    from .trial import Trial

HELD_BYTES = 160 << 20  # of other models that are held open beside one, by their files; memory is some 8 times that
_others: WeakKeyDictionary[Model, dict[Hashable, Model]] = WeakKeyDictionary()
_latest: WeakKeyDictionary[Model, tuple[Hashable, Model]] = WeakKeyDictionary()


def altered(model: Model, proto: ModelProto) -> Model:
    """Open an edited graph like the model that it was made from, with the same spec, device and threads."""
    try:
        data = proto.SerializeToString()
    except ValueError:
        raise ModelError("the model is larger than the 2 GiB that a single ONNX message holds") from None
    made = Model(data, model.spec, model.device, model.threads)
    made.layout = model.layout
    return made


def held(model: Model, key: Hashable, make: Callable[[], Model]) -> Model:
    """Return another model that ``make`` opens, the same one for the same key: the next input needs it too."""
    others = _others.setdefault(model, {})
    found = others.pop(key, None) or make()
    others[key] = found  # the last that was used comes last
    count = len(others)
    while len(others) > 1 and sum(other.size for other in others.values()) > HELD_BYTES:
        del others[next(iter(others))]
    if len(others) < count:
        gc.collect()  # a model refers to itself: few objects, but hundreds of megabytes
    return found


def latest(model: Model, key: Hashable, make: Callable[[], Model]) -> Model:
    """Return another model that ``make`` opens, and hold the last one: the next method needs it, the next input not."""
    key_held, found = _latest.get(model, (None, None))
    if found is None or key_held != key:
        del found
        _latest.pop(model, None)
        gc.collect()  # as above
        found = make()
        _latest[model] = (key, found)
    return found


def opened(setting: Any, trial: Trial) -> Model:
    """Open another model for a metric: a path or a Model.

    Raises ``InputError`` where it takes other inputs, or is no other one.
    """
    if isinstance(setting, Model):
        other = setting
    elif isinstance(setting, str | os.PathLike):
        other = _from_file(Path(setting), trial.model)
    else:
        raise SettingError(f"{trial.metric}.model is a file, not {printable(repr(setting))[:60]}")
    mine, theirs = ({i.name: len(i.shape) for i in m.inputs} for m in (trial.model, other))
    if mine.keys() != theirs.keys():
        raise InputError(
            f"the other model takes other inputs: {', '.join(map(printable, theirs))}",
            where=f"this one takes {', '.join(map(printable, mine))}",
        )
    if other.digest == trial.model.digest:
        where = f"both have the digest {other.digest[:16]}"
        raise InputError(f"{trial.metric}.model is the very model that is explained", where=where)
    return other


def _from_file(path: Path, model: Model) -> Model:
    state = path.stat() if path.exists() else None
    key = ("file", path.absolute(), state and (state.st_mtime_ns, state.st_size))
    return held(model, key, lambda: Model(path, model.spec, model.device, model.threads))


def explained_by(other: Model, trial: Trial) -> Explanation:
    """Explain the same target of another model, by the same method and seed; the feeds in the types it takes."""
    feeds = taken_by(other, trial.sample.feeds)
    return trial.again(model=other, feeds=feeds, target=same_target(trial, other, feeds))


def taken_by(model: Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return feeds with floating-point numbers as wide as a model takes them: half precision, for instance."""
    wanted = {i.name: np.dtype(i.dtype) for i in model.inputs}
    return {
        name: feed.astype(wanted[name]) if feed.dtype.kind == wanted[name].kind == "f" else feed
        for name, feed in feeds.items()
    }


def same_target(trial: Trial, other: Model, feeds: Mapping[str, np.ndarray]) -> Target:
    """Return the trial's target in another model: the same element of the tensor of that name, else the same class."""
    target = trial.target
    if target.tensor in other.tensor_names:
        return resolve(target, other, feeds)
    index = [k for k in target.index if k is not None]
    if target.space == "value" and target.tensor != trial.model.default_output:
        raise SettingError(
            f"the other model has no tensor '{printable(target.tensor)}', which is explained",
            tip="explain a class, or a tensor that both models have",
        )
    prefix = "probability:" if target.space == "probability" else ""
    return resolve(f"{prefix}{index[-1] if index else 0}", other, feeds)


def compared(trial: Trial, other: Explanation, similarity: Likeness, **parts: float) -> Reading:
    """Return how alike the map on trial and that of another explanation are; undefined where one is constant."""
    found = likeness(trial.map, trial.map_of(other), similarity)
    if math.isnan(found):
        return undefined("one of the two maps is constant", parts=parts)
    return Reading(found, parts=parts)


def difference(trial: Trial, other: Explanation) -> float:
    """Return ``|phi' - phi| / |phi|`` over all inputs, Euclidean; NaN where phi is zero."""
    phi = joined(trial.values)
    norm = float(np.linalg.norm(phi))
    gap = float(np.linalg.norm(joined(values_of(other, trial.model, trial.sample)) - phi))
    return gap / norm if norm > 0 else math.nan


def joined(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the values of all inputs as one row of numbers, by input name."""
    return np.concatenate([values[name].ravel() for name in sorted(values)])
