"""Explanation: the result of a method; how it is saved, loaded and compared."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, printable
from .home import write_whole
from .inputs.sample import Sample
from .settings import plain

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure

FORMAT = "onnxplain-explanation"
SCHEMA_VERSION = 1
MOST_BYTES = 4 << 30  # of a saved explanation, unpacked
MOST_RATIO = 2000  # unpacked / packed size of one array


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a method found for one sample and one target.

    ``values`` holds, by input or tensor name, an array shaped like it; its unit is that of the target's score, and its
    sign is kept. ``gap`` is the completeness error sum(feature values) - (score - baseline score), for methods that
    promise completeness. ``standard_error`` has the shape of ``values`` where the method samples.

    Where the method works on features, ``feature_values`` (M,) holds one value per feature, ``feature_names`` their
    names (empty for pixels and elements) and ``feature_labels`` which feature an element belongs to. ``extras`` holds
    whatever else a method gives, by name.
    """

    values: dict[str, np.ndarray]
    method: str
    settings: dict[str, Any]
    target: str
    score: float
    baseline_score: float | None = None
    gap: float | None = None
    standard_error: dict[str, np.ndarray] | None = None
    evaluations: int = 0
    seconds: float = 0.0
    manifest: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    feature_values: np.ndarray | None = None
    feature_errors: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()
    feature_labels: dict[str, np.ndarray] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sample: Sample | None = None

    def __eq__(self, other: object) -> bool:
        """Equal results: all numbers bit for bit, the method, settings and target; times and manifests may differ."""
        if not isinstance(other, Explanation):
            return NotImplemented
        same = ("method", "target", "score", "baseline_score", "gap", "evaluations", "label", "feature_names", "notes")
        if any(not _same(getattr(self, name), getattr(other, name)) for name in same):
            return False
        if plain(self.settings) != plain(other.settings):
            return False
        mine, theirs = self._arrays(), other._arrays()
        return mine.keys() == theirs.keys() and all(_same(mine[k], theirs[k]) for k in mine)

    __hash__ = None  # type: ignore[assignment]  # compared by its arrays

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one ``.npz`` file, without pickles; it is there whole or not at all. Returns its path.

        Raises ``InputError`` where the file cannot be written.
        """
        whole = Path(path)
        whole = whole if whole.suffix == ".npz" else whole.with_name(whole.name + ".npz")
        packed = io.BytesIO()
        header = np.frombuffer(json.dumps(self._header()).encode(), dtype=np.uint8)
        np.savez_compressed(packed, allow_pickle=False, header=header, **self._arrays())
        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            write_whole(whole, packed.getvalue())
        except OSError as error:
            raise InputError(
                f"cannot write '{printable(whole)}': {error.strerror}", tip=f"{len(packed.getvalue())} bytes are needed"
            ) from None
        return whole

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Explanation:
        """Read a saved explanation. Raises ``InputError`` where it is damaged, hostile or of a newer version."""
        header, arrays = _read(Path(path))
        if header.get("schema_version", 0) > SCHEMA_VERSION:
            raise InputError(f"'{printable(path)}' was written by a newer onnxplain", tip="pip install -U onnxplain")
        try:
            return _rebuilt(header, arrays)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"'{printable(path)}' is not a whole explanation", where=printable(error)[:120]) from None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document: everything but large arrays, of which it has shape, extremes and sums."""
        document = {"schema_version": SCHEMA_VERSION, **self._header()}
        document.pop("format")
        sample = document.pop("sample") or {}
        document["input"] = {k: v for k, v in sample.items() if k in {"source", "modality", "label"}}
        document["values"] = {name: _summary(array) for name, array in self.values.items()}
        if self.feature_values is not None and self.feature_names:
            errors = self.feature_errors if self.feature_errors is not None else [None] * len(self.feature_names)
            document["features"] = [
                {"name": n, "value": plain(v), "standard_error": plain(e)}
                for n, v, e in zip(self.feature_names, self.feature_values, errors, strict=True)
            ]
        document.pop("feature_names")
        document["extras"] = {name: _summary(array) for name, array in self.extras.items()}
        return document

    def top_features(self, count: int = 10) -> list[tuple[str, float]]:
        """Return the features of largest absolute value, strongest first; empty where features have no names."""
        if self.feature_values is None or not self.feature_names:
            return []
        order = np.argsort(-np.abs(self.feature_values), kind="stable")[:count]
        return [(self.feature_names[k], float(self.feature_values[k])) for k in order]

    def plot(self, **options: Any) -> Figure:
        """Return a matplotlib figure: an overlay for images, bars for named features; see ``render.figure``."""
        from .render import figure

        return figure(self, **options)

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        from .render import png

        return png(self)

    def __repr__(self) -> str:
        """One line: method, target, score and shapes."""
        shapes = ", ".join(f"{printable(n)} {a.shape}" for n, a in self.values.items())
        return f"<Explanation {self.method} of {printable(self.target)}: score {self.score:.6g}, {shapes}>"

    def _header(self) -> dict[str, Any]:
        sample = None
        if self.sample is not None:
            kept = ("modality", "source", "image_input", "columns", "raw", "label", "preprocessing")
            sample = {name: plain(getattr(self.sample, name)) for name in kept}
        fields = {
            f.name: plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if f.name
            not in {
                "values",
                "standard_error",
                "feature_values",
                "feature_errors",
                "feature_labels",
                "extras",
                "sample",
            }
        }
        return {"format": FORMAT, "schema_version": SCHEMA_VERSION, **fields, "sample": sample}

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {f"values/{n}": a for n, a in self.values.items()}
        arrays |= {f"standard_error/{n}": a for n, a in (self.standard_error or {}).items()}
        arrays |= {f"feature_labels/{n}": a for n, a in self.feature_labels.items()}
        arrays |= {f"extras/{n}": a for n, a in self.extras.items()}
        for name in ("feature_values", "feature_errors"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if self.sample is not None:
            arrays |= {f"feeds/{n}": _unicode(a) for n, a in self.sample.feeds.items()}
            if self.sample.image is not None:
                arrays["image"] = self.sample.image
        return {_key(n): a for n, a in arrays.items()}


def _rebuilt(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Explanation:
    def group(prefix: str) -> dict[str, np.ndarray]:
        return {_name(k).removeprefix(prefix): a for k, a in arrays.items() if _name(k).startswith(prefix)}

    sample = None
    if header.get("sample") is not None:
        kept = dict(header["sample"])
        kept |= {"columns": tuple(kept["columns"]), "raw": tuple(kept["raw"])}
        feeds = {n: a.astype(object) if a.dtype.kind == "U" else a for n, a in group("feeds/").items()}
        sample = Sample(feeds=feeds, image=arrays.get("image"), **kept)
    plain_fields = {
        f.name: header[f.name]
        for f in dataclasses.fields(Explanation)
        if f.name in header and f.name not in {"sample", "feature_names", "notes"}
    }
    return Explanation(
        values=group("values/"),
        standard_error=group("standard_error/") or None,
        feature_values=arrays.get("feature_values"),
        feature_errors=arrays.get("feature_errors"),
        feature_names=tuple(header["feature_names"]),
        feature_labels=group("feature_labels/"),
        extras=group("extras/"),
        notes=tuple(header["notes"]),
        sample=sample,
        **plain_fields,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and arrays after checking sizes; nothing is unpacked before that."""
    shown = f"'{printable(path)}'"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        packed = sum(e.compress_size for e in entries)
        unpacked = sum(e.file_size for e in entries)
        bomb = any(e.file_size > 1 << 20 and e.file_size > MOST_RATIO * max(1, e.compress_size) for e in entries)
        if unpacked > MOST_BYTES or bomb:
            raise InputError(f"{shown} would unpack from {packed} to {unpacked} bytes; it is refused")
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        header = json.loads(arrays.pop("header").tobytes())
    except FileNotFoundError:
        raise InputError(f"there is no file {shown}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, RecursionError, NotImplementedError) as error:
        raise InputError(f"{shown} is not a saved explanation", where=printable(error).split("\n")[0][:120]) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{shown} is not a saved explanation")
    return header, arrays


def _key(name: str) -> str:
    """Return an archive member's name that is safe whatever the tensor is called."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "_-./" else f"%{ord(c):x};" for c in name).replace(
        "..", "%2e;."
    )


def _name(key: str) -> str:
    parts = key.split("%")
    return parts[0] + "".join(chr(int(code, 16)) + rest for code, _, rest in (p.partition(";") for p in parts[1:]))


def _unicode(array: np.ndarray) -> np.ndarray:
    return array.astype(np.str_) if array.dtype == object else array


def _summary(array: np.ndarray) -> dict[str, Any]:
    whole = array.astype(np.float64) if array.dtype.kind in "fiub" else None
    if whole is None or not whole.size:
        return {"shape": list(array.shape)}
    result: dict[str, Any] = {"shape": list(array.shape), "minimum": float(whole.min()), "maximum": float(whole.max())}
    if whole.size <= 64:
        result["data"] = whole.tolist()
    return result | {"sum": float(whole.sum()), "sum_absolute": float(np.abs(whole).sum())}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return list(a) == list(b)
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and np.isnan(a) and np.isnan(b))
