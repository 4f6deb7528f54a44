"""Texts: from a sentence or a .txt file to the inputs of a model, by its tokenizer or as a string."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CapabilityError, InputError, printable
from ..files import excerpt, read_text
from .array import check_feeds, describe
from .sample import Sample
from .text_inputs import companion, takes, text_inputs
from .text_parts import trimmed, words_in
from .tokenizer import TOKENIZER, Tokenizer, find_tokenizer

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ..layout import InputInfo
    from ..spec import ModelSpec
    from .text_inputs import TextInputs
    from .tokenizer import Piece

LARGEST_TEXT = 1 << 20  # bytes of a file, characters of a text
LONGEST_SOURCE = 48


@dataclass(frozen=True)
class Text:
    """A text to be explained, as opposed to the name of a file; ``tokenizer`` is a tokenizer.json to be used for it.

    >>> import onnxplain
    >>> onnxplain.Text("a wonderful, moving film")
    Text(text='a wonderful, moving film', tokenizer=None, source='')
    """

    text: str
    tokenizer: str | os.PathLike[str] | None = None
    source: str = ""  # what it is called; its beginning, in quotation marks, if empty


@dataclass(frozen=True)
class Place:
    """What a model's own file says about its texts.

    ``folder`` is that of the file, ``codes`` how many codes of tokens the embedding has rows for, ``positions`` how
    many places; 0 where the graph does not tell. ``tokenizer`` is what the user named.
    """

    folder: Path | None = None
    codes: int = 0
    positions: int = 0
    tokenizer: str | os.PathLike[str] | None = None


def load_text_file(path: Path, inputs: Sequence[InputInfo], spec: ModelSpec, place: Place | None) -> Sample:
    """Return the Sample of the text in a UTF-8 file of at most 1 MiB."""
    text = read_text(path, LARGEST_TEXT, InputError)
    return load_text(Text(text, source=str(path)), inputs, spec, place)


def load_text(given: Text, inputs: Sequence[InputInfo], spec: ModelSpec, place: Place | None = None) -> Sample:
    """Return the Sample of a text for a model; ``spec`` has an entry for each input.

    Codes of tokens go in as the model's own type of whole numbers, filled up with padding where it takes a fixed number
    of them, cut off where the text has more than it takes: then the sample's notes and preprocessing say so. A model
    of strings gets the text itself. Raises ``InputError`` where the text is empty or the model takes none,
    ``CapabilityError`` where there is no tokenizer or nothing to read it with, ``SettingError`` where it is damaged.
    """
    source = given.source or name_of(given.text)
    _check_text(given.text, source)
    found = text_inputs(inputs, spec)
    if found is None:
        raise InputError(
            "no input of the model is known to take a text",
            where=takes(inputs),
            tip='if one does, say so in a spec: [inputs."NAME"] with modality = "text"',
        )
    if found.takes_strings:
        return _as_string(given.text, found, inputs, source)
    for name in [n for n, role in found.companions.items() if not role]:
        raise InputError(
            f"nothing says what a text puts into input '{excerpt(name)}'",
            where=takes(inputs),
            tip="give arrays for all inputs instead, as an .npz file or a dict by input name",
        )
    tokenizer = Tokenizer(_tokenizer_file(given, found, spec, place or Place()))
    return _as_codes(given.text, found, inputs, spec, place or Place(), tokenizer, source)


def name_of(text: str) -> str:
    """Return what a text is called in results: its beginning in quotation marks.

    >>> name_of("  A film of hope.  ")
    '"A film of hope."'
    """
    line = " ".join(text[: 10 * LONGEST_SOURCE].split())
    return f'"{line}"' if len(line) <= LONGEST_SOURCE else f'"{line[:LONGEST_SOURCE].rstrip()}..."'


def _check_text(text: str, source: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"a text must be a string, not {excerpt(repr(text))}")
    if not text.strip():
        raise InputError("the text is empty", where="" if source == '""' else printable(source))
    if len(text) > LARGEST_TEXT:
        raise InputError(f"the text has more than {LARGEST_TEXT:,} characters, the limit", where=printable(source))
    lone = re.search("[\ud800-\udfff]", text)
    if lone:
        raise InputError(
            f"the text is not valid Unicode: half a character at place {lone.start()}", where=printable(source)
        )


def _as_string(text: str, found: TextInputs, inputs: Sequence[InputInfo], source: str) -> Sample:
    spans = words_in(text)
    if not spans:
        raise InputError("the text has no words and no punctuation marks", where=printable(source))
    array = np.full([1] * len(found.main.shape), text, dtype=object)
    return Sample(
        check_feeds({found.main.name: array}, inputs),
        modality="text",
        source=source,
        text=text,
        tokens=tuple(text[begin:end] for begin, end in spans),
        spans=spans,
        text_input=found.main.name,
        preprocessing={"tokenizer": None, "words": len(spans)},
    )


def _tokenizer_file(given: Text, found: TextInputs, spec: ModelSpec, place: Place) -> Path:
    named = given.tokenizer if given.tokenizer is not None else place.tokenizer
    if named is not None:
        return Path(named)
    file = find_tokenizer(spec.inputs[found.main.name].tokenizer, spec.source, place.folder)
    if file is None:
        raise CapabilityError(
            f"input {describe(found.main)} takes codes of tokens, and there is no tokenizer to make them",
            where=printable(place.folder) if place.folder is not None else "",
            tip=f"put the model's {TOKENIZER} beside it, name it in the spec, or give it with --tokenizer",
        )
    return file


def _as_codes(
    text: str,
    found: TextInputs,
    inputs: Sequence[InputInfo],
    spec: ModelSpec,
    place: Place,
    tokenizer: Tokenizer,
    source: str,
) -> Sample:
    fixed = _fixed_length(found.main, inputs)
    entry = spec.inputs[found.main.name]
    most = min([n for n in (fixed, entry.length or tokenizer.length, place.positions) if n], default=0)
    pieces, dropped = tokenizer.pieces(text, most)
    spans = [_tight(text, piece.span) for piece in pieces]
    if all(begin == end for begin, end in spans):
        raise InputError("the text has no token of its own, only special ones", where=printable(source))
    _check_codes(pieces, tokenizer, found, place)
    begin, end = _covered(text, spans, dropped)
    padding = max(fixed - len(pieces), 0)
    before = padding if tokenizer.pads_left else 0
    if padding and "pad" not in tokenizer.stand_ins and "mask" not in found.companions.values():
        raise InputError(
            f"the text has {len(pieces)} tokens, input {describe(found.main)} takes {fixed}, "
            "and neither a padding token nor a mask can fill the rest",
            where=printable(tokenizer.path),
        )

    def filled(values: Sequence[int], fill: int) -> list[int]:
        return [fill] * before + list(values) + [fill] * (padding - before)

    pad = tokenizer.stand_ins.get("pad", 0)
    there = filled([1] * len(pieces), 0)
    rows = {
        "": filled([piece.code for piece in pieces], pad),
        "mask": there,
        "types": filled([piece.kind for piece in pieces], 0),
        "positions": [max(place, 0) for place in (np.cumsum(there) - 1).tolist()],
    }
    feeds = {info.name: _shaped(rows[found.companions.get(info.name, "")], info, inputs) for info in inputs}
    moved = [(max(a - begin, 0), max(z - begin, 0)) if a < z else (0, 0) for a, z in spans]
    name = tokenizer.path.name
    return Sample(
        check_feeds(feeds, inputs),
        modality="text",
        source=source,
        notes=(_cut_off(len(pieces), dropped),) if dropped else (),
        text=text[begin:end],
        tokens=tuple(_padded([p.name for p in pieces], "", before, padding)),
        spans=tuple(_padded(moved, (0, 0), before, padding)),
        text_input=found.main.name,
        preprocessing={
            "tokenizer": name,
            "tokenizer_digest": tokenizer.digest,
            "tokens": len(pieces),
            "padding": padding,
            "left_off": dropped,
            "most": most,
            "stand_ins": tokenizer.stand_ins,
        },
    )


def _padded(values: list[Any], fill: Any, before: int, padding: int) -> list[Any]:
    return [fill] * before + values + [fill] * (padding - before)


def _cut_off(kept: int, dropped: int) -> str:
    return f"the text was cut off after {kept} tokens, the most that the model takes; {dropped} more were left off"


def _tight(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return a token's span without the space around it, unless it is nothing but space."""
    inner = trimmed(text, *span)
    return inner if inner[0] < inner[1] else span


