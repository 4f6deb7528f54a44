"""What a model of tables takes: missing values, which some models know what to do with, and categories of text."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import graph
from ..errors import InputError, OnnxplainError, nearest, printable
from ..files import excerpt
from .array import may_miss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..model import Model
    from .sample import Sample

    Feeds = Mapping[str, np.ndarray]

MOST_PATTERNS = 256  # kinds of incomplete rows that a model is tried on
MOST_TENSORS = 2000  # of a model that is looked into; of a larger one the scores alone are

# Operators that know what NaN means, those that leave columns out, and those whose inside is not looked into.
_TAKERS = frozenset(
    {
        "Imputer",
        "TreeEnsembleClassifier",
        "TreeEnsembleRegressor",
        "TreeEnsemble",
        "IsNaN",
        "Where",
        "Equal",
        "OneHotEncoder",
        "LabelEncoder",
        "Shape",
        "Size",
        "Gather",
        "GatherElements",
        "GatherND",
        "Slice",
        "Split",
        "ArrayFeatureExtractor",
        "Compress",
        "If",
        "Loop",
        "Scan",
    }
)
_taken: WeakKeyDictionary[Model, set[bytes]] = WeakKeyDictionary()  # patterns of missing values that a model takes


def accepted(sample: Sample, model: Model) -> Sample:
    """Return the sample with notes on what the model has not seen; ``sample.feeds`` have the batch axis first.

    Raises InputError where a value is missing and the model does not take that, and where a text is none of the
    categories that the spec lists or that the model cannot do without.
    """
    if "table" not in {entry.modality for entry in model.spec.inputs.values()}:
        return sample
    check_missing(sample.feeds, model, source=_place(sample), columns=_column_names(sample, model))
    notes = tuple(note for note in _unseen(sample, model) if note not in sample.notes)
    return dataclasses.replace(sample, notes=(*sample.notes, *notes)) if notes else sample


def _place(sample: Sample) -> str:
    return f"{sample.source}, line {sample.line}" if sample.line else sample.source


def check_missing(
    feeds: Feeds, model: Model, *, source: str = "", columns: Mapping[str, tuple[str, ...]] | None = None
) -> None:
    """Raise InputError where rows hold NaN and the model does not take missing values there.

    It takes them if its scores are finite, and if no operator on the way makes numbers of NaN that does not know what
    NaN means: a tree or an imputer does, a comparison does not.
    """
    tables = may_miss(model.spec)
    gaps = {name: np.isnan(feed) for name, feed in feeds.items() if name in tables and feed.dtype.kind == "f"}
    if not any(gap.any() for gap in gaps.values()):
        return
    flat = np.concatenate([gap.reshape(len(gap), -1) for gap in gaps.values() if gap.ndim], axis=1)
    patterns, first = np.unique(flat, axis=0, return_index=True)
    known = _taken.setdefault(model, set())
    new = [(p.tobytes(), int(k)) for p, k in zip(patterns, first, strict=True) if p.any() and p.tobytes() not in known]
    for pattern, row in new[:MOST_PATTERNS]:
        one = {n: f[row : row + 1] if f.ndim and len(f) == len(flat) else f for n, f in feeds.items()}
        reason = _hindrance(one, model)
        if reason:
            raise _refusal(one, reason, source, row if len(flat) > 1 else None, columns or {})
        known.add(pattern)


def _hindrance(feeds: Feeds, model: Model) -> str:
    """Return why a model does not take this row, empty if it does."""
    kinds = {t.name: t.dtype for t in model.tensors()}
    tensors = [name for name, kind in kinds.items() if kind and kind.startswith("float")]
    with contextlib.suppress(OnnxplainError):
        if not np.isfinite(model.rows(feeds, (model.default_output,))[0]).all():
            return "the model gives no score without it"
    try:
        found = model.rows(feeds, tuple(tensors)) if len(tensors) <= MOST_TENSORS else []
    except OnnxplainError:  # some tensors cannot be outputs; the scores are finite
        return ""
    values = {**feeds, **dict(zip(tensors, found, strict=False))}
    for node in model.proto.graph.node if found else ():
        given = any(_has_nan(values.get(name)) for name in node.input)
        if node.op_type in _TAKERS or not given or any(not kinds.get(name) for name in node.output if name):
            continue
        if not any(_has_nan(values.get(name)) for name in node.output):
            return f"the model does not know missing values: {node.op_type} '{excerpt(node.name)}' makes a number of it"
    return ""


def _has_nan(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype.kind == "f" and bool(np.isnan(array).any())


def _refusal(
    feeds: Feeds, reason: str, source: str, row: int | None, columns: Mapping[str, tuple[str, ...]]
) -> InputError:
    name, place = next(
        (n, int(np.flatnonzero(np.isnan(f))[0])) for n, f in feeds.items() if f.dtype.kind == "f" and np.isnan(f).any()
    )
    names = columns.get(name, ())
    if place < len(names):
        message = f"missing value in column '{excerpt(names[place])}': {reason}"
    else:
        index = [int(k) for k in np.unravel_index(place, feeds[name].shape)[1:]]
        message = f"input '{excerpt(name)}' holds NaN at {index}: {reason}"
    where = ", ".join([*([printable(source)] if source else []), *([f"row {row}"] if row is not None else [])])
    return InputError(message, where=where, tip="fill it in first, as it was done for training")


def _column_names(sample: Sample, model: Model) -> dict[str, tuple[str, ...]]:
    """Return the names of columns by input: the spec's, the sample's, or the name of an input of one value."""
    names: dict[str, tuple[str, ...]] = {}
    start, total = 0, sum(feed.size for feed in sample.feeds.values())
    for info in model.inputs:
        if info.name not in sample.feeds:
            continue
        size = sample.feeds[info.name].size
        own = model.spec.inputs[info.name].columns
        if len(own) != size:
            given = sample.columns[start : start + size] if len(sample.columns) == total else ()
            own = given or ((info.name,) if size == 1 and len(sample.feeds) > 1 else ())
        names[info.name] = own
        start += size
    return names


def _unseen(sample: Sample, model: Model) -> Iterator[str]:
    """Yield notes on texts that are none of a column's categories; InputError where that cannot be."""
    if all(feed.dtype.kind not in "OUS" for feed in sample.feeds.values()):
        return
    named = _column_names(sample, model)
    listed = _categories(model)
    for name, feed in sample.feeds.items():
        is_column = feed.dtype.kind in "OUS" and name in may_miss(model.spec)
        for place, text in enumerate(feed.ravel().tolist()) if is_column else ():
            column = named[name][place] if place < len(named[name]) else f"{name}[{place}]"
            own = model.spec.inputs[name].categories.get(column, ())
            known = listed.get(name, {}).get(place)
            names = own or (known.names if known is not None else ())
            if not names or text in names:
                continue
            told, tip = _unknown(text, column), nearest(str(text)[:200], names)
            if own or (known is not None and known.strict):
                raise InputError(told, where=printable(_place(sample)), tip=tip)
            yield f"{told}, as far as the model knows; {tip}"


def _unknown(text: Any, column: str) -> str:
    if not str(text).strip():
        return f"missing value in column '{excerpt(column)}': it is none of the categories"
    return f"'{excerpt(text)}' is not a category of column '{excerpt(column)}'"


_listed: WeakKeyDictionary[Model, dict[str, dict[int, graph.Categories]]] = WeakKeyDictionary()


def _categories(model: Model) -> dict[str, dict[int, graph.Categories]]:
    if model not in _listed:
        _listed[model] = graph.text_categories(model.proto)
    return _listed[model]
