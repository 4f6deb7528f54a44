"""LIME: a weighted linear surrogate of the model around one input."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..errors import SettingError
from ..explanation import Explanation
from ..masking.features import TEXT_KINDS
from ..registry import PREDICT, register
from ..results.findings import of_features
from ..scorer import Scorer
from ..settings import Range
from .local_fit import LocalFit, Regression
from .table_rows import TableRows, is_auto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..problem import Problem
    from .local_fit import Surrogate

MOST_FEATURES = 4096  # the normal equations hold M x M numbers
AUTO_SAMPLES = 1000
AUTO_ROWS = 5000  # of tables
BLOCK = 512  # samples in memory at a time, or one batch where that is more
CHECKED_EVERY = 512  # samples after which a tolerance may first end the sampling; M where that is more
GROWTH = 1 / 8  # of the samples that there are: how many more, at least as many as at first, before it may again
COSINE_WIDTH = 0.25
L2_WIDTH = 0.75  # times sqrt(M)


@register(
    "explainer",
    "lime",
    needs=PREDICT,
    source="Ribeiro et al. 2016, Why Should I Trust You?, arXiv:1602.04938",
)
@dataclass(frozen=True)
class Lime:
    """A linear model of the score around the input: what each feature adds to it there, with local R².

    Samples z in {0, 1}^M say which features are present; the surrogate ``g(z) = c0 + sum_i c_i z_i`` minimises
    ``sum_z w(z) (f(z) - g(z))² + penalty |c|²`` (``regression="lasso"``: ``sum_z w (f - g)² / (2 sum_z w) + penalty
    sum_i |c_i|``), where f(z) is the score with the baseline in place of absent features and c0 is not penalised. The
    values are c. With ``select`` only so many features are used, chosen by forward selection (the least weighted
    squared error at each step), along the lasso path, or as those of the largest coefficients.

    The weights are ``w(z) = sqrt(exp(-d² / width²)) = exp(-d² / (2 width²))``. Libraries disagree here: this is the
    definition of Ribeiro's own code, with the square root; the paper's formula has none, so that its sigma is a width
    of ``sigma / sqrt(2)`` here. d is the cosine distance between z and all ones, ``1 - sqrt(|z| / M)`` (1 for the empty
    z), of width 0.25; or the L2 distance, ``sqrt(M - |z|)``, of width ``0.75 sqrt(M)``. (That code multiplies the
    cosine distance of texts, and their width, by 100: the same weights. Captum measures distances between inputs.)

    Each feature is present with probability 1/2; of words, tokens and sentences a uniform number from 1 to M is
    absent. The input itself is the first sample. Where all 2^M coalitions are no more than the samples, each is
    evaluated once and stands for samples / 2^M of them.

    Rows of tables with background data are drawn anew instead of masked: ``table="quartiles"`` draws each column from
    the background and z_i says whether it lies in the same quarter (or category) as the row's value; ``normal`` draws
    numbers around the row's with the background's standard deviation, and c_i is the effect of one such deviation.
    Ribeiro's code draws within a quarter from a fitted normal distribution, here they are the background's own values;
    and it draws ``normal`` rows around the background's mean unless told otherwise. d is then the L2 distance.

    The standard error is that of the sampling: the regression is linearised around its solution, and each residual
    divided by one minus its leverage. It is about the surrogate that endless samples would give with the penalty's
    share in them: of that, 94 to 97 % of values are within two standard errors (``benchmarks/lime_errors.py``: 10 games
    of 12 to 15 features). It leaves out the choice of features and the shrinkage: of the surrogate without a penalty,
    90 % are within two after 100 samples, 93 % after 300 and 95 % after 1,000 with the default penalty, 53 to 61 % with
    ten times that, and 9 to 37 % with ``lasso``, whose values are meant to be shrunk. ``penalty=0`` shrinks nothing.
    R² and intercept are in ``extras``.

    Source: Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938, sections 3.3 and 3.4 and algorithm 1; kernels, widths
    and penalty as in the lime package 0.2.
    """

    features: Annotated[Any, "what can be absent: a name, a grid or labels (see docs)"] = "auto"
    baseline: Annotated[Any, "what replaces absent features: a number, array or name (see docs)"] = "auto"
    samples: Annotated[
        int | None, "perturbed inputs; none: what the budget allows, else 1000 (drawn rows of tables: 5000)", Range(2)
    ] = None
    budget: Annotated[int | None, "most model evaluations; none: what the samples need", Range(1)] = None
    tolerance: Annotated[
        float | None,
        "stop sampling when no value's standard error, in units of the score, is above this",
        Range(0, open_low=True),
    ] = None
    table: Annotated[
        Literal["auto", "quartiles", "normal", "on-off"],
        "how rows of tables are perturbed; auto: quartiles with background data and no baseline, else on-off",
    ] = "auto"
    distance: Annotated[
        Literal["auto", "cosine", "l2"], "between a sample and the input; auto: cosine, l2 for drawn rows of tables"
    ] = "auto"
    width: Annotated[
        float | None, "of the kernel; none: 0.25 for cosine, 0.75 sqrt(features) for l2", Range(0, open_low=True)
    ] = None
    regression: Annotated[Literal["ridge", "lasso"], "how the surrogate is fitted"] = "ridge"
    penalty: Annotated[
        float | None,
        "on the squares (ridge) or sizes (lasso) of the values; none: 1 for ridge, 0.01 for lasso",
        Range(0),
    ] = None
    select: Annotated[int | None, "most features that the surrogate uses; none: all", Range(1)] = None
    selection: Annotated[
        Literal["forward", "lasso", "largest"], "how they are chosen: step by step, lasso path, largest ridge values"
    ] = "forward"

    def explain(self, problem: Problem) -> Explanation:
        """Score samples around the input and fit the surrogate to them."""
        size = problem.features.size
        if size > MOST_FEATURES:
            raise SettingError(
                f"lime takes at most {MOST_FEATURES} features, not {size}",
                tip="use fewer features (superpixels, a grid, groups of columns), or occlusion or rise",
            )
        rows = self._rows(problem)
        return self._masked(problem) if rows is None else self._redrawn(problem, rows)

    def _rows(self, problem: Problem) -> TableRows | None:
        """Return what draws rows of a table, or None where features are masked."""
        if self.table == "on-off" or (self.table == "auto" and not is_auto(problem.baseline_setting)):
            return None
        found = TableRows.around(problem, "normal" if self.table == "normal" else "quartiles")
        if found is None and self.table != "auto":
            raise SettingError(
                f"lime.table={self.table} needs a row of a table and background data of 4 rows or more",
                tip='name a file of typical rows in the spec (background = "rows.csv") or as the baseline',
            )
        return found

    def _masked(self, problem: Problem) -> Explanation:
        """Fit to masked inputs."""
        size, references = problem.features.size, problem.baseline.count
        by_size = problem.features.kind in TEXT_KINDS  # any number of them is as likely to be absent
        wanted = self._count(AUTO_SAMPLES, 1 + references, references, size)
        most = wanted if self.tolerance is None else min(wanted, CHECKED_EVERY)
        every = not by_size and size < 30 and 1 << size <= most
        game = problem.game(expected=min(wanted, 1 << min(size, 30)))  # equal coalitions are run once
        _ = game.full, game.empty
        weight = self._kernel(size, "cosine", wanted / 2**size if every else 1.0)
        length = max(game.batch, BLOCK // game.batch * game.batch)
        lengths = self._lengths(size, length, wanted - 1)
        drawn = _all(size, length) if every else _draws(size, problem.rng(), lengths, by_size=by_size)
        fit, ends = LocalFit(size), set() if every else _ends(lengths)
        for z, scores in game.whole(drawn):
            fit.add(z, weight(size - z.sum(axis=1)), scores)
            if fit.count in ends and self._is_enough(fit):
                break
        found = fit.solve(self._regression())
        note = f"all {1 << size} coalitions: no sampling error" if every else f"{fit.count:,} samples"
        surrogate = found.intercept + found.coefficients.sum()
        return of_features(
            problem,
            game,
            found.coefficients,
            errors=None if every else found.errors,
            notes=(note, *self._notes(found, surrogate, game.full)),
            extras=_extras(found, surrogate),
        )

    def _redrawn(self, problem: Problem, rows: TableRows) -> Explanation:
        """Fit to rows of a table drawn around the row."""
        if self.distance == "cosine":
            raise SettingError("lime.distance=cosine is for masked features, not for drawn rows", tip="use l2")
        size = rows.features.size
        wanted = self._count(AUTO_ROWS, 1, 1, size)
        problem.progress.start(problem.method, wanted)
        advance = problem.progress.advance
        scorer = Scorer(problem.model, problem.target, problem.sample.feeds, expected=wanted, progress=advance)
        weight = self._kernel(size, "l2", 1.0)
        lengths = self._lengths(size, scorer.batch, wanted - 1)
        blocks = _rows_in_all(rows, problem.rng(), lengths)
        fit, ends, full = LocalFit(size), _ends(lengths), 0.0
        for scores, x in scorer.stream((feeds, x) for x, feeds in blocks):
            full = full if fit.count else float(scores[0])
            fit.add(x, weight((rows.changed(x) ** 2).sum(axis=1)), scores)
            if fit.count in ends and self._is_enough(fit):
                break
        found = fit.solve(self._regression())
        surrogate = float(found.intercept + rows.first()[0] @ found.coefficients)
        return Explanation(
            values=rows.features.scatter(found.coefficients, problem.shapes),
            method=problem.method,
            settings={},
            target=problem.target.text,
            label=problem.target.label,
            score=full,
            standard_error=rows.features.scatter(found.errors, problem.shapes),
            evaluations=scorer.evaluations,
            feature_values=found.coefficients,
            feature_errors=found.errors,
            feature_names=rows.names,
            feature_labels=dict(rows.features.labels),
            sample=problem.sample,
            notes=(f"{fit.count:,} rows drawn around this one", *self._notes(found, surrogate, full)),
            extras=_extras(found, surrogate),
        )

    def _count(self, auto: int, fixed: int, each: int, size: int) -> int:
        """Return how many samples to take, the input itself among them, where one costs ``each`` evaluations."""
        if self.budget is None:
            return self.samples or auto
        allowed = (self.budget - fixed) // each + 1
        if allowed < 2:
            raise SettingError(
                f"lime.budget must be at least {fixed + each} for {size} features, not {self.budget}",
                tip="raise the budget"
                + (", or use fewer references, such as baseline=background:10" if each > 1 else ""),
            )
        return min(allowed, self.samples or allowed)

    def _kernel(self, size: int, auto: str, mass: float) -> Callable[[np.ndarray], np.ndarray]:
        """Return the weight of samples by what is absent: the number of features, or a squared distance."""
        distance = auto if self.distance == "auto" else self.distance
        width = self.width or (COSINE_WIDTH if distance == "cosine" else L2_WIDTH * size**0.5)

        def weight(absent: np.ndarray) -> np.ndarray:
            squared = (1 - np.sqrt(1 - absent / size)) ** 2 if distance == "cosine" else absent
            weights: np.ndarray = mass * np.exp(-squared / (2 * width**2))
            return weights

        if not weight(np.ones(1))[0] > 0:
            raise SettingError(
                f"lime.width {self.width:g} is too small: every sample but the input itself has the weight 0",
                tip=f"by default it is {COSINE_WIDTH if distance == 'cosine' else L2_WIDTH * size**0.5:.3g} here",
            )
        return weight

    def _regression(self) -> Regression:
        penalty = {"ridge": 1.0, "lasso": 0.01}[self.regression] if self.penalty is None else self.penalty
        return Regression(self.regression, penalty, self.select, self.selection)

    def _lengths(self, size: int, usual: int, count: int) -> list[int]:
        """Return how many samples to draw at a time, ``count`` in all: up to where the tolerance is looked at, if any.

        What is looked at takes longer the more samples there are; then more of them are drawn in between.
        """
        found, done = [], 0
        while done < count:
            wanted = usual if self.tolerance is None else max(CHECKED_EVERY, size, int(done * GROWTH))
            found.append(min(wanted, count - done))
            done += found[-1]
        return found

    def _is_enough(self, fit: LocalFit) -> bool:
        """Say whether the tolerance is met, if there is one."""
        return self.tolerance is not None and bool(fit.solve(self._regression()).errors.max() <= self.tolerance)

    def _notes(self, found: Surrogate, surrogate: float, full: float) -> tuple[str, ...]:
        quality = "the scores do not vary" if np.isnan(found.r2) else f"local R² {found.r2:.3g}"
        notes = [
            f"{quality}; intercept {found.intercept:.4g}; the surrogate gives {surrogate:.4g}, the model {full:.4g}"
        ]
        if len(found.used) < len(found.coefficients):
            notes.append(f"{len(found.used)} of {len(found.coefficients)} features chosen; the others are set to 0")
        return tuple(notes)


def _extras(found: Surrogate, surrogate: float) -> dict[str, np.ndarray]:
    return {
        "local_r2": np.array(found.r2),
        "intercept": np.array(found.intercept),
        "local_prediction": np.array(surrogate),
    }


def _all(size: int, length: int) -> Iterator[np.ndarray]:
    """Yield all coalitions, that of all features first."""
    for start in range(0, 1 << size, length):
        numbers = np.arange(start, min(start + length, 1 << size))
        yield (numbers[:, None] >> np.arange(size) & 1) == 0


def _ends(lengths: Sequence[int]) -> set[int]:
    """Return how many samples there are after each of the blocks, the first one being the input itself."""
    return {1 + done for done in accumulate(lengths)}


def _draws(size: int, rng: np.random.Generator, lengths: Iterable[int], *, by_size: bool) -> Iterator[np.ndarray]:
    """Yield the input itself and then random coalitions, the same whatever the lengths of blocks."""
    yield np.ones((1, size), dtype=bool)
    for rows in lengths:
        if not by_size:
            yield rng.random((rows, size)) < 0.5
            continue
        uniform = rng.random((rows, size + 1))
        absent = 1 + (uniform[:, :1] * size).astype(np.intp)
        yield uniform[:, 1:].argsort(axis=1).argsort(axis=1) >= absent


def _rows_in_all(
    rows: TableRows, rng: np.random.Generator, lengths: Iterable[int]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield regressors and rows: the row itself, then drawn ones."""
    yield rows.first(), rows.feeds
    for length in lengths:
        yield rows.draw(rng, length)
