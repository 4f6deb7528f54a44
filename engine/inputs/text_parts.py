"""Parts of a text, as places in it: words, sentences, and which tokens make up which part."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Span = tuple[int, int]

# Scripts without spaces between words: Han, Hiragana, Katakana, Thai, Lao, Burmese, Khmer. A character is a word there.
_UNSPACED = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED += "\U00020000-\U0003ffff"
_LETTER = rf"[^\W{_UNSPACED}]"
_MARK = "\u0300"  # stands for every accent and vowel sign, which belong to the letter before them
_MARKS = rf"{_MARK}\u200c\u200d\ufe0e\ufe0f"  # and joiners
_TONES = "\U0001f3fb-\U0001f3ff"  # of skin, which change the picture before them
_PICTURE = rf"[^\w\s{_MARKS}](?:[{_MARK}\ufe0e\ufe0f{_TONES}]|\u200d[^\w\s{_MARKS}])*"
_WORD = re.compile(
    rf"{_LETTER}[{_MARKS}]*(?:{_LETTER}|[{_MARKS}]|(?<=\w)[-'\u2019\u2010](?={_LETTER}))*"
    rf"|[{_UNSPACED}][{_MARKS}]*"
    r"|[\U0001f1e6-\U0001f1ff]{2}"  # a flag
    rf"|({_PICTURE})\1*"
    r"|[^\w\s]"
)
# A sentence ends with a point, an exclamation or a question mark, quotes and brackets that follow it, and a space; in
# scripts without spaces without that; and where a paragraph ends.
_END = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u2019\u201d)\]]*+(?=\s)|[\u3002\uff01\uff1f]++[\u300d\u300f\u201d]*+|\n[^\S\n]*+\n"
)


def words_in(text: str) -> tuple[Span, ...]:
    """Return where the words and the punctuation marks of a text are, as (begin, end).

    A word may hold apostrophes and hyphens; repeated marks (``...``, ``!!!``) are one, and so is what is drawn as one
    picture. In scripts that are written without spaces each character is a word.

    >>> text = "Don't miss it... a well-made film!"
    >>> [text[begin:end] for begin, end in words_in(text)]
    ["Don't", 'miss', 'it', '...', 'a', 'well-made', 'film', '!']
    """
    return tuple(match.span() for match in _WORD.finditer(_with_one_mark(text)))


def _with_one_mark(text: str) -> str:
    """Return the text with one accent in the place of each accent and vowel sign of whatever script."""
    if text.isascii():
        return text
    return "".join(_MARK if letter > "\u02ff" and category(letter)[0] == "M" else letter for letter in text)


def sentences_in(text: str) -> tuple[Span, ...]:
    """Return where the sentences of a text are, without the space around them.

    >>> text = "A film. Of 2.5 hours! Why?"
    >>> [text[begin:end] for begin, end in sentences_in(text)]
    ['A film.', 'Of 2.5 hours!', 'Why?']
    """
    ends = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    return tuple(span for span in (trimmed(text, *pair) for pair in pairwise(ends)) if span[0] < span[1])


def trimmed(text: str, begin: int, end: int) -> Span:
    """Return the span without the space at its ends; one of nothing but space becomes empty."""
    start = end - len(text[begin:end].lstrip())
    return start, max(start, begin + len(text[begin:end].rstrip()))


def check_spans(text: str, tokens: Sequence[str], spans: Sequence[Span]) -> None:
    """Raise ``ValueError`` unless there is a span within the text for each token, as tuples of whole numbers."""
    if len(tokens) != len(spans) or not all(type(token) is str for token in tokens):
        raise ValueError(f"{len(tokens)} tokens and {len(spans)} spans")
    for begin, end in spans:
        if type(begin) is not int or type(end) is not int or not 0 <= begin <= end <= len(text):
            raise ValueError(f"span {begin, end} of a text of {len(text)} characters")


def grouped(spans: Sequence[Span], parts: Sequence[Span]) -> list[int]:
    """Return for each span (of a token) the number of its group, counted from 0 in the order of first tokens.

    Tokens that share a part (a word) are one group, and so are those of parts that share a token. A token outside all
    parts is a group of its own; an empty span (a special token) has none: -1.

    >>> grouped([(0, 0), (0, 3), (3, 5), (6, 7)], [(0, 5), (6, 7)])
    [-1, 0, 0, 1]
    """
    root = _forest(len(spans))
    owner: dict[int, int] = {}  # the first token of a part
    place = 0
    for token, (begin, end) in enumerate(spans):
        while place and parts[place - 1][1] > begin:
            place -= 1
        while place < len(parts) and parts[place][1] <= begin:
            place += 1
        part = place
        while begin < end and part < len(parts) and parts[part][0] < end:
            root(token, owner.setdefault(part, token))
            part += 1
    numbers: dict[int, int] = {}
    return [
        numbers.setdefault(root(token, token), len(numbers)) if begin < end else -1
        for token, (begin, end) in enumerate(spans)
    ]


def _forest(count: int) -> Callable[[int, int], int]:
    """Return a function that joins the groups of two tokens and returns the first token of the joined group."""
    parent = list(range(count))

    def find(token: int) -> int:
        while parent[token] != token:
            parent[token] = parent[parent[token]]
            token = parent[token]
        return token

    def join(one: int, other: int) -> int:
        first, last = sorted((find(one), find(other)))
        parent[last] = first
        return first

    return join
