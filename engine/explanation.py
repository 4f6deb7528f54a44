"""Explanation: the result of a method; how it is saved, loaded and compared."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import printable
from .settings import plain

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure

    from .inputs.sample import Sample

LONGEST_LIST = 100  # in JSON documents; longer ones are told by their length


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
        if _text(self.settings) != _text(other.settings):
            return False
        mine, theirs = self.arrays(), other.arrays()
        return mine.keys() == theirs.keys() and all(_same(mine[k], theirs[k]) for k in mine)

    __hash__ = None  # type: ignore[assignment]  # compared by its arrays

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one ``.npz`` file, without pickles; it is there whole or not at all. Returns its path.

        Raises ``InputError`` where the file cannot be written.
        """
        from .results.file import write

        return write(self, Path(path))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Explanation:
        """Read a saved explanation. Raises ``InputError`` where it is damaged, hostile or of a newer version."""
        from .results.file import read

        return read(Path(path))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document: everything but large arrays, of which it has shape, extremes and sums.

        Numbers that are not finite are null.
        """
        from .marked_text import marked_text
        from .results.file import header_of

        document = header_of(self)
        document.pop("format")
        document["settings"] = self.settings
        sample = document.pop("sample") or {}
        document["input"] = {k: v for k, v in sample.items() if k in {"source", "modality", "label"}}
        document["input"] |= {k: sample[k] for k in ("rate", "channels") if sample.get(k)}
        if self.sample is not None and self.sample.texts:
            document["input"] |= {"text": self.sample.text}  # that the places of features are in
            document["input"] |= {"texts": [{"input": one.input, "text": one.text} for one in self.sample.texts]}
        document["values"] = {name: _summary(array) for name, array in self.values.items()}
        if self.feature_values is not None and self.feature_names:
            errors = self.feature_errors if self.feature_errors is not None else [None] * len(self.feature_names)
            document["features"] = [
                {"name": n, "value": plain(v), "standard_error": plain(e)}
                for n, v, e in zip(self.feature_names, self.feature_values, errors, strict=True)
            ]
            marked = marked_text(self)
            for mark in marked.marks if marked is not None else ():
                document["features"][mark.feature].setdefault("spans", []).append([mark.begin, mark.end])
        document.pop("feature_names")
        document["extras"] = {name: _summary(array) for name, array in self.extras.items()}
        features = document.pop("features", None)  # all of them, however many
        shortened: dict[str, Any] = brief(document)
        return shortened if features is None else shortened | {"features": [brief(one) for one in features]}

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
        return f"<Explanation {printable(self.method)} of {printable(self.target)}: score {self.score:.6g}, {shapes}>"

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays but those in the settings: ``values/INPUT``, ``extras/NAME``, ``feeds/INPUT`` and so on."""
        arrays = {f"values/{n}": a for n, a in self.values.items()}
        arrays |= {f"standard_error/{n}": a for n, a in (self.standard_error or {}).items()}
        arrays |= {f"feature_labels/{n}": a for n, a in self.feature_labels.items()}
        arrays |= {f"extras/{n}": a for n, a in self.extras.items()}
        for name in ("feature_values", "feature_errors"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if self.sample is not None:
            arrays |= {f"feeds/{n}": a for n, a in self.sample.feeds.items()}
            if self.sample.image is not None:
                arrays["image"] = self.sample.image
        return {name: _unicode(array) for name, array in arrays.items()}


def _unicode(array: np.ndarray) -> np.ndarray:
    return array.astype(np.str_) if array.dtype == object else array


def _summary(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.kind == "U" and array.size <= 64:
        return {"shape": list(array.shape), "data": array.tolist()}
    whole = array.astype(np.float64) if array.dtype.kind in "fiub" else None
    if whole is None or not whole.size:
        return {"shape": list(array.shape)}
    result: dict[str, Any] = {"shape": list(array.shape), "minimum": float(whole.min()), "maximum": float(whole.max())}
    if whole.size <= 64:
        result["data"] = whole.tolist()
    with np.errstate(invalid="ignore"):  # infinities of both signs add up to NaN
        return result | {"sum": float(whole.sum()), "sum_absolute": float(np.abs(whole).sum())}


def brief(value: Any) -> Any:
    """Return what a JSON document shows of a value: arrays and long lists in short, null for what is not finite."""
    if isinstance(value, np.ndarray):
        return brief(_summary(value))
    if isinstance(value, dict):
        return {str(k): brief(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [brief(v) for v in value] if len(value) <= LONGEST_LIST else {"length": len(value)}
    found = plain(value)
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _text(value: Any) -> str:
    """Return settings as text that is the same for equal ones, NaN included."""
    return json.dumps(plain(value), sort_keys=True)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return list(a) == list(b)
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))
