"""Texts: from sentences to the inputs of a model, by its tokenizer or as strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, InputError, nearest, printable
from ..files import excerpt
from ..layout import describe
from .array import check_feeds
from .filling import completed, required
from .sample import Sample
from .strings import split_string
from .text_codes import Codes
from .text_inputs import no_text, takes, text_inputs
from .tokenizer import TOKENIZER, find_tokenizer, read_tokenizer

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ..layout import InputInfo
    from ..spec import ModelSpec
    from .text_inputs import TextInputs

LARGEST_TEXT = 1 << 20  # characters
LONGEST_SOURCE = 48


@dataclass(frozen=True)
class Text:
    """A text to be explained, as opposed to the name of a file; ``tokenizer`` is a tokenizer.json to be used for it.

    ``pair`` is a second text that goes with it: the hypothesis after a premise, the context after a question. It goes
    through the same tokenizer, or into the model's second input of texts.

    >>> import onnxplain
    >>> onnxplain.Text("a wonderful, moving film").text
    'a wonderful, moving film'
    """

    text: str
    tokenizer: str | os.PathLike[str] | None = None
    source: str = ""  # what it is called; its beginning, in quotation marks, if empty
    pair: str | None = None


Texts = Text | Mapping[str, Text]  # one for all, or by the name of the input that it goes into


@dataclass(frozen=True)
class Place:
    """What a model's own file says about its texts.

    ``folder`` is that of the file; ``embeddings`` says, by the name of an input, how many codes of tokens its embedding
    has rows for and how many places there are, 0 where the graph does not tell. ``tokenizer`` is what the user named.
    """

    folder: Path | None = None
    embeddings: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tokenizer: str | os.PathLike[str] | None = None


def load_text(given: Texts, inputs: Sequence[InputInfo], spec: ModelSpec, place: Place | None = None) -> Sample:
    """Return the Sample of texts for the inputs that they fill; ``spec`` has an entry for each input of the model.

    Codes of tokens go in as the model's own type of whole numbers, filled up with padding where it takes a fixed number
    of them, cut off where the text has more than it takes: then the sample's notes and preprocessing say so. A model
    of strings gets the text itself. Raises ``InputError`` where a text is empty or no input takes it,
    ``CapabilityError`` where there is no tokenizer or nothing to read it with, ``SettingError`` where it is damaged.
    """
    chosen = _assigned(given, inputs, spec)
    parts = [_read(text, found, inputs, spec, place or Place()) for found, text in chosen]
    names = [name for found, _ in chosen for name in found.names]
    feeds = {name: array for part in parts for name, array in part.feeds.items()}
    return Sample(
        check_feeds(feeds, [info for info in inputs if info.name in names]),
        modality="text",
        source=", ".join(part.source for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
        texts=tuple(text for part in parts for text in part.texts),
        preprocessing={"texts": {text.input: part.preprocessing for part in parts for text in part.texts}},
    )


def filled_up(read: Sample, inputs: Sequence[InputInfo], spec: ModelSpec) -> Sample:
    """Return a sample of texts with states and constants in the inputs that these leave; InputError where others are.

    ``inputs`` are all of the model's.
    """
    left = _left_by(tuple(read.feeds), inputs, spec, read.source)
    rest = completed({}, left, spec)
    return joined(read, Sample(check_feeds(rest, left) if left else {}), inputs)


def check_alone(inputs: Sequence[InputInfo], spec: ModelSpec, place: Place | None, source: str) -> None:
    """Raise InputError, as each text by itself would, where one text is not all that the model takes."""
    ((found, text),) = _assigned(Text("", source=source), inputs, spec)
    _tokenizer_named(text, found, place or Place())
    _left_by(found.names, inputs, spec, source)


def _left_by(names: Sequence[str], inputs: Sequence[InputInfo], spec: ModelSpec, source: str) -> list[InputInfo]:
    """Return the inputs other than those in ``names``; InputError where one is no state and no constant."""
    left = [info for info in inputs if info.name not in names]
    needed = required(left, spec)
    if needed:
        raise InputError(
            f"the text does not fill input {describe(needed[0])}, and nothing else was given for it",
            where=f"{printable(source)}; {takes(inputs)}",
            tip="name a file (an image, a table, an .npz) beside --text; in Python, a dict by input name with a Text",
        )
    return left


def joined(read: Sample, other: Sample, inputs: Sequence[InputInfo]) -> Sample:
    """Return one sample of texts and of what fills the other inputs."""
    feeds = read.feeds | other.feeds
    return Sample(
        **{name: getattr(other, name) for name in ("image", "image_input", "columns", "raw", "label")},
        **{name: getattr(other, name) for name in ("rate", "channels", "series_input")},
        feeds={info.name: feeds[info.name] for info in inputs},
        modality="text",
        source=", ".join(source for source in (read.source, other.source) if source),
        notes=(*read.notes, *other.notes),
        texts=read.texts,
        preprocessing=other.preprocessing | read.preprocessing,
    )


def name_of(text: str) -> str:
    """Return what a text is called in results: its beginning in quotation marks.

    >>> name_of("  A film of hope.  ")
    '"A film of hope."'
    """
    line = " ".join(text[: 10 * LONGEST_SOURCE].split())
    return f'"{line}"' if len(line) <= LONGEST_SOURCE else f'"{line[:LONGEST_SOURCE].rstrip()}..."'


def _assigned(given: Texts, inputs: Sequence[InputInfo], spec: ModelSpec) -> list[tuple[TextInputs, Text]]:
    """Return which text goes into which input."""
    found = text_inputs(inputs, spec)
    if not found:
        raise no_text(inputs)
    by_name = {entry.main.name: entry for entry in found}
    if isinstance(given, Mapping):
        for name in given:
            _check_takes_text(name, by_name, inputs)
        return [(entry, given[name]) for name, entry in by_name.items() if name in given]
    if len(found) == 1:
        return [(found[0], given)]
    if len(found) == 2 and given.pair is not None:
        return [(found[0], Text(given.text, given.tokenizer)), (found[1], Text(given.pair, given.tokenizer))]
    example = " ".join(f"--text {excerpt(name, 40)}=..." for name in list(by_name)[:3])
    raise InputError(
        f"the model takes {len(found)} texts, and {'two were' if given.pair is not None else 'one was'} given",
        where=takes([entry.main for entry in found]),
        tip=f'name them: {example}; in Python {{"{excerpt(found[0].main.name, 40)}": onnxplain.Text("..."), ...}}',
    )


def _check_takes_text(name: str, known: Mapping[str, TextInputs], inputs: Sequence[InputInfo]) -> None:
    if name in known:
        return
    info = next((info for info in inputs if info.name == name), None)
    if info is None:
        raise InputError(f"the model has no input '{excerpt(name)}'", tip=nearest(str(name)[:200], known))
    raise InputError(
        f"input {describe(info)} is not known to take a text",
        tip="texts go into " + ", ".join(f"'{excerpt(n)}'" for n in known),
    )


def _read(given: Text, found: TextInputs, inputs: Sequence[InputInfo], spec: ModelSpec, place: Place) -> Sample:
    """Return the sample of one text, or of two that go into one input, for the inputs that it fills."""
    texts = [given.text] if given.pair is None else [given.text, given.pair]
    for text in texts:
        _check_text(text, given.source)
    sources = [given.source or name_of(text) for text in texts]
    source = given.source or ", ".join(sources)
    named = _tokenizer_named(given, found, place)
    if found.takes_strings:
        return _as_string(texts, found, source)
    tokenizer = read_tokenizer(Path(named) if named is not None else _tokenizer_file(found, spec, place))
    known, positions = place.embeddings.get(found.main.name, (0, 0))
    limits = (spec.inputs[found.main.name].length or tokenizer.length, positions)
    limit = min([n for n in limits if n], default=0)
    codes = Codes(texts, found, inputs, tokenizer, limit=limit, known=known, sources=sources)
    return Sample(
        codes.feeds,
        modality="text",
        source=source,
        notes=(codes.note,) if codes.note else (),
        texts=(codes.split,),
        preprocessing=codes.done,
    )


def _tokenizer_named(given: Text, found: TextInputs, place: Place) -> str | os.PathLike[str] | None:
    """Return the tokenizer that the text or the user names; InputError where the text goes in without one."""
    named = given.tokenizer if given.tokenizer is not None else place.tokenizer
    if found.takes_strings and named is not None:
        raise InputError(f"input {describe(found.main)} takes the text itself: no tokenizer is used for it")
    return named


def _check_text(text: Any, source: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"a text must be a string, not {excerpt(repr(text))}")
    where = printable(source or name_of(text))
    if not text.strip():
        raise InputError("the text is empty", where=printable(source))
    if len(text) > LARGEST_TEXT:
        raise InputError(f"the text has more than {LARGEST_TEXT:,} characters, the limit", where=where)
    lone = re.search("[\ud800-\udfff]", text)
    if lone:
        raise InputError(f"the text is not valid Unicode: half a character at place {lone.start()}", where=where)


def _as_string(texts: Sequence[str], found: TextInputs, source: str) -> Sample:
    if len(texts) > 1:
        raise InputError(
            f"input {describe(found.main)} takes one string, and two texts were given",
            where=printable(source),
            tip="put them into one text, as it was done for training",
        )
    (text,) = texts
    split = split_string(found.main.name, text)
    if split is None:
        raise InputError("the text has no words and no punctuation marks", where=printable(source))
    return Sample(
        {found.main.name: np.full([1] * len(found.main.shape), text, dtype=object)},
        modality="text",
        source=source,
        texts=(split,),
        preprocessing={"tokenizer": None, "words": len(split.spans)},
    )


def _tokenizer_file(found: TextInputs, spec: ModelSpec, place: Place) -> Path:
    file = find_tokenizer(spec.inputs[found.main.name].tokenizer, spec.source, place.folder)
    if file is None:
        raise CapabilityError(
            f"input {describe(found.main)} takes codes of tokens, and there is no tokenizer to make them",
            where=printable(place.folder) if place.folder is not None else "",
            tip=f"put the model's {TOKENIZER} beside it, name it in the spec, or give it with --tokenizer",
        )
    return file
