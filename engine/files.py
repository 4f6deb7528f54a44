"""Reading files that come from outside: what is checked before a byte of theirs is believed."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from .errors import OnnxplainError, SettingError, nearest, printable

# What the first bytes of a file say about it, for messages; ``(offset, bytes, words)``.
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"BM", "a BMP image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"8BPS", "a Photoshop document"),
    (4, b"ftyp", "a HEIC, AVIF or MP4 file"),
    (0, b"SIMPLE  =", "a FITS image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS document"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"PK\x03\x04", "a zip archive (.npz is one)"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (0, b"version https://git-lfs", "a Git LFS pointer (run 'git lfs pull')"),
    (0, b"<!DOCTYPE html", "an HTML page"),
    (0, b"<!doctype html", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
    (8, b"WAVE", "a WAV recording"),
    (0, b"ID3", "an MP3 recording"),
    (0, b"fLaC", "a FLAC recording"),
    (0, b"OggS", "an Ogg recording"),
)
IMAGE_KINDS = tuple(words for _, _, words in _SIGNATURES[:4])  # those of the formats that are read


def excerpt(text: object, length: int = 60) -> str:
    """Return the start of ``text``, safe to print on one line: names and cells from outside may be of any length."""
    whole = str(text)
    start = printable(whole[:length])
    return start if len(whole) <= length else start + "..."


def looks_like(path: Path) -> str:
    """Say in words what the first bytes of a file look like; empty if they say nothing."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "an empty file"
    return next((words for start, magic, words in _SIGNATURES if head.startswith(magic, start)), "")


def is_file(name: str) -> bool:
    """Say whether there is a file of this name; a name that no file can have is none."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def existing_file(path: Path, error: type[OnnxplainError]) -> Path:
    """Return ``path`` if it is a regular file; a missing one is refused with the nearest names in its folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as problem:
        if isinstance(problem, PermissionError):
            raise error("no permission to read this file", where=printable(path)) from None
        if isinstance(problem, FileNotFoundError) and path.is_symlink():
            raise error("this link leads to a file that is not there", where=printable(path)) from None
        raise error("there is no such file", where=printable(path), tip=_neighbours(path)) from None
    if stat.S_ISDIR(mode):
        raise error("this is a folder, not a file", where=printable(path))
    if not stat.S_ISREG(mode):
        raise error("this is a device or a pipe, not a regular file", where=printable(path))
    if not os.access(path, os.R_OK):
        raise error("no permission to read this file", where=printable(path))
    return path


def _neighbours(path: Path) -> str:
    """Return a tip about files in the same folder; at most a thousand are looked at."""
    folder = path.parent
    if re.search(r"(^|/)[a-z][a-z0-9+]+:/", path.as_posix()):  # a Path has one slash of the two
        return "nothing is fetched from the network: download the file first"
    if "\x00" in str(path) or not folder.is_dir():
        return f"there is no folder '{printable(folder)}'"
    with os.scandir(folder) as entries:
        names = [entry.name for entry, _ in zip(entries, range(1000), strict=False)]
    tip = nearest(path.name, names)
    return tip if tip.startswith("did you mean") else ""


def read_text(path: Path, limit: int, error: type[OnnxplainError] = SettingError) -> str:
    """Return the text of a UTF-8 file of at most ``limit`` bytes, without its byte order mark."""
    with existing_file(path, error).open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"this file has more than {limit:,} bytes, the limit for its kind", where=printable(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"this file is not UTF-8 text (byte {problem.start})", where=printable(path)) from None


def read_json(path: Path, limit: int, error: type[OnnxplainError] = SettingError) -> Any:
    """Return what a JSON file of at most ``limit`` bytes holds."""
    text = read_text(path, limit, error)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"this file is not valid JSON: {excerpt(problem, 120)}", where=printable(path)) from None


def inside(folder: Path, name: str, field: str) -> Path:
    """Return the path of ``name`` in ``folder``, refused if it leaves the folder by ``..``, a root or a link.

    ``field`` says in messages where the name was written.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or "\x00" in name or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise SettingError(f"'{excerpt(name)}' must be a path inside the folder of the spec", where=field)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SettingError(f"'{excerpt(name)}' is a link that leads out of the folder of the spec", where=field)
    return path
