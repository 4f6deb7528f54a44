"""RISE: which parts matter, from the scores of random smooth masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..errors import SettingError, printable
from ..registry import PREDICT, register
from ..results.findings import of_arrays, of_features
from ..settings import Range
from .axes import check_input_names, maskable, words_of
from .given_masks import cut, given_masks, masks_of_words
from .smooth_masks import Grid, draw_masks, features_of, grid_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..game import Game
    from ..masking.features import Features
    from ..problem import Problem

CHECKED_EVERY = 256  # masks, where a tolerance may end the sampling
SUMMED_AT_A_TIME = 32  # masks, in float32
DRAWN_TOGETHER, DRAWN_ELEMENTS = 8, 1 << 19  # at most, where batches are smaller: one by one takes twice as long
FEWEST = 2  # masks that a standard error takes


@register("explainer", "rise", needs=PREDICT, source="Petsiuk et al. 2018, arXiv:1806.07421")
@dataclass(frozen=True)
class Rise:
    """Importance of a pixel: the mean score over random smooth masks that keep it.

    ``S = 1 / (N p) sum_i f(x M_i + baseline (1 - M_i)) M_i``. A mask M_i is a grid of cells, each kept with
    probability p, enlarged bilinearly by a cell more than the input and cropped at a random shift; so E[M] = p at
    every pixel. Along a series the grid has one axis; columns and words are kept or dropped whole. With
    hard edges the cells are enlarged in steps, and what is dropped is gone: sound that is only softer is heard still.

    ``normalise='coverage'`` divides by ``sum_i M_i`` instead of N p: a mean over the masks, weighted by how far they
    keep the pixel, that does not vary with how often a pixel happened to be kept. Enlarging clamps at the edges (as
    Pillow does); the authors' code mirrors there. The standard error is that of the mean of ``f(x M_i) M_i / p`` over
    masks (for ``coverage``, of the ratio, linearised). Sums of 32 masks at a time are in float32, sums of these in
    float64. A tolerance is looked at after every 256 masks.

    ``masks`` may also hold the masks themselves, numbers from 0 to 1: for an image (N, height, width) is enough, for a
    text (N, words), for several inputs a dict of arrays by input name; or in a .npy or .npz file.

    Source: Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421, eq. 6 and section 3.2.
    """

    masks: Annotated[
        int | np.ndarray | dict[str, Any] | str,
        "number of random masks, N, at least 2; or masks to use instead: an array or file, (N, ...) like the input",
    ] = 4000
    probability: Annotated[float, "probability p that a cell is kept", Range(0.001, 0.999)] = 0.5
    cells: Annotated[
        int | tuple[int, ...] | dict[str, Any] | None,
        "grid cells along each axis before enlarging (one number, or one per axis); never more than elements",
        Range(1),
    ] = 7
    edges: Annotated[
        Literal["auto", "smooth", "hard"], "edges of cells: smooth (the paper's) or hard; auto: hard for sound only"
    ] = "auto"
    baseline: Annotated[Any, "what replaces hidden pixels: a number, array or name (see docs)"] = "auto"
    normalise: Annotated[
        Literal["probability", "coverage"], "divide by N p (paper) or by how often each pixel was kept"
    ] = "probability"
    budget: Annotated[int | None, "most model evaluations, instead of a number of masks", Range(1)] = None
    tolerance: Annotated[
        float | None,
        "stop when no pixel's standard error, in units of the score, is above this",
        Range(0, open_low=True),
    ] = None

    def __post_init__(self) -> None:
        """Check what needs no input: the number of masks, or the name of their file."""
        if isinstance(self.masks, int):
            _check_count(self.masks)
        if isinstance(self.masks, str) and not self.masks.lower().endswith((".npy", ".npz")):
            raise SettingError(
                f"rise.masks takes a number, an array, or a .npy or .npz file, not '{printable(self.masks)[:60]}'"
            )

    def explain(self, problem: Problem) -> Explanation:
        """Score random masks, and average those that keep a pixel."""
        words = words_of(problem)
        if words is not None:
            return self._words(problem, words)
        inputs = maskable(problem)
        if isinstance(self.masks, int):
            check_input_names(self.cells, inputs, "rise.cells")
            grids = {name: grid_over(axes, self.cells, self.edges) for name, axes in inputs.items()}
            game, average = self._averaged(problem, features_of(inputs, grids), grids)
        else:
            features, masks = given_masks(self.masks, inputs, "rise.masks")
            game, average = self._averaged(problem, features, {}, masks)
        return of_arrays(
            problem,
            game,
            game.features.expand(average.mean()[None]),
            errors=game.features.expand(average.standard_error()[None]),
            notes=(f"{average.count} masks",),
        )

    def _words(self, problem: Problem, words: Features) -> Explanation:
        """Keep or hide each word of a text."""
        given = None if isinstance(self.masks, int) else masks_of_words(self.masks, words.size, "rise.masks")
        game, average = self._averaged(problem, words, {"": Grid((words.size,), (words.size,))}, given)
        errors, notes = average.standard_error(), (f"{average.count} masks",)
        return of_features(problem, game, average.mean(), errors=errors, notes=notes)

    def _averaged(
        self, problem: Problem, features: Features, grids: dict[str, Grid], given: np.ndarray | None = None
    ) -> tuple[Game, MaskAverage]:
        """Average over masks: the given ones, else random ones of the grids."""
        count = self._count(problem.baseline.count, given, is_compared="" in grids)
        game = problem.game(features, expected=count)
        average = MaskAverage(game.size, self.probability, coverage=self.normalise == "coverage", centre=game.full)
        together = min(DRAWN_TOGETHER, max(1, DRAWN_ELEMENTS // game.size))
        lengths = _lengths(count, max(game.batch, together), None if self.tolerance is None else CHECKED_EVERY)
        if given is None:
            masks = draw_masks(grids, self.probability, (problem.rng(0), problem.rng(1)), lengths)
        else:
            masks = cut(given, lengths)
        for chunk, scores in game.stream(masks):
            average.add(chunk, scores)
            if self._reached(average):
                break
        return game, average

    def _reached(self, average: MaskAverage) -> bool:
        if self.tolerance is None or average.count % CHECKED_EVERY:
            return False
        return bool(average.standard_error().max() <= self.tolerance)

    def _count(self, references: int, given: np.ndarray | None, *, is_compared: bool) -> int:
        """Return how many masks there are: a mask costs an evaluation per reference, the whole input one more.

        ``is_compared`` says that the score with everything absent is told too, which costs as much as a mask.
        """
        if given is not None:
            _check_count(len(given))
            if self.budget is not None:
                raise SettingError("rise.budget is for random masks, and masks were given", tip="leave one of both out")
            return len(given)
        if self.budget is None:
            assert isinstance(self.masks, int)  # noqa: S101 - else they are given
            return self.masks
        count = (self.budget - 1) // references - is_compared
        if count < FEWEST:
            least = (FEWEST + is_compared) * references + 1
            raise SettingError(f"rise.budget must be at least {least}, not {self.budget}", tip="that is two masks")
        return count


def _check_count(masks: int) -> None:
    if masks < FEWEST:
        raise SettingError(f"rise.masks must be at least {FEWEST}, not {masks}", tip="a standard error takes two")


class MaskAverage:
    """The mean score over masks per element, and its standard error, from masks (B, P) and scores (B,) as they come.

    ``mean`` is ``sum_i f_i M_i / (N p)``; with ``coverage`` it is ``sum_i f_i M_i / sum_i M_i``. Scores are
    taken relative to ``centre`` there: sums of squares of large, nearly equal numbers would lose the digits that
    matter.
    """

    def __init__(self, size: int, probability: float, *, coverage: bool = False, centre: float = 0.0) -> None:
        self.count = 0
        self._probability = probability
        self._coverage = coverage
        self._centre = centre if coverage else 0.0
        # sums of f M and f² M²; with coverage also of M, f M² and M²
        self._sums = np.zeros((5 if coverage else 2, size))
        self._recent = np.zeros(self._sums.shape, dtype=np.float32)
        self._weighted = np.empty(size, dtype=np.float32)

    def add(self, masks: np.ndarray, scores: np.ndarray) -> None:
        """Take in the next masks and their scores."""
        start = 0
        while start < len(masks):
            stop = min(len(masks), start + SUMMED_AT_A_TIME - self.count % SUMMED_AT_A_TIME)
            self._add(masks[start:stop], (scores[start:stop] - self._centre).astype(np.float32)[:, None])
            self.count += stop - start
            if self.count % SUMMED_AT_A_TIME == 0:
                self._settle()
            start = stop

    def _add(self, m: np.ndarray, f: np.ndarray) -> None:
        for row, score in zip(m, f, strict=True):  # one by one, what is added up stays in the cache
            np.multiply(row, score, out=self._weighted)
            np.add(self._recent[0], self._weighted, out=self._recent[0])
            np.multiply(self._weighted, self._weighted, out=self._weighted)
            np.add(self._recent[1], self._weighted, out=self._recent[1])
        if self._coverage:
            squared = m.astype(np.float32) ** 2
            self._recent[2] += m.sum(axis=0, dtype=np.float32)
            self._recent[3] += (squared * f).sum(axis=0)
            self._recent[4] += squared.sum(axis=0)

    def _settle(self) -> None:
        self._sums += self._recent
        self._recent[:] = 0

    def mean(self) -> np.ndarray:
        """Return the mean per element (P,). Raises ``SettingError`` where no mask kept an element."""
        mean: np.ndarray = self._centre + (self._sums[0] + self._recent[0]) / self._total()
        return mean

    def standard_error(self) -> np.ndarray:
        """Return the standard error of the mean per element (P,), from the variance over masks with divisor N - 1."""
        sums = self._sums + self._recent
        squares = sums[1] - sums[0] ** 2 / self.count
        if self._coverage:
            s = self.mean() - self._centre
            squares = sums[1] - 2 * s * sums[3] + s * s * sums[4]
        error: np.ndarray = np.sqrt(np.maximum(squares, 0.0) * self.count / (self.count - 1)) / self._total()
        return error

    def _total(self) -> np.ndarray | float:
        """Return what sums are divided by."""
        if not self._coverage:
            return self.count * self._probability
        kept: np.ndarray = self._sums[2] + self._recent[2]
        if not kept.all():
            raise SettingError(
                f"none of {self.count} masks kept element {int(np.argmin(kept))}",
                tip="use more masks, or a higher probability",
            )
        return kept


def _lengths(count: int, most: int, multiple: int | None) -> Iterator[int]:
    """Yield lengths of at most ``most`` that add up to ``count`` and end at every ``multiple``."""
    done = 0
    while done < count:
        end = count if multiple is None else min(count, (done // multiple + 1) * multiple)
        length = min(most, end - done)
        yield length
        done += length
