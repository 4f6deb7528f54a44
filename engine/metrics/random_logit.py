"""Random logit: whether the explanation changes when another class is explained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from ..errors import CapabilityError, SettingError
from ..registry import PREDICT, register
from ..settings import Range
from .altered import compared
from .answers import digest_of
from .similarity import Comparing

if TYPE_CHECKING:
    from .score import Reading
    from .trial import Trial


@register("metric", "random-logit", needs=PREDICT, source="Sixt et al. 2020, arXiv:1912.09818")
@dataclass(frozen=True)
class RandomLogit(Comparing):
    """Similarity between the explanation and that of another class, drawn at random; it should be low.

    Each input has a draw of its own, from the seed and the numbers or texts of the input: the same for all methods, and
    whatever other inputs there are. ``parts`` holds the similarity by the other class.

    Source: Sixt, Granz and Landgraf 2020, When explanations lie: why many modified BP attributions fail,
    arXiv:1912.09818, section 4: random logit.
    """

    better: ClassVar[str | None] = "lower"
    meaning: ClassVar[str] = "similarity to the explanation of another class"
    cost: ClassVar[str] = "1 explanation"

    other: Annotated[int | None, "the other class; none: drawn at random", Range(0)] = None

    def score(self, trial: Trial) -> Reading:
        """Explain another class and compare."""
        index = list(trial.target.index)
        place = next((k for k in range(len(index) - 1, -1, -1) if index[k] is not None), None)
        row = trial.model.rows(trial.sample.feeds, (trial.target.tensor,))[0]
        classes = row.shape[place + 1] if place is not None else 1
        if place is None or classes < 2:
            raise CapabilityError("random-logit needs a target with other classes beside it; this one has none")
        mine = int(index[place] or 0) % classes
        if self.other is not None and (self.other >= classes or self.other == mine):
            raise SettingError(f"random-logit.other is another class from 0 to {classes - 1} than {mine}")
        other = _drawn(trial, mine, classes) if self.other is None else self.other
        index[place] = other
        target = dataclasses.replace(trial.target, text=str(other), index=tuple(index), label="")
        found = compared(trial, trial.again(target=target), self.similarity)
        return dataclasses.replace(found, parts={f"class {other}": found.value})


def _drawn(trial: Trial, mine: int, classes: int) -> int:
    """Return another class than ``mine``, each as likely as any."""
    rng = np.random.default_rng([trial.seed, int.from_bytes(digest_of(trial.sample.feeds), "big")])
    return (mine + 1 + int(rng.integers(classes - 1))) % classes
