"""Texts that go into a model as strings: cut into words, also where they come as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .sample import SplitText
from .text_inputs import is_column, text_inputs
from .text_parts import words_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..layout import InputInfo
    from ..spec import ModelSpec


def split_string(name: str, text: str) -> SplitText | None:
    """Return the words of the text that goes into an input as it is; None if it has no words and no marks."""
    spans = words_in(text)
    return SplitText(name, text, tuple(text[begin:end] for begin, end in spans), spans) if spans else None


def texts_of_strings(
    feeds: Mapping[str, NDArray[Any]], inputs: Sequence[InputInfo], spec: ModelSpec | None
) -> tuple[SplitText, ...]:
    """Return the texts in one row of arrays, of the inputs that take a text as a string."""
    names = [name for name in _of_texts(inputs, spec) if feeds[name].size == 1]
    found = (split_string(name, str(feeds[name].reshape(-1)[0])) for name in names)
    return tuple(split for split in found if split is not None)


def in_column(given: Any, inputs: Sequence[InputInfo], spec: ModelSpec | None) -> Any:
    """Return a list of texts as a row for each, where the only input takes a string per row; else what was given."""
    names = _of_texts(inputs, spec)
    if len(inputs) != 1 or not names or len(inputs[0].shape) != 2:
        return given
    if isinstance(given, Mapping):
        return {name: in_column(value, inputs, spec) if name in names else value for name, value in given.items()}
    array = np.asarray(given, dtype=object) if isinstance(given, list | tuple | str) else given
    is_list = isinstance(array, np.ndarray) and array.ndim <= 1 and array.dtype.kind in "OU"
    return array.reshape(-1, 1) if is_list else given


def _of_texts(inputs: Sequence[InputInfo], spec: ModelSpec | None) -> list[str]:
    if spec is None or any(info.name not in spec.inputs for info in inputs):
        return []
    return [t.main.name for t in text_inputs(inputs, spec) if t.takes_strings and not is_column(t, spec)]