def _covered(text: str, spans: Sequence[tuple[int, int]], dropped: int) -> tuple[int, int]:
    """Return the part of the text that the tokens are of: all of it if none were left off."""
    if not dropped:
        return 0, len(text)
    own = [span for span in spans if span[0] < span[1]]
    first, last = min(begin for begin, _ in own), max(end for _, end in own)
    return (0 if not text[:first].strip() else first), last


def _check_codes(pieces: Sequence[Piece], tokenizer: Tokenizer, found: TextInputs, place: Place) -> None:
    """Refuse codes for which the model has no embedding, or which its input cannot hold."""
    room = np.iinfo(found.main.dtype).max + 1
    most = min(place.codes or room, room)
    for piece in pieces:
        if piece.code >= most:
            raise InputError(
                f"token '{excerpt(piece.name)}' has the code {piece.code}, but the model knows {most:,} tokens only "
                f"and the tokenizer has {tokenizer.count:,}",
                where=printable(tokenizer.path),
                tip="this tokenizer belongs to another model",
            )


def _fixed_length(info: InputInfo, inputs: Sequence[InputInfo]) -> int:
    """Return how many codes an input takes, 0 if any number."""
    sizes = _without_rows(info, inputs)
    if len(sizes) != 1:
        raise InputError(f"input {describe(info)} has not the shape (rows, tokens), so no text fits it")
    return sizes[0] if isinstance(sizes[0], int) else 0


def _without_rows(info: InputInfo, inputs: Sequence[InputInfo]) -> list[int | str | None]:
    """Return the sizes of an input but for the batch axis, which may be a leading one of one without being known so."""
    sizes = [size for axis, size in enumerate(info.shape) if axis != info.batch_axis]
    batched = any(i.batch_axis is not None for i in inputs)
    return sizes[1:] if not batched and len(sizes) == 2 and sizes[0] == 1 else sizes


def _shaped(row: Sequence[int], info: InputInfo, inputs: Sequence[InputInfo]) -> np.ndarray:
    """Return a row of codes with the axes and in the type of an input."""
    sizes = _without_rows(info, inputs)
    if len(sizes) != 1 or (isinstance(sizes[0], int) and sizes[0] != len(row)):
        raise InputError(
            f"input {describe(info)} does not fit a text of {len(row)} tokens", tip="give arrays, as an .npz file"
        )
    if info.dtype.kind in "iu" and max(row) > np.iinfo(info.dtype).max:
        raise InputError(f"input {describe(info)} cannot hold {max(row)}, of the {companion(info.name) or 'codes'}")
    array = np.array([row], dtype=np.int64).astype(info.dtype)
    if len(info.shape) == 1:
        return np.asarray(array[0])
    return np.asarray(array.T if info.batch_axis == 1 else array)
