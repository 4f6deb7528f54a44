"""The folder of ``-o``: an array file and a picture per explanation, and one page with all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.errors import InputError, printable

if TYPE_CHECKING:
    from ..engine.explanation import Explanation
    from ..engine.render import PageSection

PAGE = "index.html"
MOST_SECTIONS = 200  # on the page; all explanations get their own files
LONGEST_STEM = 80
MOST_LOOKED_AT = 1000  # files of a folder
SIGNATURE = b"Written by onnxplain"  # near the end of pages
JOURNAL_SIGNATURE = b"onnxplain-journal"  # in the first line


@dataclass
class Folder:
    """Where results go. ``add`` writes what one explanation gives, ``finish`` the page."""

    path: Path
    mode: str | None = None  # of the pictures; None for what suits the method
    picture: str = "png"
    title: str = "Explanations"
    sections: list[PageSection] = field(default_factory=list)
    count: int = 0
    _tables: list[Explanation] = field(default_factory=list)
    _texts: dict[str, list[Explanation]] = field(default_factory=dict)  # by the stem of their input
    _stems: dict[str, str] = field(default_factory=dict)  # by the input that they name

    @classmethod
    def open(cls, name: str, *, mode: str | None = None, picture: str = "png", title: str = "Explanations") -> Folder:
        """Check that files can be written there, before anything is computed.

        Raises ``InputError`` where they cannot, and where a page of someone else's is in the way.
        """
        path = Path(name)
        check_writable(path)
        check_own(path / PAGE)
        return cls(path, mode, picture, title)

    def add(self, explanation: Explanation, text: tuple[str, ...] = ()) -> list[Path]:
        """Write ``STEM.METHOD.npz`` and the picture beside it; ``text`` is said on the page. Returns their paths."""
        from ..engine.render import save, section

        stem = self._stem(explanation.sample.source if explanation.sample is not None else "")
        around = explanation.settings.get("of")
        name = f"{stem}.{explanation.method}" + (f"-of-{around}" if isinstance(around, str) else "")
        files = [
            explanation.save(self.path / f"{name}.npz"),
            save(explanation, self.path / f"{name}.{self.picture}", mode=self.mode),
        ]
        self.count += 1
        if len(self._tables) < MOST_SECTIONS and explanation.feature_names and _is_table(explanation):
            self._tables.append(explanation)
        if self.count <= MOST_SECTIONS and explanation.sample is not None and explanation.sample.texts:
            self._texts.setdefault(stem, []).append(explanation)
        if len(self.sections) < MOST_SECTIONS:
            part = section(explanation, text, mode=self.mode)
            self.sections.append(dataclasses.replace(part, title=f"{stem}, {part.title}"))
        return files

    def finish(self, lead: str = "") -> Path:
        """Write the page and return its path."""
        from ..engine.render import page

        parts = [*self._together(), *self._by_text(), *self.sections]
        if self.count > len(self.sections):
            lead = f"{lead} The first {len(self.sections)} of {self.count}; the others have their own files.".strip()
        return page(self.title, parts, self.path / PAGE, lead=lead)

    def _together(self) -> list[PageSection]:
        """Draw the rows of a table in one picture per method, ``rows.METHOD.png``; a part of the page for each."""
        from ..engine.render import PageSection, png, rows_figure, save, shown_together

        parts = []
        for method in dict.fromkeys(e.method for e in self._tables):
            rows = [e for e in self._tables if e.method == method]
            if shown_together(rows):
                drawn = rows_figure(rows)
                save(drawn, self.path / f"rows.{method}.{self.picture}")
                parts.append(PageSection(f"{len(rows)} rows, {method}", png=png(rows_figure(rows, title=False))))
        return parts

    def _by_text(self) -> list[PageSection]:
        """Draw each text once for each method, ``STEM.methods.png``; a part of the page for each text."""
        from ..engine.render import MATRIX, save, side_by_side, text_in_common, texts_section

        parts = []
        for stem, found in self._texts.items():
            marked = text_in_common(found) if len(found) > 1 and self.mode != MATRIX else []
            if marked:
                save(side_by_side(found, mode=self.mode), self.path / f"{stem}.methods.{self.picture}")
                part = texts_section(found, marked, self.mode)
                parts.append(dataclasses.replace(part, title=f"{stem}, {part.title}"))
        return parts

    def _stem(self, source: str) -> str:
        """Return a file name for an input, the same for the same input and different for others."""
        if source not in self._stems:
            stem = _stem(source)
            taken = {name.lower() for name in self._stems.values()}
            names = (stem if k == 1 else f"{stem}-{k}" for k in range(1, len(taken) + 2))
            self._stems[source] = next(name for name in names if name.lower() not in taken)
        return self._stems[source]


def _is_table(explanation: Explanation) -> bool:
    return explanation.sample is not None and explanation.sample.modality == "table"


def _stem(source: str) -> str:
    """Return ``rows-3`` for ``data/rows.csv:3``, ``cat`` for ``photos/cat.jpg`` and ``a-film`` for ``"a film"``."""
    if source.startswith('"'):  # the beginning of a text, and perhaps a file beside it
        text, quote, file = source.rpartition('"')
        words = "".join(c if c.isalnum() or c in "'-" else " " for c in text + quote).split()
        beside = file.removeprefix(", ")
        return ("-".join(words)[:LONGEST_STEM] or "text") + (f"-{_stem(beside)}" if beside else "")
    whole = Path(source).name
    name, colon, row = whole.rpartition(":")
    if not colon or not row.replace("-", "", 1).replace(".", "", 2).isdigit():
        name, row = whole, ""
    stem = Path(name).stem + (f"-{row}" if row else "")
    kept = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in stem)
    return kept.strip()[:LONGEST_STEM] or "input"


def check_writable(path: Path) -> None:
    """Refuse a path that is no folder, in which no file can be made, or that holds files of others; nothing is left."""
    place = next(p for p in (path.absolute(), *path.absolute().parents) if os.path.lexists(p))
    where = printable(path)
    if not place.is_dir():
        what = "is a file" if place.is_file() else "is not a folder"
        raise InputError(f"cannot write results: '{printable(place)}' {what}", where=where, tip="name another folder")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise InputError(f"cannot write results: {error.strerror}", where=where, tip="name another folder") from None
    if path.is_dir():
        _check_vacant(path)


def _check_vacant(folder: Path) -> None:
    """Refuse a folder with files where none is known to be of onnxplain, and the root of a file system anyway."""
    if folder.resolve() == Path(folder.resolve().anchor):
        raise InputError("cannot write results into the root of a file system", tip="name another folder")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if names and not any(_is_own(folder / name) for name in names[:MOST_LOOKED_AT]):
        raise InputError(
            f"cannot write results: this folder holds files of others, such as '{printable(names[0])}'",
            where=printable(folder),
            tip="name a folder that is new, empty, or has results of onnxplain in it",
        )


def _is_own(path: Path) -> bool:
    """Say whether onnxplain wrote a file, by what is in it."""
    with contextlib.suppress(OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return "header.npy" in archive.namelist()
        with path.open("rb") as file:
            begin = file.read(1000)
            file.seek(-min(500, path.stat().st_size), os.SEEK_END)
            return SIGNATURE in file.read() or JOURNAL_SIGNATURE in begin
    return False


def check_own(page: Path) -> None:
    """Refuse to overwrite a page that onnxplain did not write."""
    try:
        with page.open("rb") as file:
            file.seek(-min(500, page.stat().st_size), os.SEEK_END)
            is_own = SIGNATURE in file.read()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"'{printable(page)}' cannot be read: {error.strerror}") from None
    if not is_own:
        raise InputError(
            f"'{printable(page)}' was not written by onnxplain; it is not overwritten", tip="name another folder"
        )
