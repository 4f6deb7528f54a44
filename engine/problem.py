"""Problem: what an explainer is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import SettingError
from .game import Game
from .masking.choose import resolve_baseline, resolve_features

if TYPE_CHECKING:
    from .explanation import Explanation
    from .inputs.sample import Sample
    from .masking.baselines import Baseline
    from .masking.features import Features
    from .memory import Memories
    from .model import Model
    from .target import Target


class Progress(Protocol):
    """Told how far a method is; ``total`` is the number of coalitions expected, 0 if unknown."""

    def start(self, description: str, total: int) -> None:
        """Begin a bar."""

    def advance(self, done: int) -> None:
        """Move on by ``done`` coalitions."""


class Silence:
    """A Progress that says nothing."""

    def start(self, description: str, total: int) -> None:
        """Say nothing."""

    def advance(self, done: int) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Problem:
    """One sample and one target of a model, with what the caller asked for.

    ``features_setting`` and ``baseline_setting`` are what the user wrote (``slic:50``, ``blur``, an array); the
    resolved ``features`` and ``baseline`` are made when they are first used.
    """

    model: Model
    sample: Sample
    target: Target
    method: str = ""
    wrt: str | None = None
    features_setting: Any = "auto"
    baseline_setting: Any = "auto"
    budget: int | None = None
    tolerance: float | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Silence)

    @cached_property
    def features(self) -> Features:
        """What can be present or absent."""
        return resolve_features(self.features_setting, self.model, self.sample, self.only)

    @cached_property
    def baseline(self) -> Baseline:
        """What stands in for what is absent."""
        return resolve_baseline(self.baseline_setting, self.model, self.sample, seed=self.seed)

    @cached_property
    def only(self) -> str | None:
        """The input that alone is explained; None where all are, or an inner tensor is."""
        return self.wrt if any(i.name == self.wrt for i in self.model.inputs) else None

    def layer(self) -> str:
        """Return the tensor that a method for layers works on. Raises ``SettingError`` where none is named."""
        if self.wrt is None:
            raise SettingError(
                f"{self.method} needs the name of a tensor (--wrt TENSOR)",
                tip="onnxplain inspect MODEL --tensors lists them",
            )
        return self.wrt

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the feeds that are explained, by input name (leading axis of one)."""
        return {name: feed.shape for name, feed in self.sample.feeds.items() if self.only in {None, name}}

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Return the random numbers of this problem; each ``stream`` is independent of the others.

        A method draws each kind of number (grids, shifts, noise) from a stream of its own, in the order of its masks:
        then the draws do not depend on the batch size.
        """
        return np.random.default_rng([self.seed, stream])

    def game(self, features: Features | None = None, expected: int = 0, memories: Memories | None = None) -> Game:
        """Return the game of this problem; ``expected`` coalitions size the progress bar and the layout.

        Games that are given the same ``memories`` share scores where method, target, features and baseline are equal;
        model and sample must be.
        """
        self.progress.start(self.method, expected)
        chosen = features or self.features
        return Game(
            self.model,
            self.sample,
            self.target,
            chosen,
            self.baseline,
            progress=self.progress.advance,
            expected=expected,
            shared=None if memories is None else memories.of(self.method, self.target, chosen, self.baseline),
        )


class Explainer(Protocol):
    """A plug-in of the kind ``explainer``."""

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
