"""Other models to explain again with: the same graph with other weights, the same function as another graph, a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, ModelError, SettingError, printable
from ..model import Model
from ..target import Target, resolve

if TYPE_CHECKING:
    from onnx import ModelProto

    from .trial import Trial


def altered(model: Model, proto: ModelProto) -> Model:
    """Open an edited graph like the model that it was made from, with the same spec, device and threads."""
    try:
        data = proto.SerializeToString()
    except ValueError:
        raise ModelError("the model is larger than the 2 GiB that a single ONNX message holds") from None
    made = Model(data, model.spec, model.device, model.threads)
    made.layout = model.layout
    return made


def opened(setting: Any, trial: Trial, what: str) -> Model:
    """Open another model for a metric: a path or a Model that takes the same inputs.

    Raises ``SettingError`` where none was given, ``InputError`` where it takes others.
    """
    if setting is None:
        raise SettingError(f"{trial.metric} needs {what}", tip=f"--set {trial.metric}.model=FILE.onnx")
    if isinstance(setting, Model):
        other = setting
    elif isinstance(setting, str | os.PathLike):
        other = Model(setting, trial.model.spec, trial.model.device, trial.model.threads)
    else:
        raise SettingError(f"{trial.metric}.model is a file, not {printable(repr(setting))[:60]}")
    mine, theirs = ({i.name: len(i.shape) for i in m.inputs} for m in (trial.model, other))
    if mine.keys() != theirs.keys():
        raise InputError(
            f"the other model takes other inputs: {', '.join(map(printable, theirs))}",
            where=f"this one takes {', '.join(map(printable, mine))}",
        )
    return other


def same_target(trial: Trial, other: Model) -> Target:
    """Return the trial's target in another model: the same element of the tensor of that name, else the same class."""
    target = trial.target
    if target.tensor in other.tensor_names:
        return resolve(target, other, trial.sample.feeds)
    index = [k for k in target.index if k is not None]
    if target.space == "value" and target.tensor != trial.model.default_output:
        raise SettingError(
            f"the other model has no tensor '{printable(target.tensor)}', which is explained",
            tip="explain a class, or a tensor that both models have",
        )
    prefix = "probability:" if target.space == "probability" else ""
    return resolve(f"{prefix}{index[-1] if index else 0}", other, trial.sample.feeds)


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """Return ``|a - b| / |a|``, Euclidean; NaN where a is zero."""
    norm = float(np.linalg.norm(a))
    return float(np.linalg.norm(a - b)) / norm if norm > 0 else float("nan")


def joined(values: dict[str, np.ndarray]) -> np.ndarray:
    """Return the values of all inputs as one row of numbers, by input name."""
    return np.concatenate([values[name].ravel() for name in sorted(values)])
