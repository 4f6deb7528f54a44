"""Which inputs of a model take a text: codes of tokens and what goes with them, or the text itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .array import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import InputInfo
    from ..spec import ModelSpec

CODES = ("input_ids", "ids", "tokens", "token_ids", "decoder_input_ids")


@dataclass(frozen=True)
class TextInputs:
    """The input that takes the text, and the roles of the others by name: ``mask``, ``types``, ``positions``."""

    main: InputInfo
    companions: dict[str, str]

    @property
    def takes_strings(self) -> bool:
        """True if the text itself goes in, not the codes of its tokens."""
        return self.main.dtype.kind == "O"


def companion(name: str) -> str:
    """Return the role of an input that goes with codes of tokens, by its name; empty if it has none.

    ``mask`` says which tokens are there, ``types`` which of two texts they belong to, ``positions`` where they stand.

    >>> [companion(n) for n in ("attention_mask:0", "segment_ids", "position_ids", "input_ids")]
    ['mask', 'types', 'positions', '']
    """
    words = {"attention_mask": "mask", "input_mask": "mask", "token_type_ids": "types", "segment_ids": "types"}
    words |= {"position_ids": "positions", "mask": "mask"}
    return words.get(_base(name), "")


def text_inputs(inputs: Sequence[InputInfo], spec: ModelSpec) -> TextInputs | None:
    """Return the inputs that a text fills, or None if the model takes none; ``spec`` has an entry for each input.

    The text goes into the input whose spec names a tokenizer, else into that of whole numbers which is text by its spec
    or its name, else into the only input of strings, if it holds one string per row.
    """
    others = {info.name: companion(info.name) for info in inputs}
    named = [info for info in inputs if spec.inputs[info.name].tokenizer]
    codes = [
        i for i in inputs if spec.inputs[i.name].modality == "text" and i.dtype.kind in "iu" and not others[i.name]
    ]
    main = next(
        (i for i in [*named, *codes] if i in named or _base(i.name) in CODES), codes[0] if len(codes) == 1 else None
    )
    if main is None:
        strings = [info for info in inputs if info.dtype.kind == "O"]
        return TextInputs(strings[0], {}) if len(strings) == 1 == len(inputs) and _holds_one(strings[0]) else None
    return TextInputs(main, {name: role for name, role in others.items() if name != main.name})


def takes(inputs: Sequence[InputInfo]) -> str:
    """Return what a model takes, in words, for messages."""
    return "the model takes " + ", ".join(describe(info) for info in inputs[:4])


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(":", maxsplit=1)[0].lower()


def _holds_one(info: InputInfo) -> bool:
    """Say whether an input takes one string per row."""
    sizes = [size for axis, size in enumerate(info.shape) if axis != info.batch_axis]
    return all(size == 1 for size in sizes) or (info.batch_axis is None and len(sizes) <= 1)
