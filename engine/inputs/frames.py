"""Tables that know the names of their columns, as pandas and polars have them: found by name, like those of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, nearest
from ..files import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..layout import InputInfo
    from ..spec import ModelSpec


def in_order(given: Any, inputs: Sequence[InputInfo], spec: ModelSpec | None) -> Any:
    """Return a data frame, or a row of one, as the model takes it: arrays with its columns in the model's order.

    A model takes named columns where its spec lists them, or where it has an input for each. Anything else, and columns
    that are only numbered, come back as they are. InputError where a column is missing or unknown.
    """
    names = _names(given)
    if names is None:
        return given
    listed = tuple(spec.inputs[inputs[0].name].columns) if spec is not None and len(inputs) == 1 else ()
    if listed:
        _check(names, listed)
        return np.asarray(given)[..., [names.index(column) for column in listed]]
    wanted = [info.name for info in inputs]
    if len(wanted) > 1:
        _check(names, wanted)
        return {name: np.asarray(given[name]).reshape(-1, 1) for name in wanted}
    return given


def _names(given: Any) -> list[str] | None:
    """Return the names of the columns; None for what has none."""
    shape: tuple[int, ...] = getattr(given, "shape", ())
    labels = getattr(given, "columns", None) if len(shape) == 2 else getattr(given, "index", None)
    if isinstance(given, np.ndarray) or labels is None or len(shape) not in (1, 2) or callable(labels):
        return None
    names = list(labels)
    return names if len(names) == shape[-1] and all(isinstance(name, str) for name in names) else None


def _check(names: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(f"the table has no column '{excerpt(missing[0])}'", tip=nearest(missing[0], names))
    odd = [name for name in names if name not in wanted]
    if odd or len(set(names)) < len(names):
        what = f"column '{excerpt(odd[0])}', which the model does not take" if odd else "the same column twice"
        chosen = ", ".join(map(repr, wanted[:3])) + (", ..." if len(wanted) > 3 else "")
        raise InputError(f"the table has {what}", tip=f"choose the model's columns: table[[{chosen}]]")
