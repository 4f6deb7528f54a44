"""Which inputs of a model take texts: codes of tokens and what goes with them, or the text itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from ..layout import describe
from ..token_inputs import companion, companions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import InputInfo
    from ..spec import ModelSpec


@dataclass(frozen=True)
class TextInputs:
    """An input that takes a text, and the roles of those that go with it: ``mask``, ``types``, ``positions``."""

    main: InputInfo
    companions: dict[str, str]

    @property
    def takes_strings(self) -> bool:
        """True if the text itself goes in, not the codes of its tokens."""
        return self.main.dtype.kind == "O"

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that one text fills."""
        return (self.main.name, *self.companions)


def text_inputs(inputs: Sequence[InputInfo], spec: ModelSpec) -> tuple[TextInputs, ...]:
    """Return the inputs that texts fill, one entry per text; ``spec`` has an entry for each input.

    A text goes into each input whose spec names a tokenizer, each of whole numbers or strings that is text by its spec,
    each of whole numbers that is text by its name, and else into the only input of a model, if it holds one string per
    row.
    """
    mains = [info for info in inputs if _takes_text(info, spec)]
    if not mains:
        return tuple(TextInputs(i, {}) for i in inputs if len(inputs) == 1 and i.dtype.kind == "O" and _holds_one(i))
    codes = [info.name for info in mains if info.dtype.kind != "O"]
    companions = companions_of(codes, [info.name for info in inputs])
    return tuple(TextInputs(info, companions.get(info.name, {})) for info in mains)


def is_column(one: TextInputs, spec: ModelSpec) -> bool:
    """Say whether the spec calls an input of strings a column of a table: its text is the name of a category."""
    entry = spec.inputs[one.main.name]
    return entry.modality == "table" and bool(entry.columns or entry.categories)


def takes(inputs: Sequence[InputInfo]) -> str:
    """Return what a model takes, in words, for messages."""
    return "the model takes " + ", ".join(describe(info) for info in inputs[:4])


def no_text(inputs: Sequence[InputInfo]) -> InputError:
    """Return the error for a model that takes no texts."""
    return InputError(
        "no input of the model is known to take a text",
        where=takes(inputs),
        tip='if one does, say so in a spec: [inputs."NAME"] with modality = "text"',
    )


def _takes_text(info: InputInfo, spec: ModelSpec) -> bool:
    entry = spec.inputs[info.name]
    if entry.modality != "text" or info.dtype.kind not in "iuO":
        return bool(entry.tokenizer)
    return info.dtype.kind == "O" or not companion(info.name)


def _holds_one(info: InputInfo) -> bool:
    """Say whether an input takes one string per row."""
    sizes = [size for axis, size in enumerate(info.shape) if axis != info.batch_axis]
    return all(size == 1 for size in sizes) or (info.batch_axis is None and len(sizes) <= 1)
