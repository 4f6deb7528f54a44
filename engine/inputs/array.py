"""From arrays, given in Python or in .npy and .npz files, to what the model takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, nearest, printable
from ..files import excerpt
from ..layout import InputInfo, describe, shape_text
from ..token_inputs import grows
from .array_file import MAX_BYTES, read_arrays
from .code_names import texts_of_codes
from .filling import completed
from .frames import in_order
from .image import to_view
from .rows import MAX_SAMPLES, missing_rows, split_source
from .sample import Sample
from .strings import in_column, texts_of_strings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ..spec import InputSpec, ModelSpec

__all__ = ["InputInfo", "check_feeds", "load_arrays", "split_rows"]

Feeds = dict[str, "NDArray[Any]"]


def check_feeds(
    feeds: Mapping[str, ArrayLike] | ArrayLike, inputs: Sequence[InputInfo], missing: Collection[str] = ()
) -> Feeds:
    """Return the feeds as the model takes them, or InputError with the input, what it takes and what it was given.

    ``feeds`` are arrays by input name, or one array for a model with one input. A missing batch axis is added. Numbers
    are converted only where nothing but precision is lost: whole numbers and booleans to floats, floats to shorter
    floats, floats to integers where they are whole and in range. NaN and infinity are refused, but for NaN in the
    inputs named by ``missing``. All inputs that have a batch axis must have the same number of rows, at least one.

    >>> from onnxplain.engine.model import TensorSpec
    >>> row = TensorSpec("row", np.dtype("float32"), ("N", 2), batch_axis=0)
    >>> check_feeds([1, 2], [row])["row"]
    array([[1., 2.]], dtype=float32)
    """
    given = feeds if isinstance(feeds, Mapping) else _lone(feeds, inputs)
    _check_names(given, inputs)
    arrays = {info.name: _check_one(given[info.name], info, missing=info.name in missing) for info in inputs}
    rows = {info.name: arrays[info.name].shape[info.batch_axis] for info in inputs if info.batch_axis is not None}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"'{excerpt(name)}' {count}" for name, count in rows.items())
        raise InputError("the inputs have different numbers of rows", where=counts)
    return arrays


def _lone(feeds: ArrayLike, inputs: Sequence[InputInfo]) -> dict[str, ArrayLike]:
    if len(inputs) == 1:
        return {inputs[0].name: feeds}
    if not inputs:
        raise InputError("this model takes no input, so there is nothing in one to explain")
    names = ", ".join(describe(info) for info in inputs[:4])
    raise InputError(f"the model has {len(inputs)} inputs: give an array for each, by name", where=names)


def _check_names(given: Mapping[str, Any], inputs: Sequence[InputInfo]) -> None:
    names = [info.name for info in inputs]
    for name in given:
        if name not in names:
            raise InputError(f"the model has no input '{excerpt(name)}'", tip=nearest(str(name)[:200], names))
    missing = [describe(info) for info in inputs if info.name not in given]
    if missing:
        more = f", and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise InputError("no array was given for " + ", ".join(missing[:4]) + more)


def may_miss(spec: ModelSpec | None) -> frozenset[str]:
    """Return the names of the inputs in which NaN stands for a missing value: those of tables."""
    return frozenset(name for name, entry in (spec.inputs if spec else {}).items() if entry.modality == "table")


def _check_one(value: ArrayLike, info: InputInfo, *, missing: bool) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as problem:  # the last of torch tensors that have a gradient
        raise InputError(
            f"what was given for {describe(info)} is not an array: {excerpt(problem, 100)}",
            tip="lists must have the same length throughout" if isinstance(value, list | tuple) else "",
        ) from None
    _refuse_other(value, array, info)
    return _convert(_check_shape(array, info), info, missing=missing)


def _refuse_other(value: Any, array: NDArray[Any], info: InputInfo) -> None:
    """Refuse what NumPy takes for an array, and is none that could be meant."""
    kind = type(value)
    if kind.__module__.startswith("PIL."):
        raise InputError(
            f"what was given for {describe(info)} is an image that is not prepared",
            tip="give the image's file, which is prepared as the spec says, or the array that the model takes",
        )
    if array.ndim == 0 and array.dtype.kind in "OSU" and info.dtype.kind != "O":
        raise InputError(f"what was given for {describe(info)} is no array: it is of type {kind.__name__}")
    if np.ma.is_masked(value):
        raise InputError(f"the array for {describe(info)} masks values", tip="fill them first: array.filled(...)")


def _check_shape(array: NDArray[Any], info: InputInfo) -> NDArray[Any]:
    """Add a missing batch axis and compare sizes. A shape of () is that of a scalar or of an input of any shape."""
    axis, wanted = info.batch_axis, info.shape
    shaped = np.expand_dims(array, axis) if axis is not None and array.ndim == len(wanted) - 1 else array
    is_open = not wanted and axis is None
    fits = is_open or (
        shaped.ndim == len(wanted)
        and all(
            number == axis or not isinstance(size, int) or shaped.shape[number] == size
            for number, size in enumerate(wanted)
        )
    )
    if not fits:
        raise InputError(
            f"input '{excerpt(info.name)}' takes the shape {shape_text(info)}, not {array.shape}",
            tip=_transposed(array, info),
        )
    if axis is not None and shaped.shape[axis] == 0:
        raise InputError(f"no rows were given for input '{excerpt(info.name)}'")
    if shaped.size == 0 and not _may_be_empty(shaped, info):
        raise InputError(f"the array for input '{excerpt(info.name)}' is empty: shape {array.shape}")
    return shaped


def _may_be_empty(array: NDArray[Any], info: InputInfo) -> bool:
    """Whether an array holds a cache of earlier steps, of which there are none: along an axis that is left open."""
    own = [n for n, size in zip(array.shape, info.shape, strict=False) if not n and not isinstance(size, int)]
    return array.ndim > 2 and grows(info.name) and len(own) == array.shape.count(0)


def _transposed(array: NDArray[Any], info: InputInfo) -> str:
    """Return a tip if channels first and channels last were mixed up."""
    wanted, rank = info.shape, len(info.shape)
    if rank != 4 or array.ndim not in (3, 4):
        return ""
    inner = array.shape[-3:]
    for order in ((2, 0, 1), (1, 2, 0)):
        swapped = tuple(inner[i] for i in order)
        if all(not isinstance(size, int) or size == given for size, given in zip(wanted[1:], swapped, strict=True)):
            return f"the axes may be in another order: the last three would fit as {swapped}"
    return ""


def _convert(array: NDArray[Any], info: InputInfo, *, missing: bool) -> NDArray[Any]:
    """Return the array in the input's dtype, all finite but for NaN in floats where values may be ``missing``."""
    if info.dtype.kind == "O":
        return _strings(array, info)
    if array.dtype.kind not in "biuf" and not _is_float(array.dtype):
        found = {"O": "Python objects", "U": "text", "S": "text", "T": "text"}.get(array.dtype.kind, array.dtype.name)
        raise InputError(f"input {describe(info)} takes numbers, not {found}", tip=_spelled(array))
    allowed = missing and info.dtype.kind == "f"
    if _is_float(array.dtype):
        _refuse_non_finite(array, array, info, "holds", missing=allowed)
    if array.dtype == info.dtype:
        return array
    if _is_float(info.dtype):
        with np.errstate(over="ignore", under="ignore"):
            converted = array.astype(info.dtype)
        _refuse_non_finite(converted, array, info, f"is too large for {info.dtype.name} with", missing=allowed)
        return converted
    return _to_whole(array, info)


