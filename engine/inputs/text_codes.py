"""From texts to codes of tokens: what a tokenizer makes of one text, or of two, in the shape that the model takes."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, printable
from ..files import excerpt
from ..layout import describe
from ..token_inputs import companion
from .sample import PARTED, SplitText
from .text_parts import trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import InputInfo
    from .text_inputs import TextInputs
    from .tokenizer import Piece, Tokenizer

Span = tuple[int, int]


class Codes:
    """The codes of a text, or of two that go together, as the inputs take them.

    ``limit`` is the most tokens that spec, tokenizer and graph allow (0: any number), ``known`` how many codes the
    model has an embedding for (0: not known). InputError where a text has no token of its own, or the model cannot take
    its codes; ``sources`` are what the texts are called then.
    """

    def __init__(
        self,
        texts: Sequence[str],
        found: TextInputs,
        inputs: Sequence[InputInfo],
        tokenizer: Tokenizer,
        *,
        limit: int,
        known: int,
        sources: Sequence[str],
    ) -> None:
        self._found, self._inputs, self._tokenizer = found, inputs, tokenizer
        self._fixed = _fixed_length(found.main, inputs)
        self._most = min([n for n in (self._fixed, limit) if n], default=0)
        self._pieces, self.dropped = tokenizer.pieces(texts, self._most)
        self._check_codes(known)
        self._padding = max(self._fixed - len(self._pieces), 0)
        self._before = self._padding if tokenizer.pads_left else 0
        spans = [_tight(texts[piece.part], piece.span) for piece in self._pieces]
        covered = []
        for part, (text, source) in enumerate(zip(texts, sources, strict=True)):
            own = [s for s, piece in zip(spans, self._pieces, strict=True) if piece.part == part and s[0] < s[1]]
            if not own:
                raise InputError("the text has no token of its own, only special ones", where=printable(source))
            covered.append(_covered(text, own, self.dropped))
        kept = [text[slice(*span)] for text, span in zip(texts, covered, strict=True)]
        starts = list(accumulate((len(text) + len(PARTED) for text in kept), initial=0))
        self._text = PARTED.join(kept)
        self._spans = [
            _moved(span, starts[piece.part] - covered[piece.part][0])
            for span, piece in zip(spans, self._pieces, strict=True)
        ]

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        """What goes into the inputs, by name: codes, mask, types and positions."""
        there = self._filled([1] * len(self._pieces), 0)
        rows = {
            "": self._filled([piece.code for piece in self._pieces], self._tokenizer.stand_ins.get("pad", 0)),
            "mask": there,
            "types": self._filled([piece.kind for piece in self._pieces], 0),
            "positions": [max(place, 0) for place in (np.cumsum(there) - 1).tolist()],
        }
        roles = {self._found.main.name: "", **self._found.companions}
        return {i.name: _shaped(rows[roles[i.name]], i, self._inputs) for i in self._inputs if i.name in roles}

    @property
    def split(self) -> SplitText:
        """The text with its tokens."""
        return SplitText(
            self._found.main.name,
            self._text,
            tuple(self._filled([piece.name for piece in self._pieces], "")),
            tuple(self._filled(self._spans, (0, 0))),
            dict(self._found.companions),
            self._tokenizer.stand_ins,
        )

    @property
    def done(self) -> dict[str, Any]:
        """What was done to the text, for the manifest."""
        return {
            "tokenizer": self._tokenizer.path.name,
            "tokenizer_digest": self._tokenizer.digest,
            "tokens": len(self._pieces),
            "padding": self._padding,
            "pads": "left" if self._tokenizer.pads_left else "right",
            "left_off": self.dropped,
            "most": self._most,
        }

    @property
    def note(self) -> str:
        """Say what was left off; empty if nothing was."""
        if not self.dropped:
            return ""
        return (
            f"the text was cut off after {len(self._pieces)} tokens, the most that the model takes; "
            f"{self.dropped} more {'was' if self.dropped == 1 else 'were'} left off"
        )

    def _filled(self, values: Sequence[Any], fill: Any) -> list[Any]:
        """Fill a row up to the length that the model takes; InputError where nothing can fill it."""
        if self._padding and "pad" not in self._tokenizer.stand_ins and "mask" not in self._found.companions.values():
            raise InputError(
                f"the text has {len(self._pieces)} tokens, input {describe(self._found.main)} takes {self._fixed}, "
                "and neither a padding token nor a mask can fill the rest",
                where=printable(self._tokenizer.path),
            )
        return [fill] * self._before + list(values) + [fill] * (self._padding - self._before)

    def _check_codes(self, known: int) -> None:
        """Refuse codes for which the model has no embedding, or which its input cannot hold."""
        room = np.iinfo(self._found.main.dtype).max + 1
        most = min(known or room, room)
        beyond: list[Piece] = [piece for piece in self._pieces if piece.code >= most]
        if beyond:
            raise InputError(
                f"token '{excerpt(beyond[0].name)}' has the code {beyond[0].code}, but the model knows {most:,} tokens "
                f"only and the tokenizer has {self._tokenizer.count:,}",
                where=printable(self._tokenizer.path),
                tip="this tokenizer belongs to another model",
            )


def _tight(text: str, span: Span) -> Span:
    """Return a token's span without the space around it, unless it is nothing but space."""
    inner = trimmed(text, *span)
    return inner if inner[0] < inner[1] else span


def _covered(text: str, own: Sequence[Span], dropped: int) -> Span:
    """Return the part of a text that its tokens are of: all of it if none were left off."""
    if not dropped:
        return 0, len(text)
    first, last = min(begin for begin, _ in own), max(end for _, end in own)
    return (0 if not text[:first].strip() else first), last


def _moved(span: Span, by: int) -> Span:
    begin, end = span
    return (begin + by, end + by) if begin < end else (0, 0)


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
