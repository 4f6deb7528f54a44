"""A Sample: one instance to be explained, as the model takes it and as a person recognises it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


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
    preprocessing: dict[str, Any] = field(default_factory=dict)  # what was done to the file, for the manifest
