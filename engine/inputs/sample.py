"""A Sample: one instance to be explained, as the model takes it and as a person recognises it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


PARTED = "\n\n"  # between two texts


@dataclass(frozen=True)
class SplitText:
    """A text that went into an input, and the tokens that it was split into.

    ``tokens`` has a name per place on the token axis, or per word of a text that goes in as a string; ``spans`` says
    where each is in ``text``, (begin, end), (0, 0) for special ones. Two texts that went in together are parted by a
    blank line. ``companions`` are the inputs that it filled beside ``input``, with their roles (see ``companion``);
    ``stand_ins`` the codes of the tokens that can stand in for others: ``mask``, ``unk``, ``pad``.
    """

    input: str
    text: str
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    companions: dict[str, str] = field(default_factory=dict)
    stand_ins: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One instance.

    ``feeds`` holds, by input name, what the model takes, with a batch axis of one where the input has one.
    The other fields are what a person recognises; a loader fills those of its modality.
    """

    feeds: dict[str, np.ndarray]
    modality: str = "array"  # image, table, text, series or array
    source: str = ""  # the file (and row) it came from
    image: np.ndarray | None = None  # uint8 (height, width, 3): what the model sees, on the grid of its input
    image_input: str = ""  # the input that ``image`` went into
    columns: tuple[str, ...] = ()  # table: a name per column
    raw: tuple[str, ...] = ()  # table: the values as the file spells them
    label: str = ""  # the true class, where it is known
    notes: tuple[str, ...] = ()  # what a reader of any result should know of the input
    rate: float = 0.0  # series: samples per second, 0 where it is not known
    channels: tuple[str, ...] = ()  # series: a name per channel
    series_input: str = ""  # series: the input that it went into
    texts: tuple[SplitText, ...] = ()  # what the model sees of texts, one for each input that takes one
    preprocessing: dict[str, Any] = field(default_factory=dict)  # what was done to the file, for the manifest
    line: int = 0  # table, texts: where the row begins in its file, counted from 1; 0 if it came from elsewhere

    @property
    def text(self) -> str:
        """All texts, parted by blank lines."""
        return PARTED.join(one.text for one in self.texts)

    def text_in(self, name: str) -> SplitText | None:
        """Return the text that went into an input, None if none did."""
        return next((one for one in self.texts if one.input == name), None)
