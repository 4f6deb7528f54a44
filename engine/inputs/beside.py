"""Texts beside other inputs: which texts go together, and what fills the inputs that they leave."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..errors import InputError, nearest, printable
from ..files import excerpt
from ..layout import describe
from .array import check_feeds, split_rows
from .filling import required
from .load import load_samples
from .text import Text, filled_up, joined, load_text, name_of
from .text_inputs import takes, text_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..layout import InputInfo
    from ..spec import ModelSpec
    from .sample import Sample
    from .text import Place, Texts


def texts_in(inputs: Any) -> tuple[Texts | None, Any]:
    """Return the texts of what a caller gave as inputs, None if there is none, and what it gave beside them."""
    if isinstance(inputs, Text):
        return inputs, {}
    if not isinstance(inputs, Mapping) or not any(isinstance(value, Text) for value in inputs.values()):
        return None, inputs
    texts = {name: value for name, value in inputs.items() if isinstance(value, Text)}
    return texts, {name: value for name, value in inputs.items() if name not in texts}


def load_beside(
    texts: Texts, rest: Any, inputs: Sequence[InputInfo], spec: ModelSpec, place: Place | None = None
) -> Iterator[Sample]:
    """Yield a Sample for each row of what is given beside texts, all with the same texts.

    ``rest`` is a file, or by input name an array or a file; empty where texts fill all that the model asks for.
    """
    read = load_text(texts, inputs, spec, place)
    left = [info for info in inputs if info.name not in read.feeds]
    if isinstance(rest, Mapping) and not rest:
        yield filled_up(read, inputs, spec)
        return
    if not left:
        raise InputError("the text fills all inputs of the model; there is none for what is given beside it")
    own = dataclasses.replace(spec, inputs={info.name: spec.inputs[info.name] for info in left})
    try:
        others = list(_others(rest, left, own, place))
    except InputError as problem:
        filled = "the text fills " + ", ".join(f"'{excerpt(name)}'" for name in list(read.feeds)[:4])
        where = f"{problem.where}; {filled}" if problem.where else filled
        raise type(problem)(problem.message, where=where, tip=problem.tip) from None
    for other in others:
        yield joined(read, other, inputs)


def _others(rest: Any, left: Sequence[InputInfo], spec: ModelSpec, place: Place | None) -> Iterator[Sample]:
    """Yield samples of the inputs that the texts leave."""
    if isinstance(rest, str | os.PathLike):
        yield from load_samples(os.fspath(rest), left, spec, place)
        return
    if not isinstance(rest, Mapping):
        yield from split_rows(rest, left, spec=spec)
        return
    known = {info.name: info for info in left}
    for name in rest:
        if name not in known:
            raise InputError(f"no input '{excerpt(name)}' is left beside the text", tip=nearest(str(name)[:200], known))
    files = {n: v for n, v in rest.items() if isinstance(v, str | os.PathLike) and known[n].dtype.kind != "O"}
    found = [_one(value, known[name], spec, place) for name, value in files.items()]
    others = [info for info in left if info.name not in files]
    if not others:
        yield _merged(found, left)
        return
    arrays = {name: value for name, value in rest.items() if name not in files}
    for row in split_rows(arrays, others, spec=spec):
        yield _merged([*found, row], left)


def _one(source: str | os.PathLike[str], info: InputInfo, spec: ModelSpec, place: Place | None) -> Sample:
    """Return the sample in a file that was named for one input."""
    own = dataclasses.replace(spec, inputs={info.name: spec.inputs[info.name]})
    samples = list(load_samples(os.fspath(source), [info], own, place))
    if len(samples) != 1:
        raise InputError(
            f"this file has {len(samples)} rows, and input {describe(info)} takes one",
            where=printable(source),
            tip=f"name the row: {printable(source)}:0",
        )
    return samples[0]


def _merged(samples: Sequence[Sample], inputs: Sequence[InputInfo]) -> Sample:
    """Return one sample of the inputs that several fill, the picture of one among them."""
    first = next((one for one in samples if one.image is not None), samples[0])
    feeds = {name: array for one in samples for name, array in one.feeds.items()}
    source = ", ".join(one.source for one in samples if one.source)
    tables = [one for one in samples if one.columns] if len(samples) > 1 else []
    columns = tuple(column for one in tables for column in one.columns)
    raw = tuple(cell for one in tables for cell in one.raw) or first.raw
    return dataclasses.replace(
        first, feeds=check_feeds(feeds, inputs), source=source, columns=columns or first.columns, raw=raw
    )


def grouped_texts(
    texts: Sequence[str], pairs: Sequence[str], inputs: Sequence[InputInfo], spec: ModelSpec
) -> list[Texts]:
    """Return the texts that go into the model together, one entry per sample, in the order in which they were written.

    A model that takes one text gets each alone, with the text of the same place in ``pairs`` if there are any. Of a
    model that takes several, texts are written ``NAME=...`` with the name of an input, a sample ending before a name
    comes again, or else one after the other in the model's order.
    """
    if pairs and len(pairs) != len(texts):
        raise InputError(
            f"{_counted(len(texts))} and {len(pairs)} to go with them", tip="give a second text to each, or to none"
        )
    names = [found.main.name for found in text_inputs(inputs, spec)]
    if len(names) < 2 or pairs:
        return [Text(text, pair=pair) for text, pair in zip_longest(texts, pairs)]
    named = [_named(text, names) for text in texts]
    if all(name for name, _ in named):
        return _by_name([(name, text) for name, text in named if name])
    if any(name for name, _ in named) or len(texts) % len(names):
        odd = f"the model takes {len(names)} texts at a time, not {len(texts)}"
        raise InputError(
            odd if len(texts) % len(names) else "some texts name their input and others do not",
            where=takes([info for info in inputs if info.name in names]),
            tip="name them all: " + " ".join(f"--text {excerpt(name, 40)}=..." for name in names[:3]),
        )
    return [
        {name: Text(text) for name, text in zip(names, texts[start : start + len(names)], strict=True)}
        for start in range(0, len(texts), len(names))
    ]


def alongside(
    texts: Sequence[Texts], files: Sequence[str], inputs: Sequence[InputInfo], spec: ModelSpec
) -> list[tuple[Texts | None, str]]:
    """Return which texts and which file make up each sample; None and an empty name where there is none.

    Texts and files are samples of their own where the texts fill all that the model asks for. Otherwise the files fill
    the rest: one text goes with every file, several each with the file of the same place.
    """
    alone: list[tuple[Texts | None, str]] = [(given, "") for given in texts]
    if not files or not any(_leaves_some(given, inputs, spec) for given in texts):
        return [*alone, *((None, file) for file in files)]
    if len(texts) not in {1, len(files)}:
        raise InputError(
            f"{_counted(len(texts))} and {len(files)} files are to go together",
            tip="give one text, or one for each file",
        )
    return list(zip([*texts] * (len(files) // len(texts)), files, strict=True))


def called(texts: Texts | None) -> str:
    """Return what texts are called in messages: how each begins."""
    parts = texts.values() if isinstance(texts, Mapping) else () if texts is None else (texts,)
    return ", ".join(name_of(part) for one in parts for part in (one.text, one.pair) if part is not None)


def _leaves_some(texts: Texts, inputs: Sequence[InputInfo], spec: ModelSpec) -> bool:
    """Say whether texts leave an input of the model that constants do not fill."""
    found = text_inputs(inputs, spec)
    filled = {n for one in found if not isinstance(texts, Mapping) or one.main.name in texts for n in one.names}
    return bool(found) and any(info.name not in filled for info in required(inputs, spec))


def _named(text: str, names: Sequence[str]) -> tuple[str, str]:
    """Split ``question=Who?`` where the first part is one of the names."""
    return next(((name, text[len(name) + 1 :]) for name in names if text.startswith(f"{name}=")), ("", text))


def _by_name(named: Sequence[tuple[str, str]]) -> list[Texts]:
    groups: list[dict[str, Text]] = []
    for name, text in named:
        if not groups or name in groups[-1]:
            groups.append({})
        groups[-1][name] = Text(text)
    return list(groups)


def _counted(count: int) -> str:
    return f"{count} text{'' if count == 1 else 's'}"