def _is_float(dtype: np.dtype[Any]) -> bool:
    """Also true of the short floats that ml_dtypes adds, whose kind is 'V'."""
    return dtype.kind == "f" or (dtype.kind == "V" and dtype.name.startswith(("bfloat", "float")))


def _spelled(array: NDArray[Any]) -> str:
    if not array.size or array.dtype.kind not in "USTO":
        return ""
    return f"it holds {excerpt(repr(array.ravel()[:1].tolist()[0]))}"


def _refuse_non_finite(tested: NDArray[Any], given: NDArray[Any], info: InputInfo, verb: str, *, missing: bool) -> None:
    finite = ~np.isinf(tested) if missing else np.isfinite(tested)
    if finite.all():
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), finite.shape))
    raise InputError(
        f"the array for input '{excerpt(info.name)}' {verb} {given[index]} at {list(index)}",
        where=f"{int(finite.size - np.count_nonzero(finite))} of {finite.size} values",
        tip="replace missing values first",
    )


def _to_whole(array: NDArray[Any], info: InputInfo) -> NDArray[Any]:
    """Convert to an integer or boolean type, if no value changes."""
    low, high = (0, 1) if info.dtype.kind == "b" else (np.iinfo(info.dtype).min, np.iinfo(info.dtype).max)
    if array.dtype.kind != "b":
        wide = array.astype(np.float64) if _is_float(array.dtype) else array
        # Compared in float64, the largest int64 rounds up to 2**63, which does not fit: so the bound is exclusive.
        below = wide < float(high) + 1 if wide.dtype.kind == "f" else wide <= high
        whole = wide == np.rint(wide) if wide.dtype.kind == "f" else True
        fits = below & (wide >= low) & whole
        if not np.all(fits):
            index = tuple(int(i) for i in np.unravel_index(int(np.argmin(fits)), array.shape))
            raise InputError(
                f"input {describe(info)} cannot hold {array[index]}, at {list(index)} of the array given",
                tip="round or encode the values first",
            )
    return array.astype(info.dtype)


def _strings(array: NDArray[Any], info: InputInfo) -> NDArray[Any]:
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8").astype(object)
        except UnicodeDecodeError:
            raise InputError(f"the byte strings for input '{excerpt(info.name)}' are not UTF-8") from None
    strings = array.astype(object)
    for entry in strings.flat:
        if not isinstance(entry, str):
            raise InputError(f"input {describe(info)} takes strings, not {excerpt(repr(entry))}")
    return strings


