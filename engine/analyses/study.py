"""Study: what an analysis is handed: a model, rows of data, labels where they are known, and a seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import InputError, SettingError, nearest, printable
from ..inputs.array import split_rows
from ..masking.choose import resolve_features
from ..masking.features import TEXT_KINDS
from ..masking.layout import masked_inputs
from ..problem import Silence
from ..rows import has_rows, leading, native
from ..scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..inputs.sample import Sample
    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..model import Model
    from ..problem import Progress
    from ..runtime import Layout
    from ..target import Target
    from .analysis import Analysis


@dataclass
class Layouts:
    """How the loops of a study are laid on the machine, in the order in which they begin.

    ``used`` are those that have begun. ``wanted`` are those that they must have, as where a study is made again: sums
    of floating-point numbers depend on the size of a batch.
    """

    wanted: tuple[Layout, ...] = ()
    used: list[Layout] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Study:
    """Rows of data and a model that is studied over them.

    ``rows`` holds the feeds by input name with the batch axis first, N rows each; inputs without rows are as the model
    takes them. ``first`` is the first row as a person recognises it. ``labels`` (N,) are the true classes or values as
    they were given, text or numbers; ``beside`` has further columns of the data by name, such as weights. ``target`` is
    what the user asked to be explained, ``auto`` for what suits the analysis. ``given`` are the samples that were
    loaded one by one, if any, and ``notes`` what a reader should know of the data.
    """

    model: Model
    rows: Mapping[str, np.ndarray]
    first: Sample
    labels: np.ndarray | None = None
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)
    target: str = "auto"
    seed: int = 0
    source: str = ""
    name: str = ""
    progress: Progress = field(default_factory=Silence)
    given: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()
    layouts: Layouts = field(default_factory=Layouts)

    @property
    def count(self) -> int:
        """The number of rows, N."""
        return max((len(f) for n, f in self.rows.items() if has_rows(n, self.model.inputs)), default=1)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """A Sample per row, with pictures where images were loaded."""
        if self.given:
            return self.given
        given = {name: native(name, feed, self.model.inputs) for name, feed in self.rows.items()}
        split = split_rows(given, self.model.inputs, spec=self.model.spec, source=self.source)
        return tuple(dataclasses.replace(s, feeds=leading(s.feeds, self.model.inputs)) for s in split)

    @cached_property
    def inputs(self) -> dict[str, MaskedInput]:
        """The inputs that have a row per instance, and what their axes mean."""
        return masked_inputs(self.model, self.first)

    def part(self, places: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Return some of the rows; inputs without rows stay as they are."""
        return {n: f[places] if has_rows(n, self.model.inputs) else f for n, f in self.rows.items()}

    def at_most(self, count: int) -> Study:
        """Return a study of at most ``count`` rows, drawn with the seed and kept in order."""
        if self.count <= count:
            return self
        return self.some(np.sort(self.rng(DRAWING).choice(self.count, count, replace=False)))

    def some(self, places: np.ndarray) -> Study:
        """Return a study of these rows."""
        return dataclasses.replace(
            self,
            rows=self.part(places),
            labels=None if self.labels is None else self.labels[places],
            beside={name: array[places] for name, array in self.beside.items()},
            given=tuple(self.given[k] for k in places) if self.given else (),
        )

    def scorer(
        self,
        target: Target,
        expected: int,
        *,
        model: Model | None = None,
        feeds: Mapping[str, np.ndarray] | None = None,
    ) -> Scorer:
        """Return the loop that scores ``expected`` rows like those of the study; it moves the study's progress on.

        ``model`` is another one than the study's where one was made from it, and ``feeds`` rows as that takes them.
        """
        chosen = self.model if model is None else model
        before, place = chosen.layout, len(self.layouts.used)
        chosen.layout = self.layouts.wanted[place] if place < len(self.layouts.wanted) else before
        try:
            made = Scorer(
                chosen,
                target,
                self.rows if feeds is None else feeds,
                expected=expected,
                progress=self.progress.advance,
            )
        finally:
            chosen.layout = before
        self.layouts.used.append(made.layout)
        return made

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Return the random numbers of this study; each ``stream`` is independent of the others."""
        return np.random.default_rng([self.seed, stream])

    def features(self, setting: Any) -> Features:
        """Return what a row is made of: columns, groups of columns, channels, positions, or a label map's parts.

        SettingError for parts of one text: another row has other words.
        """
        found = resolve_features(setting, self.model, self.first)
        if found.kind in TEXT_KINDS:
            raise SettingError(
                f"features '{found.kind}' are those of one text, and the rows have different ones",
                where=self.source,
                tip="'elements' are the places of tokens, 'inputs' whole texts",
            )
        return found

    def numbers(self, given: Any, what: str) -> np.ndarray:
        """Return a number per row (N,) from an array or the name of a column beside the model's."""
        if isinstance(given, str):
            if given not in self.beside:
                raise SettingError(
                    f"there is no column '{printable(given)}' of {what} in the data", tip=nearest(given, self.beside)
                )
            given = self.beside[given]
        array = np.asarray(given)
        if array.shape != (self.count,):
            raise InputError(f"{what} have the shape {array.shape}, for {self.count} rows")
        try:
            wide = array.astype(np.float64)
        except ValueError:
            raise InputError(f"{what} must be numbers") from None
        if not np.isfinite(wide).all():
            place = int(np.argmin(np.isfinite(wide)))
            raise InputError(f"{what} hold {wide[place]} in row {place}")
        return wide


class Analyst(Protocol):
    """A plug-in of the kind ``analysis``."""

    def analyse(self, study: Study) -> Analysis:
        """Study the model over the rows."""


DRAWING = 1101  # a stream of random numbers out of the way of those that analyses draw from
