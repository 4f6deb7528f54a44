"""Saliency: the gradient of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ....engine.errors import SettingError
from ....engine.internals.layer import channel_axis
from ....engine.masking.layout import masked_inputs
from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes


@register("explainer", "saliency", needs=GRADIENT, source="Simonyan et al. 2013, arXiv:1312.6034")
@dataclass(frozen=True)
class Saliency:
    """How fast the score changes with each element: the gradient.

    ``S_i = df(x) / dx_i``, or its absolute value, or its positive part ``max(S_i, 0)`` or negative part
    ``min(S_i, 0)``. ``channels`` puts the values of all channels of an image, a series, a layer or an embedding into
    one that stands at each of them: the one of largest size, sign kept, their sum or their Euclidean norm. The paper's
    maps are ``value='absolute', channels='maximum'``. Values are in units of the score per unit of the tensor.

    Source: Simonyan, Vedaldi and Zisserman 2013, Deep Inside Convolutional Networks, arXiv:1312.6034, section 3.
    """

    value: Annotated[Literal["signed", "absolute", "positive", "negative"], "what of the gradient is kept"] = "signed"
    channels: Annotated[Literal["kept", "maximum", "sum", "l2"], "how the channels at a position become one value"] = (
        "kept"
    )

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        return together(problems, self._explained)

    def _explained(self, slopes: Slopes) -> list[Explanation]:
        axes = {} if self.channels == "kept" else _channel_axes(slopes)
        step = slopes.at_samples()
        parts = {n: _part(g, self.value) for n, g in step.gradients.items()}
        values = {n: _pooled(v, axes[n], self.channels) if n in axes else v for n, v in parts.items()}
        return slopes.explanations(values, evaluations=1, scores=step.scores)


def _part(gradient: torch.Tensor, value: str) -> torch.Tensor:
    if value == "absolute":
        return gradient.abs()
    if value == "positive":
        return gradient.clamp(min=0)
    return gradient.clamp(max=0) if value == "negative" else gradient


def _pooled(values: torch.Tensor, axis: int, how: str) -> torch.Tensor:
    """Return one value for all elements along an axis, in the shape of ``values``."""
    if how == "sum":
        one = values.double().sum(axis, keepdim=True)
    elif how == "l2":
        one = values.double().square().sum(axis, keepdim=True).sqrt()
    else:
        one = values.gather(axis, values.abs().argmax(axis, keepdim=True))
    return one.expand_as(values)


def _channel_axes(slopes: Slopes) -> dict[str, int]:
    """Return the channel axis of each explained tensor that has one; ``SettingError`` if none has."""
    problem = slopes.problems[0]
    entries = masked_inputs(problem.model, problem.sample)
    found = {n: entries[n].axes("C")[0] for n in slopes.names if n in entries and entries[n].axes("C")}
    for name in slopes.places.entered:
        axis = channel_axis(problem, name, tuple(slopes.values[name].shape))
        if axis is not None:
            found[name] = axis
    if not found:
        raise SettingError(
            "channels cannot be put together: nothing that is explained has a known channel axis",
            where=", ".join(slopes.names),
            tip="leave out 'channels', or give the input's layout, such as NCHW, in a spec",
        )
    return found
