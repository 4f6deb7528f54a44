"""The words for baselines (``blur:10``, ``mean``, ``background:100``) and the stand-ins that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..errors import SettingError
from ..files import excerpt
from . import stand_ins
from .background import NOISE, Background
from .baselines import Baseline
from .layout import MaskedInput
from .words import Word, count_of, number_of, read_word

if TYPE_CHECKING:
    import numpy as np

Inputs = Mapping[str, MaskedInput]
Replace = Callable[[Word, Inputs, Background], Baseline]

DEFAULT_SIGMA = 10.0
LARGEST_SIGMA = 1000.0  # pixels; time and memory grow with it
DEFAULT_ROWS = 100
MOST_ROWS = 1_000_000


def stand_in(text: str, inputs: Inputs, background: Background) -> Baseline:
    """Return the baseline that a word means for these inputs.

    ``auto`` is ``background`` for tables whose spec names background data, and ``zero`` otherwise. SettingError if the
    word is unknown, or does not make sense for an input.
    """
    word = read_word(text, BASELINES, "the baseline")
    return BASELINES[word.name](word, inputs, background)


def constant(number: float, inputs: Inputs) -> Baseline:
    """Return the same number for every element, in the model's own units."""
    references = {name: stand_ins.constant(entry, number) for name, entry in inputs.items()}
    return Baseline("zero" if number == 0 else f"constant {number:g}", references)


def _auto(_: Word, inputs: Inputs, background: Background) -> Baseline:
    if background.is_known and all(entry.is_table for entry in background.inputs.values()):
        return _background(Word("background"), inputs, background)
    return constant(0.0, inputs)


def _zero(_: Word, inputs: Inputs, __: Background) -> Baseline:
    return constant(0.0, inputs)


def _statistic(word: Word, inputs: Inputs, background: Background, *, statistic: stand_ins.Statistic) -> Baseline:
    references = {
        name: stand_ins.in_dtype(stand_ins.summary(entry, _rows(word, entry, background), statistic), entry)
        for name, entry in inputs.items()
    }
    return Baseline(str(word), references, "largest-effect" if word.name == "quantiles" else "mean")


def _blur(word: Word, inputs: Inputs, _: Background) -> Baseline:
    sigma = number_of(word, DEFAULT_SIGMA, LARGEST_SIGMA)
    found = _smooth(inputs, word, lambda e: e.is_image or e.is_series, "an image or a series of known layout")
    references = {entry.name: stand_ins.in_dtype(stand_ins.blurred(entry, sigma), entry) for entry in found}
    return Baseline(f"blur:{sigma:g}", references)


def _inpaint(word: Word, inputs: Inputs, _: Background) -> Baseline:
    found = _smooth(inputs, word, lambda e: e.is_image, "an image")
    return Baseline("inpaint", {e.name: stand_ins.in_dtype(stand_ins.inpainted(e), e) for e in found})


def _noise(word: Word, inputs: Inputs, background: Background) -> Baseline:
    rng = background.rng(NOISE)
    references: dict[str, np.ndarray] = {}
    for name, entry in inputs.items():
        rows = _rows(word, entry, background)
        centre = stand_ins.summary(entry, rows, stand_ins.mean)
        spread = number_of(word, 0.0, 1e30) or stand_ins.summary(entry, rows, stand_ins.deviation)
        references[name] = stand_ins.in_dtype(rng.normal(centre, spread), entry)
    return Baseline(str(word), references)


def _background(word: Word, inputs: Inputs, background: Background) -> Baseline:
    missing = [name for name in inputs if name not in background.rows]
    if missing:
        raise SettingError(
            f"the background data has no rows for input '{excerpt(missing[0])}'", where=background.model.spec.background
        )
    drawn = background.draw(background.rows, count_of(word, DEFAULT_ROWS, MOST_ROWS))
    references = {name: drawn[name] for name in inputs}
    return Baseline(f"background:{len(next(iter(references.values())))}", references)


def _rows(word: Word, entry: MaskedInput, background: Background) -> np.ndarray | None:
    """Return the background rows that a table's statistics are taken of, None for other inputs of numbers."""
    if entry.holds_text or entry.spec.modality == "text":
        raise SettingError(
            f"baseline '{word}' needs numbers that can be averaged; input {entry} holds text or its codes",
            tip="use 'background', or a dict by input name with a constant for this one",
        )
    if not entry.is_table:
        return None
    if not background.is_known:
        raise SettingError(
            f"baseline '{word}' of the table in input '{excerpt(entry.name)}' needs background data",
            tip='name a file of typical rows in the spec (background = "rows.csv"), or use a number or an array',
        )
    if entry.name not in background.rows:
        raise SettingError(
            f"the background data has no rows for input '{excerpt(entry.name)}'", where=background.model.spec.background
        )
    return background.rows[entry.name]


def _smooth(inputs: Inputs, word: Word, test: Callable[[MaskedInput], bool], wanted: str) -> list[MaskedInput]:
    """Return the inputs that have neighbouring elements; SettingError if there is none."""
    found = [entry for entry in inputs.values() if test(entry) and not entry.holds_text]
    if not found:
        raise SettingError(
            f"baseline '{word}' needs {wanted}",
            where="; ".join(map(str, list(inputs.values())[:4])),
            tip="for tables use 'background', 'quantiles', 'mean', a number or an array",
        )
    return found


BASELINES: dict[str, Replace] = {
    "auto": _auto,
    "zero": _zero,
    "mean": partial(_statistic, statistic=stand_ins.mean),
    "median": partial(_statistic, statistic=stand_ins.median),
    "blur": _blur,
    "inpaint": _inpaint,
    "noise": _noise,
    "background": _background,
    "quantiles": partial(_statistic, statistic=stand_ins.quartiles),
}
