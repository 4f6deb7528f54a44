"""The file of an Explanation: one ``.npz`` without pickles, and how it is read when it may be hostile.

It holds the arrays under ``values/INPUT``, ``feeds/INPUT`` and so on, and the rest as JSON under ``header``.
"""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, printable
from ..explanation import Explanation
from ..home import write_whole
from ..inputs.array_file import MAX_BYTES, RATIO_FREE, WRITE_ARRAYS, read_arrays
from ..inputs.sample import Sample, SplitText
from ..inputs.text_parts import check_spans
from ..inputs.tokenizer import check_stand_ins
from ..settings import plain

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "onnxplain-explanation"
SCHEMA_VERSION = 1
SAVE = "explanations are written by 'onnxplain explain MODEL INPUT -o DIR', or by explanation.save(FILE)"
LONGEST_NAME = 65_000  # of a member of a zip archive
_ARRAY = "onnxplain-array"  # stands for an array in the settings of the header
_PER_FEATURE = ("feature_values", "feature_errors")
_APART = {"values", "standard_error", *_PER_FEATURE, "feature_labels", "extras", "sample"}
_SAMPLE = ("modality", "source", "image_input", "columns", "raw", "label", "preprocessing")
_SAMPLE_TEXTS = ("modality", "source", "image_input", "label")
# Fields of a sample that files written before them do not have, and the type of each.
_LATER: dict[str, type] = {"notes": tuple, "rate": float, "channels": tuple, "series_input": str}
_TYPES: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "target": (str,),
    "label": (str,),
    "settings": (dict,),
    "manifest": (dict,),
    "score": (int, float),
    "baseline_score": (int, float, type(None)),
    "gap": (int, float, type(None)),
    "seconds": (int, float),
    "evaluations": (int,),
    "feature_names": (list,),
    "notes": (list,),
}


def write(explanation: Explanation, path: Path) -> Path:
    """Write one file, whole or not at all, and return its path; see ``Explanation.save``."""
    in_settings: list[np.ndarray] = []
    header = _header(explanation, in_settings)
    return write_arrays(path, header, explanation.arrays() | {f"settings/{k}": a for k, a in enumerate(in_settings)})


