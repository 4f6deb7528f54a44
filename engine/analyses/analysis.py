"""Analysis: the result of studying a model over data; how it is saved, loaded and compared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, printable
from ..explanation import brief
from ..results.file import SCHEMA_VERSION, name_of, read_parts, with_arrays, without_arrays, write_arrays
from ..settings import plain

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure

Cell = str | float | int | None
FORMAT = "onnxplain-analysis"
SAVE = "analyses are written by 'onnxplain analyse NAME MODEL --data FILE -o DIR', or by analysis.save(FILE)"
_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "settings": (dict,),
    "columns": (list,),
    "rows": (list,),
    "picture": (str,),
    "words": (dict,),
    "notes": (list,),
    "evaluations": (int,),
    "seconds": (int, float),
    "manifest": (dict,),
}


@dataclass(frozen=True, eq=False)
class Analysis:
    """What an analysis found of a model over data.

    ``rows`` is a table with the head ``columns``: text, numbers or None (not known), the most telling row first.
    ``arrays`` hold the numbers behind it by name. ``picture`` says how they are drawn, whatever the analysis is called,
    and with it which arrays there are:

    ``bars``: ``names`` (M,) and ``values`` (M,), with ``spread`` (M,) where it is known; the largest first.
    ``curves``: ``panels`` (P,) and ``series`` (S,), names; per panel p ``grid/p`` (G,), numbers or names, and
    ``mean/p`` (S, G); where they are known ``single/p`` (N, G), curves of single rows, and ``data/p``, where data lie.
    ``surface``: ``panels`` (2,), names; ``grid/0`` (G,), ``grid/1`` (H,) and ``mean`` (G, H).
    ``none``: the table is all there is.

    ``listing`` names arrays of equal length that are the columns of a further, ranked table, such as one of all the
    things that were compared.

    ``words`` are texts for pictures: ``title``, ``below`` (a line below it), ``value`` (what the numbers are),
    ``notes``, ``listing`` (over that table), for bars ``origin`` (where they begin; 0 if not given), for curves
    ``across`` (what the grids are) and ``scale`` (``own`` where each panel has a scale of its own).
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    listing: tuple[str, ...] = ()
    picture: str = "none"
    words: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    evaluations: int = 0
    seconds: float = 0.0
    manifest: dict[str, Any] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Equal results: all numbers bit for bit, names and settings; times and manifests may differ."""
        if not isinstance(other, Analysis):
            return NotImplemented
        mine, theirs = (_header(one, []) for one in (self, other))
        for header in (mine, theirs):
            del header["seconds"], header["manifest"]
        if str(mine) != str(theirs) or self.arrays.keys() != other.arrays.keys():
            return False
        pairs = ((a, other.arrays[name]) for name, a in self.arrays.items())
        return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]  # compared by its arrays

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one ``.npz`` file, without pickles; it is there whole or not at all. Returns its path.

        Raises ``InputError`` where the file cannot be written.
        """
        in_settings: list[np.ndarray] = []
        header = _header(self, in_settings)
        arrays = {f"arrays/{n}": _unicode(a) for n, a in self.arrays.items()}
        return write_arrays(Path(path), header, arrays | {f"settings/{k}": a for k, a in enumerate(in_settings)})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Analysis:
        """Read a saved analysis. Raises ``InputError`` where it is damaged, hostile or of a newer version."""
        header, arrays = read_parts(Path(path), FORMAT, "analysis", SAVE)
        try:
            return _rebuilt(header, arrays)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"'{printable(path)}' is not a whole analysis", where=printable(error)[:120]) from None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document: everything but large arrays, of which it has shape, extremes and sums.

        Numbers that are not finite are null. The table is there whole, a dict by column for each row.
        """
        document = _header(self, [])
        document.pop("format")
        document["settings"] = self.settings
        for name in ("columns", "rows", "listing", "words", "picture"):
            document.pop(name)
        document["arrays"] = dict(self.arrays)
        shortened: dict[str, Any] = brief(document)
        shortened["rows"] = [dict(zip(self.columns, map(brief, row), strict=True)) for row in self.rows]
        if self.listing:
            shortened["listing"] = [dict(zip(self.listing, map(brief, row), strict=True)) for row in self.listed()]
        return shortened

    def listed(self, most: int | None = None) -> list[tuple[Cell, ...]]:
        """Return the first rows of the listing, all of them without ``most``."""
        return list(zip(*(self.arrays[name][:most].tolist() for name in self.listing), strict=True))

    def plot(self, **options: Any) -> Figure:
        """Return a matplotlib figure of the kind that ``picture`` names; see ``render.analysis.figure``."""
        from ..render.analysis import figure

        return figure(self, **options)

    def _repr_png_(self) -> bytes | None:
        """Show the picture in a notebook."""
        from ..render import png

        return None if self.picture == "none" else png(self.plot())

    def __repr__(self) -> str:
        """One line: name, size of the table and cost."""
        return f"<Analysis {printable(self.name)}: {len(self.rows)} rows, {self.evaluations:,} evaluations>"


def _header(analysis: Analysis, in_settings: list[np.ndarray]) -> dict[str, Any]:
    """Return all but the arrays, as JSON holds it; those in the settings are put into ``in_settings``."""
    fields = {f.name: getattr(analysis, f.name) for f in dataclasses.fields(analysis) if f.name != "arrays"}
    fields["settings"] = without_arrays(analysis.settings, in_settings)
    found: dict[str, Any] = plain({"format": FORMAT, "schema_version": SCHEMA_VERSION, **fields})
    return found


def _rebuilt(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Analysis:
    """Put an analysis together; raises whatever comes of a header or arrays that do not fit."""
    for name, kinds in _TYPES.items():
        if not isinstance(header[name], kinds) or isinstance(header[name], bool):
            raise TypeError(f"{name} is {header[name]!r}")
    columns = tuple(map(str, header["columns"]))
    rows = tuple(tuple(map(_cell, row)) for row in header["rows"])
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a row has not {len(columns)} cells")
    listing = tuple(map(str, header.get("listing", ())))  # files written before there were any have none
    named = {name_of(key): array for key, array in arrays.items()}
    kept = {name.removeprefix("arrays/"): a for name, a in named.items() if name.startswith("arrays/")}
    for name, array in kept.items():
        if array.dtype.kind not in "fiubU":
            raise TypeError(f"array '{name}' holds {array.dtype}")
    if len({kept[name].shape for name in listing}) > 1 or any(kept[name].ndim != 1 for name in listing):
        raise ValueError("the columns of the listing have different lengths")
    return Analysis(
        header["name"],
        columns,
        rows,
        kept,
        settings=with_arrays(header["settings"], arrays),
        listing=listing,
        picture=header["picture"],
        words={str(k): str(v) for k, v in header["words"].items()},
        notes=tuple(map(str, header["notes"])),
        evaluations=header["evaluations"],
        seconds=header["seconds"],
        manifest=header["manifest"],
    )


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a cell holds {value!r}")


def _unicode(array: np.ndarray) -> np.ndarray:
    return array.astype(np.str_) if array.dtype == object else array
