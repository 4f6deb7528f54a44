"""What an input's name says of a text: that it takes codes of tokens, or what goes with those of which text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROLES = {"attention_mask": "mask", "input_mask": "mask", "token_type_ids": "types", "segment_ids": "types"}
_ROLES |= {"position_ids": "positions"}
_CODES = ("input_ids", "token_ids")
_BARE = {"mask": "mask"}  # words that mean something else in longer names
_WORDS = "|".join((*_CODES, *_ROLES))
_NAME = re.compile(rf"(?P<before>(?:.*[._-])?)(?P<word>{_WORDS})(?P<after>(?:[._-].*)?)", re.DOTALL)


def companion(name: str) -> str:
    """Return the role of an input that goes with codes of tokens, by its name; empty if it has none.

    ``mask`` says which tokens are there, ``types`` which of two texts they belong to, ``positions`` where they stand.

    >>> [companion(n) for n in ("attention_mask:0", "question_segment_ids", "position_ids", "input_ids")]
    ['mask', 'types', 'positions', '']
    """
    base = _base(name)
    found = _NAME.fullmatch(base)
    return _BARE.get(base, "") if found is None else _ROLES.get(found["word"], "")


def is_of_tokens(name: str) -> bool:
    """Say whether a name is usual for codes of tokens or what goes with them; short words such as ``mask`` are not."""
    return _NAME.fullmatch(_base(name)) is not None


def grows(name: str) -> bool:
    """Whether a state's name says that it has a part for each step that was taken, and none before the first."""
    return not words_in(name).isdisjoint(("past", "cache"))


def words_in(name: str) -> set[str]:
    """Return the words that a name is put together from, in small letters."""
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def companions_of(codes: Sequence[str], names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return, by the name of each input of codes, the inputs that go with it and their roles.

    What comes before or after the word in a name must be the same: ``question_attention_mask`` goes with
    ``question_input_ids``. A plain ``attention_mask`` goes with the only codes, whatever they are called.

    >>> companions_of(["input_ids", "decoder_input_ids"], ["attention_mask", "decoder_attention_mask", "x"])
    {'input_ids': {'attention_mask': 'mask'}, 'decoder_input_ids': {'decoder_attention_mask': 'mask'}}
    """
    found: dict[str, dict[str, str]] = {code: {} for code in codes}
    for name in names:
        role, around = companion(name), _around(name)
        if not role or name in found:
            continue
        owners = [code for code in codes if _around(code) == around]
        owners = owners or (list(codes) if around == ("", "") and len(codes) == 1 else [])
        if len(owners) == 1:
            found[owners[0]][name] = role
    return found


def _around(name: str) -> tuple[str, str]:
    """Return what stands before and after the word that tells an input's role."""
    found = _NAME.fullmatch(_base(name))
    return ("", "") if found is None else (found["before"], found["after"])


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(":", maxsplit=1)[0].lower()
