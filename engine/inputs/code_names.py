"""What whole numbers in an array stand for, where the spec says it: bytes, or tokens of a vocabulary.

Arrays of such codes are read back to a text, so that they are explained and shown as one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError, printable
from ..files import existing_file, read_json, read_text
from ..spec import BYTES
from ..token_inputs import companions_of
from .sample import PARTED, SplitText
from .tokenizer import LARGEST_TOKENIZER, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ..spec import InputSpec, ModelSpec

    Feeds = Mapping[str, NDArray[Any]]

LONGEST = 1 << 16  # codes of one input that are read back
_SPECIAL = re.compile(r"\[[A-Z]+\]|</?s>|<\|?[a-z]+\|?>")
_SPACES = ("\u2581", "\u0120")  # before the first piece of a word: SentencePiece's sign, and that of byte-level BPE
_GOES_ON = "##"  # before a piece that goes on with a word: WordPiece's sign


def texts_of_codes(feeds: Feeds, spec: ModelSpec | None) -> tuple[SplitText, ...]:
    """Return the texts that the codes in one row of arrays stand for, as far as the spec says what they mean.

    SettingError where the spec names a file that is no vocabulary.
    """
    entries = [entry for name, entry in (spec.inputs if spec else {}).items() if _is_row(feeds.get(name))]
    told = {entry.name: vocabulary for entry in entries if (vocabulary := _vocabulary(entry, spec)) is not None}
    companions = companions_of(list(told), feeds)
    return tuple(_split(name, feeds[name][0].tolist(), told[name], companions[name]) for name in told)


def _is_row(feed: NDArray[Any] | None) -> bool:
    return (
        feed is not None and feed.dtype.kind in "iu" and feed.ndim == 2 and 0 < feed.size <= LONGEST and len(feed) == 1
    )


def _vocabulary(entry: InputSpec, spec: ModelSpec | None) -> dict[int, str] | None:
    """Return the names of an input's codes; empty for bytes, None where nothing says what they mean."""
    named = entry.codes or entry.tokenizer
    if named == BYTES:
        return {}
    if not named or spec is None or not spec.source:
        return None
    path = existing_file(Path(spec.source).parent / named, SettingError)
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, _: int, __: int) -> dict[int, str]:
    """Read vocab.txt (a name per line), vocab.json (codes by name) or tokenizer.json."""
    if path.suffix.lower() != ".json":
        return dict(enumerate(read_text(path, LARGEST_TOKENIZER).splitlines()))
    content = read_json(path, LARGEST_TOKENIZER)
    model = content.get("model") if isinstance(content, dict) else None
    listed = model.get("vocab") if isinstance(model, dict) else content
    found: dict[Any, Any] = {}
    if isinstance(listed, list):  # names, or pairs of a name and its logarithmic frequency
        found = {code: one[0] if isinstance(one, list) and one else one for code, one in enumerate(listed)}
    elif isinstance(listed, dict):
        found = {code: name for name, code in listed.items()}
    added = content.get("added_tokens") if isinstance(content, dict) else None
    for one in added if isinstance(added, list) else ():
        if isinstance(one, dict):
            found[one.get("id")] = one.get("content")
    if not found or not all(type(code) is int and isinstance(name, str) for code, name in found.items()):
        raise SettingError(
            "this is no vocabulary", where=printable(path), tip="vocab.txt, vocab.json and tokenizer.json are read"
        )
    return found


def _split(name: str, codes: Sequence[int], vocabulary: Mapping[int, str], companions: dict[str, str]) -> SplitText:
    """Return codes as a text with its tokens; special ones have no place in it and part what is around them."""
    pieces = list(_spelled(codes, vocabulary) if vocabulary else _decoded(codes))
    tokens: list[str] = []
    spans: list[tuple[int, int]] = []
    text, apart = "", False
    for token, written, count in pieces:
        tokens += [token] * count
        if not written:
            spans += [(0, 0)] * count
            apart = bool(text)
            continue
        text += PARTED if apart else ""
        kept = written.lstrip() if vocabulary and (apart or not text) else written
        start = len(text) + len(kept) - len(kept.lstrip())
        text, apart = text + kept, False
        spans += [(start if kept.strip() else len(text) - len(kept), len(text))] * count
    codes_of = {token: code for code, token in vocabulary.items()}
    stand_ins = {role: codes_of[n] for role, names in USUAL.items() for n in names[::-1] if n in codes_of}
    if not vocabulary:
        beyond = sorted({code for code in codes if not 0 <= code < 256})
        stand_ins = {"pad": beyond[0]} if len(beyond) == 1 and beyond[0] >= 0 else {}
    return SplitText(name, text, tuple(tokens), tuple(spans), companions, stand_ins)


def _decoded(codes: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Yield the name, the letters and the number of bytes of each character; hexadecimal where it is not printed."""
    place = 0
    while place < len(codes):
        code = codes[place]
        if not 0 <= code < 256:
            yield f"<{code}>", "", 1
            place += 1
            continue
        letter, length = _character(codes[place : place + 4])
        shown = letter if letter.isprintable() or letter in "\n\t" else ""
        if shown:
            yield shown, shown, length
            place += length
        else:
            yield f"\\x{code:02x}", f"\\x{code:02x}", 1
            place += 1


def _character(codes: Sequence[int]) -> tuple[str, int]:
    """Return the UTF-8 character that bytes begin with and its length; an unprintable one where they are none."""
    for length in range(1, len(codes) + 1):
        if min(codes[:length]) >= 0 and max(codes[:length]) < 256:
            try:
                return bytes(codes[:length]).decode(), length
            except UnicodeDecodeError:
                continue
    return "\0", 1


def _spelled(codes: Sequence[int], vocabulary: Mapping[int, str]) -> Iterator[tuple[str, str, int]]:
    """Yield the name of each token and its letters, with a space before them where a word begins."""
    marked = any(vocabulary.get(code, "").startswith(_SPACES) for code in codes)
    for code in codes:
        name = vocabulary.get(code, f"<{code}>")
        if code not in vocabulary or _SPECIAL.fullmatch(name):
            yield name, "", 1
        elif marked:
            yield name, name.replace(_SPACES[0], " ").replace(_SPACES[1], " "), 1
        else:
            yield name, name[len(_GOES_ON) :] if name.startswith(_GOES_ON) else f" {name}", 1
