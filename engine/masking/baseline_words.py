"""The words for baselines (``blur:10``, ``mean``, ``background:100``) and the stand-ins that they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..errors import SettingError
from ..files import excerpt
from . import stand_ins
from .background import NOISE, Background, drawn_note
from .baselines import Baseline, together
from .clusters import MOST_CLUSTERED, centres, clustered_note, most_frequent
from .layout import MaskedInput
from .texts import text_baseline
from .words import Word, count_of, number_of, read_word

Inputs = Mapping[str, MaskedInput]
Replace = Callable[[Word, Inputs, Background], Baseline]

DEFAULT_SIGMA = 10.0
LARGEST_SIGMA = 1000.0  # pixels; time and memory grow with it
DEFAULT_ROWS = 100
DEFAULT_CENTRES = 10
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
    if any(entry.text is not None for entry in inputs.values()):
        return _of_texts("", inputs, background)
    if background.is_known and all(entry.is_table for entry in inputs.values()):
        return _background(Word("background"), inputs, background)
    return constant(0.0, inputs)


def _zero(_: Word, inputs: Inputs, __: Background) -> Baseline:
    return constant(0.0, inputs)


def _statistic(word: Word, inputs: Inputs, background: Background, *, statistic: stand_ins.Statistic) -> Baseline:
    numbers = {name: entry for name, entry in inputs.items() if not _is_text_column(entry, background)}
    references = {
        name: stand_ins.in_dtype(stand_ins.summary(entry, _rows(word, entry, background), statistic), entry)
        for name, entry in numbers.items()
    }
    count = max(map(len, references.values()), default=1)
    texts = {n: np.repeat(most_frequent(background.rows[n]), count, axis=0) for n in inputs if n not in numbers}
    references = {name: texts[name] if name in texts else references[name] for name in inputs}
    return Baseline(str(word), references, "largest-effect" if word.name == "quantiles" else "mean")


def _blur(word: Word, inputs: Inputs, _: Background) -> Baseline:
    sigma = number_of(word, DEFAULT_SIGMA, LARGEST_SIGMA)
    found = _smooth(inputs, word, lambda e: e.is_image or e.is_series, "an image or a series of known layout")
    references = {entry.name: stand_ins.in_dtype(stand_ins.blurred(entry, sigma), entry) for entry in found}
    return Baseline(f"blur:{sigma:g}", references)


def _inpaint(word: Word, inputs: Inputs, _: Background) -> Baseline:
    found = _smooth(inputs, word, lambda e: e.is_image, "an image")
    return Baseline("inpaint", {e.name: stand_ins.in_dtype(stand_ins.inpainted(e), e) for e in found})


def _interpolate(word: Word, inputs: Inputs, _: Background) -> Baseline:
    """Fill gaps of series by straight lines between their ends, anew for each coalition (see ``Gaps``)."""
    wanted = "a series of floating-point numbers whose axis of time is known"
    found = _smooth(inputs, word, lambda e: e.is_series and e.feed.dtype.kind == "f", wanted)
    references = {e.name: stand_ins.in_dtype(stand_ins.summary(e, None, stand_ins.mean), e) for e in found}
    return Baseline("interpolate", references, across={e.name: e.axes("T")[0] for e in found})


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
    _check_there(inputs, background)
    drawn = background.draw(background.rows, count_of(word, DEFAULT_ROWS, MOST_ROWS))
    references = {name: drawn[name] for name in inputs}
    count, total = (len(next(iter(rows.values()))) for rows in (references, background.rows))
    return Baseline(f"background:{count}", references, note=drawn_note(total, count))


def _check_there(inputs: Inputs, background: Background) -> None:
    missing = [name for name in inputs if name not in background.rows]
    if missing:
        raise SettingError(
            f"the background data has no rows for input '{excerpt(missing[0])}'", where=background.model.spec.background
        )


def _is_text_column(entry: MaskedInput, background: Background) -> bool:
    """Say whether an input is a column of text whose most frequent value the background data tell."""
    return entry.holds_text and entry.is_table and background.is_known and entry.name in background.rows


def _kmeans(word: Word, inputs: Inputs, background: Background) -> Baseline:
    _check_there(inputs, background)
    rows = {name: background.rows[name] for name in inputs}
    total = len(next(iter(rows.values())))
    some = background.draw(rows, MOST_CLUSTERED)
    references, sizes = centres(some, inputs, count_of(word, DEFAULT_CENTRES, MOST_CLUSTERED), background.seed)
    used = min(total, MOST_CLUSTERED)
    return Baseline(f"kmeans:{len(sizes)}", references, weights=sizes, note=clustered_note(total, used, len(sizes)))


def _token(word: Word, inputs: Inputs, background: Background) -> Baseline:
    if all(entry.text is None for entry in inputs.values()):
        raise SettingError(
            f"baseline '{word}' needs a text",
            where="; ".join(map(str, list(inputs.values())[:4])),
            tip="give the text (--text, a .txt file, onnxplain.Text), not arrays",
        )
    return _of_texts(word.name, inputs, background)


def _of_texts(word: str, inputs: Inputs, background: Background) -> Baseline:
    """Return what a word means for texts, and what stands in for other inputs where nothing is said."""
    parts = {name: text_baseline(entry, entry.text, word) for name, entry in inputs.items() if entry.text is not None}
    others = {name: entry for name, entry in inputs.items() if name not in parts}
    ways = {part.name for part in parts.values()}
    if not others and len(ways) == 1:
        return dataclasses.replace(together(parts), name=ways.pop())
    if not others:
        return together(parts)
    rest = _auto(Word("auto"), others, dataclasses.replace(background, inputs=others))
    return together(parts | {", ".join(others): rest})


def _missing(word: Word, inputs: Inputs, _: Background) -> Baseline:
    """Leave the values of tables out: NaN, or no text; that the model takes that is found by running it."""
    references = {}
    for name, entry in inputs.items():
        if not entry.is_table or not (entry.holds_text or entry.feed.dtype.kind == "f"):
            raise SettingError(
                f"baseline '{word}' needs columns that can lack a value; input {entry} cannot",
                tip="use 'background', or a dict by input name with a number for this one",
            )
        references[name] = np.full((1, *entry.inner), "" if entry.holds_text else np.nan, dtype=entry.feed.dtype)
    return Baseline("missing", references)


def _rows(word: Word, entry: MaskedInput, background: Background) -> np.ndarray | None:
    """Return the background rows that a table's statistics are taken of, None for other inputs of numbers."""
    if entry.holds_text or entry.spec.modality == "text":
        raise SettingError(
            f"baseline '{word}' needs numbers that can be averaged; input {entry} holds text or its codes",
            tip=f"use '{'removed' if entry.text else 'background'}', or a dict by input name with a constant for it",
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
    "interpolate": _interpolate,
    "noise": _noise,
    "background": _background,
    "kmeans": _kmeans,
    "missing": _missing,
    "mask": _token,
    "unk": _token,
    "pad": _token,
    "removed": _token,
    "quantiles": partial(_statistic, statistic=stand_ins.quartiles),
}
OF_NUMBERS = frozenset({"mean", "median", "blur", "inpaint", "interpolate", "noise", "kmeans", "missing", "quantiles"})