def split_rows(
    feeds: Mapping[str, ArrayLike] | ArrayLike,
    inputs: Sequence[InputInfo],
    *,
    spec: ModelSpec | None = None,
    source: str = "",
    first: int = 0,
) -> list[Sample]:
    """Return a Sample per row of the feeds; inputs without a batch axis go into each.

    A data frame's columns are found by name, where the model's are known (``frames.in_order``).
    The spec adds what a person recognises: the columns of a table, the text that codes stand for, and the picture in an
    image whose preprocessing is known. The samples' ``source`` is ``source:row``, with rows counted from ``first``.

    >>> from onnxplain.engine.model import TensorSpec
    >>> row = TensorSpec("row", np.dtype("float32"), ("N", 2), batch_axis=0)
    >>> [sample.feeds["row"].tolist() for sample in split_rows([[1, 2], [3, 4]], [row])]
    [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    given = in_column(in_order(feeds, inputs, spec), inputs, spec)
    arrays = check_feeds(completed(given, inputs, spec), inputs, may_miss(spec))
    counts = [arrays[info.name].shape[info.batch_axis] for info in inputs if info.batch_axis is not None]
    return [
        _sample(_row(arrays, inputs, row), inputs, spec, f"{source}:{first + row}" if source and counts else source)
        for row in range(counts[0] if counts else 1)
    ]


def _row(arrays: Feeds, inputs: Sequence[InputInfo], row: int) -> Feeds:
    return {info.name: _take(arrays[info.name], info.batch_axis, slice(row, row + 1)) for info in inputs}


def _take(array: NDArray[Any], axis: int | None, rows: slice) -> NDArray[Any]:
    if axis is None:
        return array
    taken: NDArray[Any] = array[(slice(None),) * axis + (rows,)]
    return taken


def _sample(feeds: Feeds, inputs: Sequence[InputInfo], spec: ModelSpec | None, source: str) -> Sample:
    texts = (*texts_of_codes(feeds, spec), *texts_of_strings(feeds, inputs, spec))
    found = _recognised(feeds, spec, source)
    return dataclasses.replace(found, texts=texts, modality="text") if texts else found


def _recognised(feeds: Feeds, spec: ModelSpec | None, source: str) -> Sample:
    entries = [entry for name, entry in (spec.inputs if spec else {}).items() if name in feeds]
    entry = next((e for e in entries if e.modality not in {"array", "state"}), None)
    if entry is None or entry.modality == "series":
        series = entry or next((e for e in entries if "T" in e.layout), None)
        return _series(feeds, series, source) if series is not None else Sample(feeds, source=source)
    if entry.modality == "image":
        image = _picture(feeds[entry.name], entry)
        return Sample(feeds, "image", source, image=image, image_input=entry.name if image is not None else "")
    tables = [e for e in entries if e.modality == "table"]
    columns = tuple(column for e in tables for column in e.columns)
    cells = tuple(str(value) for e in tables for value in feeds[e.name].ravel()) if entry.modality == "table" else ()
    named = columns if len(columns) == len(cells) else ()
    return Sample(feeds, entry.modality, source, columns=named, raw=cells)


def _series(feeds: Feeds, entry: InputSpec, source: str) -> Sample:
    known = {"layout": entry.layout} if entry.layout else {}
    return Sample(
        feeds,
        entry.modality,
        source,
        rate=entry.rate,
        channels=entry.channels,
        series_input=entry.name,
        preprocessing=known,
    )


def _picture(array: NDArray[Any], entry: InputSpec) -> NDArray[np.uint8] | None:
    if entry.preprocessing is None or not entry.layout:
        return None
    return to_view(array, entry.preprocessing, entry.layout)


def load_arrays(
    source: str, inputs: Sequence[InputInfo], spec: ModelSpec | None = None, *, max_bytes: int = MAX_BYTES
) -> list[Sample]:
    """Return a Sample per row of a .npy or .npz file, or of the rows that ``source`` names.

    An .npz holds arrays by input name; for a model with one input, a lone array may have any name.
    """
    path, rows = split_source(source)
    found = read_arrays(path, max_bytes)
    is_lone = len(found) == 1 and (len(inputs) == 1 or path.suffix.lower() == ".npy")
    where = printable(path)
    try:
        given = in_column(next(iter(found.values())) if is_lone else found, inputs, spec)
        arrays = check_feeds(completed(given, inputs, spec), inputs, may_miss(spec))
    except InputError as problem:
        raise InputError(
            problem.message, where=f"{where}, {problem.where}" if problem.where else where, tip=problem.tip
        ) from None
    count = max((arrays[i.name].shape[i.batch_axis] for i in inputs if i.batch_axis is not None), default=1)
    last = count - 1 if rows.last is None else rows.last
    if last >= count or rows.first >= count:
        raise missing_rows(rows, count, where)
    if last - rows.first >= MAX_SAMPLES:
        raise InputError(
            f"this file has {count:,} rows, more than the {MAX_SAMPLES:,} taken at once",
            where=where,
            tip=f"choose some: {path.name}:0-{MAX_SAMPLES - 1}",
        )
    wanted = slice(rows.first, last + 1)
    chosen = {info.name: _take(arrays[info.name], info.batch_axis, wanted) for info in inputs}
    return split_rows(chosen, inputs, spec=spec, source=str(path), first=rows.first)
