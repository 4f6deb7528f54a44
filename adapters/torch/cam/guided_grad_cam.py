"""Guided Grad-CAM: the fine structure of guided backpropagation, where Grad-CAM sees the target."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ....engine.errors import SettingError, printable
from ....engine.internals.view import view_of
from ....engine.registry import GRADIENT, register
from .grad_cam import GradCam
from .maps import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem


@register(
    "explainer",
    "guided-grad-cam",
    needs=GRADIENT,
    modalities=MODALITIES,
    source="Selvaraju et al. 2017, arXiv:1610.02391",
)
@dataclass(frozen=True)
class GuidedGradCam:
    """Guided backpropagation at the input, multiplied with the enlarged map of Grad-CAM.

    ``S = upsampled(relu(sum_k alpha_k A_k)) * g`` with the map of grad-cam and the gradients g of guided-backprop,
    channel by channel. The layer of the map is the last one with spatial extent, or that of ``--wrt``. An input
    without the map's positions gets zeros, and a note says so. ``extras`` hold the map as it is and its box.

    Source: Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391, section 3.2.
    """

    relu: Annotated[bool, "keep positive parts of the map only"] = True
    enlarging: Annotated[Literal["linear", "nearest"], "how the map is enlarged to the input"] = "linear"

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain samples of equal shapes at once."""
        from ..relevance.guided_backprop import GuidedBackprop

        maps = GradCam(relu=self.relu).explain_many(problems)
        fine = GuidedBackprop().explain_many([dataclasses.replace(p, wrt=None) for p in problems])
        return [self._multiplied(*three) for three in zip(problems, maps, fine, strict=True)]

    def _multiplied(self, problem: Problem, coarse: Explanation, fine: Explanation) -> Explanation:
        view, found = view_of(problem), coarse.extras["map"]
        if view is None or len(view.size) != found.ndim:
            raise SettingError(
                "guided-grad-cam needs a map that can be laid over the input, which the layer's cannot",
                tip="choose a convolution with --wrt (onnxplain inspect MODEL --tensors)",
            )
        large = view.enlarged(found[None])[0] if self.enlarging == "linear" else _nearest(found, view.size)
        spread, values, notes = view.spread(large), {}, []
        for name, gradient in fine.values.items():
            same = gradient.ndim == spread.ndim and all(gradient.shape[a] == spread.shape[a] for a in view.positions)
            values[name] = (
                gradient * (spread if gradient.shape == spread.shape else spread[:, :1]) if same else 0.0 * gradient
            )
            notes += [] if same else [f"the map cannot be laid over '{printable(name)}': its values are zero"]
        return dataclasses.replace(coarse, values=values, notes=(*coarse.notes, *fine.notes, *notes), evaluations=2)


def _nearest(found: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Enlarge a map (*grid) to a size: each place takes the element that it lies in."""
    places = [np.arange(n) * m // n for n, m in zip(size, found.shape, strict=True)]
    return found[np.ix_(*places)]
