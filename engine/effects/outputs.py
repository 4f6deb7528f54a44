"""The scores of all classes, or of one target, for many rows at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, printable
from ..files import excerpt
from ..rows import first_row
from ..target import PROBABILITY, TOP, Target, resolve

if TYPE_CHECKING:
    from ..analyses.study import Study

ALL = ("auto", "all")
THE_OUTPUT = "the output"  # the name of the only number that a model gives


@dataclass(frozen=True)
class Outputs(Target):
    """Numbers of a tensor for each row: the score of every class, or of one.

    ``axis`` is where the classes are in ``index``, None for a single number; ``names`` (K,) are what they are called.
    """

    axis: int | None = None
    names: tuple[str, ...] = ()

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the scores (B, K) in float64, averaged over all other axes."""
        if self.axis is None:
            return super().scores(rows)[:, None]
        wide = np.moveaxis(rows.astype(np.float64), 1 + self.axis, 1)
        return np.asarray(wide.mean(axis=tuple(range(2, wide.ndim)))) if wide.ndim > 2 else wide

    @property
    def example(self) -> str:
        """How to ask for the first class, for messages."""
        return f"--target '{excerpt(self.names[0])}'"

    @property
    def count(self) -> int:
        """The number of classes, K; 1 for a single number."""
        return len(self.names)


def all_outputs(study: Study, *, probability: bool = False) -> Outputs:
    """Return the scores of all classes of the default output, as probabilities if asked for and if the model has them.

    Raises ``SettingError`` for probabilities of a model that gives scores only.
    """
    model, feeds = study.model, first_row(study.rows, study.model.inputs)
    one = resolve(f"{PROBABILITY if probability else ''}0", model, feeds)
    places = [k for k, index in enumerate(one.index) if index is not None]
    if not places:
        return _single(one, study)
    axis = places[0]
    (row,) = model.rows(feeds, (one.tensor,))
    count = row.shape[1 + axis]
    names = model.labels if len(model.labels) == count else tuple(map(str, range(count)))
    fields = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    return Outputs(**{**fields, "text": "all", "label": ""}, axis=axis, names=names)


def outputs_of(study: Study, most: int) -> Outputs:
    """Return what the user asked for: one target, or for ``auto`` and ``all`` every class.

    ``auto`` is the spec's own target where it names one, and the second of two classes. SettingError for ``top``,
    which differs from row to row, and for ``all`` of more than ``most`` classes.
    """
    asked = study.target
    if asked == "auto" and study.model.spec.target.strip() not in {"", TOP}:
        asked = study.model.spec.target.strip()
    if asked.removeprefix(PROBABILITY) == TOP:
        raise SettingError(
            f"'{printable(asked)}' is another class for each row, which cannot be followed over data",
            tip="name a class or a tensor, or 'all' for every class",
        )
    if asked.removeprefix(PROBABILITY) not in ALL:
        return _single(resolve(asked, study.model, first_row(study.rows, study.model.inputs)), study)
    found = all_outputs(study, probability=asked.startswith(PROBABILITY))
    if found.count == 2 and asked == "auto":
        return _single(resolve("1", study.model, first_row(study.rows, study.model.inputs)), study)
    if found.count > most:
        raise SettingError(
            f"the model has {found.count} classes, of which {most} can be shown at a time",
            tip=f"name one: {found.example}",
        )
    return found


def _single(one: Target, study: Study) -> Outputs:
    fields = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    return Outputs(**fields, axis=None, names=(_name(one, study),))


def _name(one: Target, study: Study) -> str:
    place = [k for k in one.index if k is not None]
    if one.label:
        return one.label
    is_class = one.text.removeprefix(PROBABILITY).strip().isdigit()
    if is_class and place:
        return f"class {place[0]}"
    return THE_OUTPUT if is_class or one.text == study.model.default_output else one.text