def write_arrays(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Write a header and arrays as one ``.npz`` file, and return its path; for results of any kind."""
    whole = _whole(path)
    text = json.dumps(header).encode()
    packed = io.BytesIO()
    # Beyond this size, zeros alone would pack like a decompression bomb, which is refused when it is read.
    save = np.savez if any(a.nbytes > RATIO_FREE for a in arrays.values()) else np.savez_compressed
    named = {_key(name): array for name, array in arrays.items()}
    if max(map(len, named), default=0) > LONGEST_NAME:
        raise InputError(
            f"cannot write '{printable(whole)}': a tensor's name has more than {LONGEST_NAME:,} characters"
        )
    save(packed, allow_pickle=False, header=np.frombuffer(text, dtype=np.uint8), **named)
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        write_whole(whole, packed.getvalue())
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot write '{printable(whole)}': {getattr(error, 'strerror', None) or error}",
            tip=f"{packed.tell():,} bytes are needed",
        ) from None
    return whole


def _whole(path: Path) -> Path:
    """Return the path with the ending of these files."""
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")


def read(path: Path) -> Explanation:
    """Read a saved explanation; see ``Explanation.load``."""
    header, arrays = read_parts(path, FORMAT, "explanation", SAVE)
    try:
        return _rebuilt(header, arrays)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise InputError(f"'{printable(path)}' is not a whole explanation", where=printable(error)[:120]) from None


def read_parts(path: Path, kind: str, what: str, how: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a file of that format; ``InputError`` where it is another, newer or damaged.

    ``what`` is written in it and ``how`` such files are made, for messages.
    """
    if not path.exists() and _whole(path).exists():  # as it was named when it was saved
        path = _whole(path)
    try:
        arrays = read_arrays(path, MAX_BYTES)
    except InputError as error:
        tip = "" if error.tip == WRITE_ARRAYS else error.tip
        message = f"this is not a saved {what}" if error.tip == WRITE_ARRAYS else error.message
        raise InputError(message, where=error.where, tip=tip or how) from None
    header = _read_header(arrays)
    version = header.get("schema_version")
    if header.get("format") != kind or not isinstance(version, int):
        raise InputError(f"'{printable(path)}' is not a saved {what}", tip=how)
    if version > SCHEMA_VERSION:
        raise InputError(f"'{printable(path)}' was written by a newer onnxplain", tip="pip install -U onnxplain")
    return header, arrays


def format_of(path: Path) -> str:
    """Return what kind of result a file says that it holds; empty for a file that says nothing."""
    try:
        return str(_read_header(read_arrays(path, MAX_BYTES)).get("format", ""))
    except InputError:
        return ""


def header_of(explanation: Explanation) -> dict[str, Any]:
    """Return all but the arrays, as JSON holds it; an array in the settings leaves its number."""
    return _header(explanation, [])


def _header(explanation: Explanation, in_settings: list[np.ndarray]) -> dict[str, Any]:
    """Return all but the arrays, as JSON holds it; those in the settings are put into ``in_settings``."""
    fields = {f.name: getattr(explanation, f.name) for f in dataclasses.fields(explanation) if f.name not in _APART}
    fields["settings"] = without_arrays(explanation.settings, in_settings)
    sample = None
    if explanation.sample is not None:
        sample = {name: getattr(explanation.sample, name) for name in (*_SAMPLE, *_LATER)}
        sample["texts"] = [dataclasses.asdict(one) for one in explanation.sample.texts]
    found: dict[str, Any] = plain({"format": FORMAT, "schema_version": SCHEMA_VERSION, **fields, "sample": sample})
    return found


def _read_header(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Take the header out of a file's arrays; empty if there is none."""
    packed = arrays.pop("header", np.zeros(0, dtype=np.uint8))
    try:
        header = json.loads(packed.tobytes())
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _rebuilt(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Explanation:
    """Put an explanation together; raises whatever comes of a header or arrays that do not fit."""

    def group(prefix: str, kinds: str = "fiub") -> dict[str, np.ndarray]:
        found = {name_of(k).removeprefix(prefix): a for k, a in arrays.items() if name_of(k).startswith(prefix)}
        return {name: _of_kind(name, array, kinds) for name, array in found.items()}

    for name, kinds in _TYPES.items():
        if not isinstance(header[name], kinds) or isinstance(header[name], bool):
            raise TypeError(f"{name} is {header[name]!r}")
    sample = None
    if header["sample"] is not None:
        kept = {name: header["sample"][name] for name in _SAMPLE}
        if not all(isinstance(kept[name], str) for name in _SAMPLE_TEXTS):
            raise TypeError("a text of the sample is none")
        kept |= {"columns": tuple(map(str, kept["columns"])), "raw": tuple(map(str, kept["raw"]))}
        kept |= {name: _later(name, header["sample"][name]) for name in _LATER if name in header["sample"]}
        feeds = {n: a.astype(object) if a.dtype.kind == "U" else a for n, a in group("feeds/", "fiubU").items()}
        texts = tuple(_split_text(one, feeds) for one in header["sample"].get("texts", ()))
        sample = Sample(feeds=feeds, image=arrays.get("image"), texts=texts, **kept)
    values, errors = group("values/"), group("standard_error/")
    if any(name not in values or array.shape != values[name].shape for name, array in errors.items()):
        raise ValueError("the standard errors do not fit the values")
    names = tuple(map(str, header["feature_names"]))
    fields: dict[str, Any] = {n: _of_kind(n, arrays[n], "fiub") for n in _PER_FEATURE if n in arrays}
    if names and any(array.shape != (len(names),) for array in fields.values()):
        raise ValueError(f"{len(names)} feature names do not fit the values")
    fields |= {name: header[name] for name in _TYPES if name not in {"feature_names", "notes", "settings"}}
    return Explanation(
        values=values,
        settings=with_arrays(header["settings"], arrays),
        standard_error=errors or None,
        feature_names=names,
        feature_labels=group("feature_labels/"),
        extras=group("extras/", "fiubcU"),
        notes=tuple(map(str, header["notes"])),
        sample=sample,
        **fields,
    )


def _split_text(kept: dict[str, Any], feeds: dict[str, np.ndarray]) -> SplitText:
    """Return a text of a sample; raises whatever comes of one that does not fit the feeds."""
    names = {"input": str, "text": str, "tokens": list, "spans": list, "companions": dict, "stand_ins": dict}
    for name, kind in names.items():
        if not isinstance(kept[name], kind):
            raise TypeError(f"{name} is {kept[name]!r}")
    text = SplitText(**{name: _frozen(kept[name]) for name in names})
    check_spans(text.text, text.tokens, text.spans)
    check_stand_ins(text.stand_ins)
    for name, role in ((text.input, ""), *text.companions.items()):
        if name not in feeds or not isinstance(role, str):
            raise ValueError(f"text of input {name!r}")
    return text


def _later(name: str, value: Any) -> Any:
    """Return a field of a sample in its own type; raises ``TypeError`` where it has another."""
    found = tuple(map(_frozen, value)) if isinstance(value, list) else float(value) if _LATER[name] is float else value
    if not isinstance(found, _LATER[name]):
        raise TypeError(f"{name} is {value!r}")
    return found


def _frozen(value: Any) -> Any:
    """Return lists inside a list as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _of_kind(name: str, array: np.ndarray, kinds: str) -> np.ndarray:
    if array.dtype.kind not in kinds:
        raise TypeError(f"array '{name}' holds {array.dtype}")
    return array


def without_arrays(value: Any, found: list[np.ndarray]) -> Any:
    """Put the arrays in a setting into ``found``, and their numbers in their places."""
    if isinstance(value, np.ndarray):
        found.append(value.astype(np.str_) if value.dtype == object else value)
        return {_ARRAY: len(found) - 1}
    if isinstance(value, dict):
        return {k: without_arrays(v, found) for k, v in value.items()}
    return [without_arrays(v, found) for v in value] if isinstance(value, list | tuple) else value


def with_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Undo ``without_arrays``; lists stay lists."""
    if isinstance(value, dict) and value.keys() == {_ARRAY}:
        return arrays[f"settings/{value[_ARRAY]}"]
    if isinstance(value, dict):
        return {k: with_arrays(v, arrays) for k, v in value.items()}
    return [with_arrays(v, arrays) for v in value] if isinstance(value, list) else value


def _key(name: str) -> str:
    """Return an archive member's name that is safe whatever the tensor is called."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-./" else f"%{ord(c):x};" for c in name).replace(
        "..", "%2e;."
    )


def name_of(key: str) -> str:
    """Return the array's name that a member of the archive stands for."""
    parts = key.split("%")
    return parts[0] + "".join(chr(int(code, 16)) + rest for code, _, rest in (p.partition(";") for p in parts[1:]))
