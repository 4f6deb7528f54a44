"""Which columns of a CSV file hold the texts of a model: as the spec says, as they are called, or the only one."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from ..errors import InputError, SettingError, nearest
from ..files import excerpt
from ..layout import describe
from .cells import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..spec import ModelSpec
    from .text_inputs import TextInputs

# What columns of texts are usually called, in any case; of pairs, the first one and the second one.
USUAL = ("text", "sentence", "review", "comment", "message", "content", "body", "document", "tweet", "utterance")
PAIRS = (
    ("premise", "hypothesis"),
    *((f"{what}1", f"{what}2") for what in ("sentence", "text", "question")),
    *((f"{what}_{first}", f"{what}_{second}") for what in ("sentence", "text") for first, second in ("12", "ab")),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("text", "text_pair"),
)
LONGEST_NAME = 3  # words; more than these are rather a text than the name of a column


def expected_names(found: Sequence[TextInputs], spec: ModelSpec) -> set[str]:
    """Return the names of columns that are looked for, by which the separator of a file is found."""
    named = {column for one in found for column in spec.inputs[one.main.name].columns}
    return named or {*USUAL, *(name for pair in PAIRS for name in pair)}


def with_text_columns(spec: ModelSpec, found: Sequence[TextInputs], names: Sequence[str]) -> ModelSpec:
    """Return the spec with the columns that hold the texts: in the order of the inputs, or two for a pair."""
    if not found:
        raise InputError("no input of the model is known to take a text, so no column is one")
    if len(found) > 1 and len(names) != len(found):
        raise SettingError(
            f"the model takes {len(found)} texts, and columns are named for {len(names)}",
            where=", ".join(describe(one.main) for one in found[:4]),
            tip="name a column for each, in this order",
        )
    columns = [tuple(names)] if len(found) == 1 else [(name,) for name in names]
    entries = {
        one.main.name: dataclasses.replace(spec.inputs[one.main.name], modality="text", columns=own)
        for one, own in zip(found, columns, strict=True)
    }
    return dataclasses.replace(spec, inputs=spec.inputs | entries)


def text_columns(
    header: Sequence[str], found: Sequence[TextInputs], spec: ModelSpec, wordy: Callable[[], list[str]], where: str
) -> list[tuple[str, ...]]:
    """Return the columns of each input that takes a text, one or, for a pair, two; ``header`` is without all others.

    They are those of the spec; else the one that is called like the input (``question`` for ``question_input_ids``);
    else the two that are usual for pairs (``premise`` and ``hypothesis``) or the one that is usual (``text``); else
    the only one of those that ``wordy`` finds to hold more than numbers. InputError where that leaves none, or several.
    """
    pairs = len(found) == 1 and not found[0].takes_strings
    columns = [_named(one, header, spec, where, 2 if pairs else 1) for one in found]
    if all(columns):
        return columns
    lower = {name.lower(): name for name in header}
    pair = next((tuple(lower[name] for name in pair) for pair in PAIRS if lower.keys() >= set(pair)), ())
    if pair and len(found) == 2 and not any(columns):
        return [(name,) for name in pair]
    if pair and pairs:
        return [pair]
    if len(found) > 1:
        lacking = [one for one, own in zip(found, columns, strict=True) if not own]
        raise _unclear(f"which column of this file is input {describe(lacking[0].main)}?", header, lacking, where)
    usual = [lower[name] for name in USUAL if name in lower]
    if usual and (usual[0].lower() == USUAL[0] or len(usual) == 1):
        return [(usual[0],)]
    words = usual or wordy()
    if len(words) != 1:
        question = "which column of this file holds the text?" if words else "no column of this file holds a text."
        raise _unclear(question, words or header, found, where)
    if not usual:
        _check_name(words[0], header, where)
    return [(words[0],)]


def _named(one: TextInputs, header: Sequence[str], spec: ModelSpec, where: str, most: int) -> tuple[str, ...]:
    """Return the columns that the spec names for an input, or the one that is called like it; empty if none is."""
    columns = spec.inputs[one.main.name].columns
    if len(columns) > most:
        raise SettingError(
            f"{len(columns)} columns are named for the text of input {describe(one.main)}, which takes "
            + ("one, or two for a pair" if most > 1 else "one")
        )
    for name in columns:
        if name not in header:
            raise InputError(
                f"this file has no column '{excerpt(name)}'", where=where, tip=nearest(name[:200], header[:1000])
            )
    if columns:
        return columns
    alike = [name for name in header if _is_alike(name, one.main.name)]
    return (alike[0],) if len(alike) == 1 else ()


def _is_alike(column: str, name: str) -> bool:
    """Say whether an input is called like a column: by the same name, or one that it begins or ends with."""
    parts = re.split(r"[^a-z0-9]+", name.lower())
    own = re.split(r"[^a-z0-9]+", column.lower())
    return bool(own[0]) and own in (parts, parts[: len(own)], parts[-len(own) :])


def _unclear(question: str, header: Sequence[str], found: Sequence[TextInputs], where: str) -> InputError:
    shown = ", ".join(f"'{excerpt(name, 30)}'" for name in header[:8])
    more = f" and {len(header) - 8} more" if len(header) > 8 else ""
    name = excerpt(found[0].main.name, 40)
    return InputError(
        f"{question} It has {shown}{more}",
        where=where,
        tip=f'name it with --text-column, or in the spec: [inputs."{name}"] with columns = ["NAME"]',
    )


def _check_name(name: str, header: Sequence[str], where: str) -> None:
    """Refuse a first line that is a row of texts: the row would be missing from the results."""
    if len(name.split()) > LONGEST_NAME or name[-1] in ".!?" or any(map(is_number, header)):
        raise InputError(
            "the first line must hold the names of the columns, not a text",
            where=f"{where}, first line '{excerpt(name)}'",
            tip="add a header line, such as: text",
        )
