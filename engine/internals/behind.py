"""Behind a tensor: the problem of explaining a target by what an inner tensor holds, for methods that only predict.

The part of the model behind the tensor is a model of its own, fed with what the sample makes of the tensor; what can be
present or absent are its channels or elements. So there is ablation, occlusion and Shapley values of a layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, printable
from ..inputs.sample import Sample
from ..masking.baselines import Baseline
from ..masking.features import Features
from .flow import Flow
from .head import head_of
from .layer import channel_axis, check_reached, layer_of

if TYPE_CHECKING:
    from ..explanation import Explanation
    from ..problem import Problem

CHANNELS = "channels"


def behind(problem: Problem) -> Problem:
    """Return the problem at the tensor ``wrt``, whose model and sample are those behind it.

    Features are the tensor's channels where it has positions, and its elements otherwise, unless the user names others;
    inputs that reach the target by ways around the tensor stay as they are. Where nothing else is said an absent
    channel is zero. Raises ``SettingError`` where the target does not depend on the tensor, or it holds no floats.
    """
    tensor, target = str(problem.wrt), problem.target.tensor
    if tensor == target:
        raise SettingError(f"tensor '{printable(tensor)}' is the target itself", tip="name one that comes before it")
    check_reached(problem, Flow(problem.model.proto, target), tensor)
    (row,) = problem.model.rows(problem.sample.feeds, (tensor,))
    if row.dtype.kind != "f" or not row.size:
        raise SettingError(
            f"tensor '{printable(tensor)}' holds {row.dtype}, shape {list(row.shape)}: nothing to leave out",
            tip="name a tensor of floating-point numbers (onnxplain inspect MODEL --tensors)",
        )
    part = head_of(problem.model, tensor, target, problem.sample.feeds)
    part.layout = problem.model.layout
    feeds = {i.name: row if i.name == tensor else problem.sample.feeds[i.name] for i in part.inputs}
    return dataclasses.replace(
        problem,
        model=part,
        sample=Sample(feeds),
        features_setting=_features(problem, tensor, row.shape),
        baseline_setting=_at(tensor, problem.baseline_setting, Baseline),
    )


def only(found: Explanation, tensor: str) -> Explanation:
    """Return an explanation without the inputs that stand beside the tensor."""
    errors = found.standard_error
    return dataclasses.replace(
        found,
        values={tensor: found.values[tensor]},
        standard_error=None if errors is None else {tensor: errors[tensor]},
    )


def _features(problem: Problem, tensor: str, shape: tuple[int, ...]) -> Any:
    """Return the setting for the part behind the tensor; ``channels`` is told by the operators that made it."""
    setting = problem.features_setting
    if not isinstance(setting, str) or setting not in {"auto", CHANNELS}:
        return _at(tensor, setting, Features)
    if len(shape) < 3 or (setting == "auto" and len(shape) not in {3, 4}):
        return {tensor: "elements"}
    channel = channel_axis(problem, tensor, shape)
    if channel is None and setting == "auto":
        return {tensor: "elements"}
    if channel is None:
        channel = layer_of(problem).channel  # says why there are none
    kept = [shape[axis] if axis == channel else 1 for axis in range(len(shape))]
    names = tuple(f"channel {k}" for k in range(shape[channel]))
    return Features(names, {tensor: np.arange(shape[channel]).reshape(kept)}, CHANNELS)


def _at(tensor: str, setting: Any, whole: type) -> Any:
    return setting if isinstance(setting, Mapping | whole) else {tensor: setting}
