"""Smoothing: mean, mean square or variance of a gradient method's values over noisy copies of the sample."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ....engine import registry
from ....engine.errors import CapabilityError, SettingError, printable
from ....engine.problem import Explainer, Silence
from ....engine.registry import GRADIENT, register
from ....engine.rows import has_rows
from ....engine.settings import Range, build
from .integrated_gradients import MOST_POINTS
from .moments import Moments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem

Kind = Literal["smoothgrad", "smoothgrad-squared", "vargrad"]
KINDS: tuple[Kind, ...] = ("smoothgrad", "smoothgrad-squared", "vargrad")
MOST_TOGETHER = 64  # noisy copies that are explained at once
SEEDS = 1 << 20  # stream of the copies' own seeds; the streams from 0 on are the noise of one tensor each


@dataclass(frozen=True)
class Smoothed:
    """Another explainer's values over noisy copies of the sample; see ``smoothed``."""

    explainer: Explainer
    kind: Kind
    samples: int
    noise: float

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        moments = [Moments() for _ in problems]
        firsts: dict[int, Explanation] = {}
        spent = [0] * len(problems)
        problems[0].progress.start(problems[0].method, self.samples * len(problems))
        for owners, copies in _parts(self._all_copies(problems), problems[0]):
            for owner, found in zip(owners, _explained(self.explainer, copies), strict=True):
                firsts.setdefault(owner, found)
                spent[owner] += found.evaluations
                moments[owner].add(_powers(found.values, 2 if self.kind == "smoothgrad-squared" else 1))
            problems[0].progress.advance(len(copies))
        return [self._result(p, firsts[k], moments[k], spent[k]) for k, p in enumerate(problems)]

    def _result(self, problem: Problem, first: Explanation, moments: Moments, evaluations: int) -> Explanation:
        varied = self.kind == "vargrad"
        return dataclasses.replace(
            first,
            values=moments.variances() if varied else moments.means,
            standard_error=None if varied else moments.standard_errors(),
            method=problem.method,
            score=_score(problem),
            baseline_score=None,
            gap=None,
            evaluations=evaluations,
            feature_values=None,
            feature_errors=None,
            feature_names=(),
            feature_labels={},
            extras={},
            sample=problem.sample,
        )

    def _all_copies(self, problems: Sequence[Problem]) -> Iterator[tuple[int, Problem]]:
        for owner, problem in enumerate(problems):
            for copy in self._copies(problem):
                yield owner, copy

    def _copies(self, problem: Problem) -> Iterator[Problem]:
        """Yield the noisy copies of a problem; each has random numbers of its own for what else is drawn."""
        from .slopes import Shifted, Slopes

        inner = _inner(problem, self.explainer)
        seeds = problem.rng(SEEDS)
        centres = _floats(problem)
        if centres:
            for moved in self._moved(problem, centres):
                sample = dataclasses.replace(problem.sample, feeds={**problem.sample.feeds, **moved})
                yield dataclasses.replace(inner, sample=sample, seed=int(seeds.integers(1 << 31)))
            return
        if not getattr(self.explainer, "at_tensors", False):
            raise CapabilityError(
                f"there is no input of floating-point numbers that {printable(problem.method)} could add noise to",
                tip="input-x-gradient, integrated-gradients and others can be smoothed at the tensors behind integers",
            )
        centres = {n: v.cpu().numpy() for n, v in Slopes.of([problem]).values.items()}
        fields = {f.name: getattr(inner, f.name) for f in dataclasses.fields(inner)}
        for moved in self._moved(problem, centres):
            shift = {n: v - centres[n] for n, v in moved.items()}
            yield Shifted(**fields | {"seed": int(seeds.integers(1 << 31)), "shift": shift})

    def _moved(self, problem: Problem, centres: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the arrays with noise."""
        streams = {n: problem.rng(k) for k, n in enumerate(sorted(centres))}
        wide = {n: a.astype(np.float64) for n, a in centres.items()}
        sigmas = {n: self.noise * float(np.ptp(a)) for n, a in wide.items()}
        for _ in range(self.samples):
            drawn = {n: r.standard_normal(wide[n].shape) for n, r in streams.items()}
            yield {n: (wide[n] + sigmas[n] * e).astype(centres[n].dtype) for n, e in drawn.items()}


def smoothed(explainer: Explainer, kind: Kind = "smoothgrad", samples: int = 25, noise: float = 0.1) -> Smoothed:
    """Return an explainer that gives what another one finds in ``samples`` noisy copies of the sample.

    A copy has normal noise e on every input of floating-point numbers, of standard deviation ``noise`` times the range
    (largest minus smallest element) of this input in the sample. Of the values S(x + e) the mean (``smoothgrad``), the
    mean square (``smoothgrad-squared``) or the variance (``vargrad``, divided by the number of copies) is given; of the
    first two also the standard error. The score is that of the sample without noise; baselines and features too are
    those of the sample without noise. Where a model takes integers only, the noise is added to the tensors that stand
    in for them. The noise does not depend on the batch size, and memory does not grow with the copies.

    Sources: Smilkov et al. 2017, arXiv:1706.03825; Hooker et al. 2019, arXiv:1806.10758; Adebayo et al. 2018,
    arXiv:1810.03307.

    >>> import onnxplain
    >>> from onnxplain.adapters.torch.gradient.saliency import Saliency
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> sample = onnxplain.Sample({"image": np.ones((1, 1, 8, 8), np.float32)})
    >>> problem = onnxplain.Problem(model, sample, onnxplain.Target("3", "logits", (3,)))
    >>> smoothed(Saliency(), "vargrad", samples=5).explain(problem).values["image"].shape
    (1, 1, 8, 8)
    """
    return Smoothed(explainer, kind, samples, noise)


@dataclass(frozen=True)
class _Smoothing:
    of: Annotated[str, "the gradient method that is smoothed"] = "saliency"
    settings: Annotated[dict[str, Any], "the settings of that method"] = field(default_factory=dict)
    samples: Annotated[int, "noisy copies of the sample", Range(2, MOST_POINTS)] = 25
    noise: Annotated[
        float, "standard deviation of the noise, as a share of the range of the sample's elements", Range(0)
    ] = 0.1
    kind: ClassVar[Kind] = "smoothgrad"

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        plugin = registry.find(self.of, "explainer")
        if GRADIENT not in plugin.needs or self.of in KINDS:
            raise SettingError(
                f"{self.kind} smooths methods that work on gradients, not '{printable(self.of)}'",
                tip="such as saliency, input-x-gradient, integrated-gradients",
            )
        explainer = build(plugin.factory, dict(self.settings), self.of)
        found = smoothed(explainer, self.kind, self.samples, self.noise).explain_many(problems)
        note = f"{self.kind} of {self.of}, {self.samples} copies with noise of {self.noise:g} of the range"
        return [dataclasses.replace(f, notes=(note, *f.notes)) for f in found]


@register("explainer", "smoothgrad", needs=GRADIENT, source="Smilkov et al. 2017, arXiv:1706.03825")
@dataclass(frozen=True)
class SmoothGrad(_Smoothing):
    """Mean of a gradient method's values over copies of the sample with random noise.

    ``(1/n) sum_k S(x + e_k)``, e_k normal with standard deviation ``noise * (max(x) - min(x))``; see ``smoothed``.

    Source: Smilkov, Thorat, Kim, Viégas and Wattenberg 2017, SmoothGrad, arXiv:1706.03825, section 3.
    """


@register("explainer", "smoothgrad-squared", needs=GRADIENT, source="Hooker et al. 2019, arXiv:1806.10758")
@dataclass(frozen=True)
class SmoothGradSquared(_Smoothing):
    """Mean square of a gradient method's values over copies of the sample with random noise.

    ``(1/n) sum_k S(x + e_k)^2``, with the noise of smoothgrad.

    Source: Hooker, Erhan, Kindermans and Kim 2019, A Benchmark for Interpretability Methods, arXiv:1806.10758.
    """

    kind: ClassVar[Kind] = "smoothgrad-squared"


@register("explainer", "vargrad", needs=GRADIENT, source="Adebayo et al. 2018, arXiv:1810.03307")
@dataclass(frozen=True)
class VarGrad(_Smoothing):
    """Variance of a gradient method's values over copies of the sample with random noise.

    ``(1/n) sum_k (S(x + e_k) - mean)^2``, with the noise of smoothgrad.

    Source: Adebayo, Gilmer, Goodfellow and Kim 2018, Local Explanation Methods for Deep Neural Networks Lack
    Sensitivity to Parameter Values, arXiv:1810.03307.
    """

    kind: ClassVar[Kind] = "vargrad"


def _inner(problem: Problem, explainer: Explainer) -> Problem:
    """Return the problem as the inner explainer would get it, with baseline and features of the noiseless sample."""
    settings = {
        n: getattr(explainer, n) for n in ("features", "baseline", "budget", "tolerance") if hasattr(explainer, n)
    }
    asked = dataclasses.replace(
        problem,
        features_setting=settings.get("features", "auto"),
        baseline_setting=settings.get("baseline", "auto"),
        budget=settings.get("budget"),
        tolerance=settings.get("tolerance"),
        progress=Silence(),
    )
    known: dict[str, Any] = {}
    if "baseline" in settings:
        known["baseline_setting"] = asked.baseline
    if "features" in settings:
        known["features_setting"] = asked.features
    return dataclasses.replace(asked, **known) if known else asked


def _floats(problem: Problem) -> dict[str, np.ndarray]:
    """Return the inputs that take noise."""
    inputs = problem.model.inputs
    return {n: f for n, f in problem.sample.feeds.items() if f.dtype.kind in "fV" and has_rows(n, inputs)}


def _parts(copies: Iterator[tuple[int, Problem]], problem: Problem) -> Iterator[tuple[list[int], list[Problem]]]:
    """Yield copies with their owners, as many at once as fit into memory."""
    from .slopes import TOGETHER_BYTES

    size = max(1, sum(f.nbytes for f in problem.sample.feeds.values()))
    most = max(1, min(MOST_TOGETHER, TOGETHER_BYTES // size))
    while part := list(islice(copies, most)):
        yield [owner for owner, _ in part], [copy for _, copy in part]


def _explained(explainer: Explainer, problems: list[Problem]) -> list[Explanation]:
    many = getattr(explainer, "explain_many", None)
    found: list[Explanation] = many(problems) if many else [explainer.explain(p) for p in problems]
    return found


def _powers(values: Mapping[str, np.ndarray], power: int) -> dict[str, np.ndarray]:
    return {n: v**power for n, v in values.items()}


def _score(problem: Problem) -> float:
    (row,) = problem.model.rows(problem.sample.feeds, (problem.target.tensor,))
    return float(problem.target.scores(row[:1])[0])
