"""Blur integrated gradients: the gradient along the way from a blurred input to the sharp one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ....engine.errors import SettingError
from ....engine.masking.layout import masked_inputs
from ....engine.registry import GRADIENT, register
from ....engine.settings import Range
from .integrated_gradients import MOST_POINTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes, Values


@register(
    "explainer", "blur-ig", needs=GRADIENT, modalities=("image", "series"), source="Xu et al. 2020, arXiv:2004.03383"
)
@dataclass(frozen=True)
class BlurIntegratedGradients:
    """The gradient along the way from a blurred input to the input itself, times the steps of that way.

    ``S_i = integral dF/dL_i dL_i/ds ds`` from ``max_sigma`` to 0, where L is the input smoothed over height and width,
    or over time, by a Gaussian of s pixels. No baseline is needed: the path adds no edges that the input does not have.
    Values add up to score minus baseline score, that of the most blurred input, but for the reported gap. The integral
    is the sum over ``points`` of the gradient times the step; ``spacing='sqrt'`` takes steps of equal variance s²
    (equal steps of the paper's alpha = 2 s²), ``'linear'`` equal steps of s, which are finer near the input.

    With an inner tensor as ``wrt`` it is that tensor's steps that count: its conductance along this way.

    The Gaussian acts on the input's cosine transform, which solves the diffusion equation with no flow over the edges:
    a far-blurred input becomes its mean. Source: Xu, Venugopalan and Sundararajan 2020, Attribution in Scale and Space,
    arXiv:2004.03383, eq. 3.
    """

    max_sigma: Annotated[
        float, "standard deviation of the widest Gaussian, in pixels or steps", Range(0, 1e6, open_low=True)
    ] = 50.0
    points: Annotated[int, "points at which the gradient is taken", Range(1, MOST_POINTS)] = 100
    spacing: Annotated[Literal["linear", "sqrt"], "equal steps of the standard deviation, or of the variance"] = (
        "linear"
    )

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        return together(problems, self._explained)

    def _explained(self, given: Slopes) -> list[Explanation]:
        import torch

        from .paths import gathered, line_integral, spread, tapping

        problem = given.problems[0]
        axes = _smooth_axes(problem)
        inner = problem.wrt is not None and problem.wrt not in problem.sample.feeds
        slopes = tapping(given.problems, [str(problem.wrt)] if inner else list(axes))
        left = 1 - spread(self.points, slopes)
        sigmas = self.max_sigma * (left.sqrt() if self.spacing == "sqrt" else left)
        path = _Sharpening(slopes, axes, sigmas)
        start = slopes.scores_at(path.points(slopes.everyone, torch.zeros_like(slopes.everyone)), slopes.everyone)
        return slopes.explanations(
            line_integral(slopes, path, "blur-ig"),
            evaluations=self.points + 4,
            baseline_scores=start.tolist(),
            complete=not inner or gathered(slopes, list(axes)),
        )


def _smooth_axes(problem: Problem) -> dict[str, tuple[int, ...]]:
    """Return the inputs that are blurred, and along which axes; ``SettingError`` where nothing can be."""
    entries = masked_inputs(problem.model, problem.sample)
    only = problem.wrt if problem.wrt in problem.sample.feeds else None
    found = {
        name: entry.axes("HWT")
        for name, entry in entries.items()
        if only in {None, name} and entry.feed.dtype.kind == "f" and (entry.is_image or entry.is_series)
    }
    if not found:
        raise SettingError(
            f"{problem.method} needs an image, or a series of known layout, of floating-point numbers",
            where="; ".join(map(str, list(entries.values())[:4])),
            tip="give the input's layout, such as NCHW or NCT, in a spec, or use integrated-gradients",
        )
    return found


@dataclass
class _Sharpening:
    """A way for each problem: its inputs blurred less and less."""

    slopes: Slopes
    axes: dict[str, tuple[int, ...]]
    sigmas: torch.Tensor

    def __post_init__(self) -> None:
        """Transform the inputs once."""
        from scipy.fft import dctn

        self._waves = {
            name: dctn(self.slopes.values[name].cpu().double().numpy(), axes=axes) for name, axes in self.axes.items()
        }

    @property
    def length(self) -> int:
        """Points of each way."""
        return len(self.sigmas)

    @property
    def owners(self) -> torch.Tensor:
        """One way for each problem."""
        return self.slopes.everyone

    def points(self, way: torch.Tensor, place: torch.Tensor) -> Values:
        """Return inputs blurred by the standard deviation of each place; those that are not blurred stay."""
        import torch

        found = {name: known[way] for name, known in self.slopes.values.items()}
        sigmas = self.sigmas[place].cpu().numpy()
        for name, axes in self.axes.items():
            rows = _blurred(self._waves[name][way.cpu().numpy()], sigmas, axes)
            blurred = torch.from_numpy(rows).to(found[name])
            found[name] = torch.where(
                (self.sigmas[place] == 0).reshape(-1, *[1] * (rows.ndim - 1)), found[name], blurred
            )
        return found


def _blurred(waves: np.ndarray, sigmas: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the arrays (B, ...) whose cosine transforms are ``waves``, each blurred by its own ``sigmas`` (B,)."""
    from scipy.fft import idctn

    for axis in axes:
        frequency = np.pi * np.arange(waves.shape[axis]) / waves.shape[axis]  # radians per pixel
        shape = [1] * waves.ndim
        shape[0], shape[axis] = len(sigmas), len(frequency)
        waves = waves * np.exp(-((sigmas[:, None] * frequency) ** 2) / 2).reshape(shape)
    return np.asarray(idctn(waves, axes=axes))
