"""Gradient SHAP: expected gradients over random references and random points on the way from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ....engine.registry import GRADIENT, register
from ....engine.settings import Range
from .integrated_gradients import MOST_POINTS
from .moments import Moments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes

REFERENCES, POINTS, NOISE = 0, 1, 2  # streams of random numbers; each explained tensor has a stream of noise from 2 on


@register("explainer", "gradient-shap", needs=GRADIENT, source="Erion et al. 2021, arXiv:1906.10670")
@dataclass(frozen=True)
class GradientShap:
    """Expected gradients: integrated gradients averaged over references, by sampling.

    ``S_i = E[(x_i + e_i - x0_i) df(x0 + u (x + e - x0)) / dx_i]``: the reference x0 is drawn from the references of
    ``baseline``, u uniformly from [0, 1], and e from a normal distribution of standard deviation ``noise``. In
    expectation and without noise the values add up to score minus the mean score of the references; what is missing is
    reported as ``gap``. The standard error is that of the mean over samples. Draws do not depend on the batch size.

    With many references and smooth models these are approximations of Shapley values. At an inner tensor, or at the
    first floating-point tensor behind an input that holds integers, x is that tensor, as in integrated-gradients.
    Also known as expected gradients.

    Source: Erion, Janizek, Sturmfels, Lundberg and Lee 2021, arXiv:1906.10670, eq. 3; the noise and the name are from
    Lundberg and Lee's shap, GradientExplainer.
    """

    samples: Annotated[int, "random references and points", Range(2, MOST_POINTS)] = 100
    noise: Annotated[
        float, "standard deviation of the noise that is added to the sample, in the input's units", Range(0)
    ] = 0.0
    baseline: Annotated[Any, "the references x0: a number, array or name (see docs)"] = "auto"

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        return together(problems, self._explained, references=True)

    def _explained(self, slopes: Slopes) -> list[Explanation]:
        import torch

        from .slopes import broad

        references, total = slopes.references, len(slopes.problems) * self.samples
        firsts = torch.cumsum(references.counts, 0) - references.counts
        moments = [Moments() for _ in slopes.problems]
        draws = self._draws(slopes)
        for rows in slopes.chunks(total, "gradient-shap"):
            owners = rows // self.samples
            drawn = [next(draws) for _ in rows]
            chosen = firsts[owners] + torch.tensor([d.reference for d in drawn], device=rows.device)
            u = torch.tensor([d.u for d in drawn], device=rows.device)
            points, ways = {}, {}
            for name in slopes.names:
                start = references.values[name][chosen]
                end = slopes.values[name][owners]
                if self.noise:
                    end = end + torch.from_numpy(np.stack([d.noise[name] for d in drawn])).to(end)
                ways[name] = end - start
                points[name] = start + broad(u, start).to(start.dtype) * ways[name]
            gradients = slopes.run(points, owners).gradients
            terms = {n: (ways[n].double() * gradients[n]).cpu().numpy() for n in slopes.names}
            for row, owner in enumerate(owners.tolist()):
                moments[owner].add({n: a[row] for n, a in terms.items()})
        return slopes.explanations(
            _stacked([m.means for m in moments]),
            evaluations=1 + int(references.counts.max()) + self.samples,
            baseline_scores=references.mean_scores(),
            complete=True,
            errors=_stacked([m.standard_errors() for m in moments]),
        )

    def _draws(self, slopes: Slopes) -> Iterator[_Draw]:
        """Yield the draws of all problems, one problem after the other; each has its own random numbers."""
        counts = slopes.references.counts.tolist()
        shapes = {n: v.shape[1:] for n, v in slopes.values.items()}
        for problem, count in zip(slopes.problems, counts, strict=True):
            references, points = problem.rng(REFERENCES), problem.rng(POINTS)
            noises = {n: problem.rng(NOISE + k) for k, n in enumerate(slopes.names)}
            for _ in range(self.samples):
                noise = {n: self.noise * r.standard_normal(shapes[n]) for n, r in noises.items()} if self.noise else {}
                yield _Draw(int(references.integers(count)), float(points.random()), noise)


@dataclass(frozen=True)
class _Draw:
    reference: int
    u: float
    noise: dict[str, np.ndarray]


def _stacked(arrays: Sequence[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    import torch

    return {n: torch.from_numpy(np.stack([a[n] for a in arrays])) for n in arrays[0]}
