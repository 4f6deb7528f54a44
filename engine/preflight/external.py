"""Weights that lie in files beside the model: every path is checked before anything opens it."""

from __future__ import annotations

import re
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from onnx import TensorProto

from ..errors import ModelError
from ..files import excerpt
from .sizes import bytes_needed

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PATH = 300  # in messages
_KNOWN_KEYS = ("location", "offset", "length")
# ONNX Runtime takes such a location for an address in memory.
_MEMORY_TAG = "_MEM_ADDR_"


def check_external(tensor: TensorProto, place: str, folder: Path | None) -> Path:
    """Return the file that holds a tensor's numbers, which lies in the model's folder and is long enough.

    Raises ``ModelError``, naming the tensor and the path, for a location that is absolute, goes up, or passes a
    symbolic link below the folder; for a file that is missing, no regular file or hard-linked; and for an offset or
    length that is no number, negative, past the end of the file, or not what the dims ask for. Keys other than
    location, offset and length mean nothing here and are ignored.
    """
    if folder is None:
        raise ModelError(
            "this model keeps weights in other files, and bytes have no folder to look for them in",
            where=place,
            tip="give the path of the model file instead of its bytes",
        )
    keys = [entry.key for entry in tensor.external_data if entry.key in _KNOWN_KEYS]
    entries = {entry.key: entry.value for entry in tensor.external_data if entry.key in _KNOWN_KEYS}
    if len(keys) != len(entries):
        raise ModelError("external data gives the same key twice", where=place)
    location = entries.get("location", "")
    path = _checked_path(location, place, folder)
    if tensor.data_type == TensorProto.STRING:
        raise ModelError("strings cannot be kept as external data", where=place)
    needed = bytes_needed(tensor, place)
    offset = _number(entries.get("offset", "0"), "offset", place)
    length = _number(entries.get("length", str(needed)), "length", place)
    shown = f"{place}, in {excerpt(location, 100)}"
    if length != needed:
        raise ModelError(
            f"external data has {length:,} bytes, but dims {excerpt(list(tensor.dims))} need {excerpt(needed)}",
            where=shown,
        )
    available = path.stat().st_size
    if offset + length > available:
        raise ModelError(
            f"external data ends at byte {offset + length:,} of a file of {available:,} bytes",
            where=shown,
            tip="the file is incomplete, or belongs to another model",
        )
    return path


def _checked_path(location: str | bytes, place: str, folder: Path) -> Path:
    def refuse(reason: str, tip: str = "") -> ModelError:
        return ModelError(f"external data {reason}: '{excerpt(location, 100)}'", where=place, tip=tip)

    if isinstance(location, bytes) or not location or "\x00" in location:
        raise refuse("has no usable location")
    parts, windows = PurePosixPath(location), PureWindowsPath(location)
    if parts.is_absolute() or windows.drive or windows.root:
        raise refuse("has an absolute location", "save the model again with its weights in the same folder")
    if ".." in parts.parts or ".." in windows.parts:
        raise refuse("lies outside the model's folder", "save the model again with its weights in the same folder")
    if _MEMORY_TAG in location:
        raise refuse("points into memory")
    path = folder
    for part in parts.parts:
        path /= part
        _check_component(path, refuse)
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise refuse("is not a regular file")
    if found.st_nlink != 1:
        raise refuse(
            "is a hard link",
            f"put a copy of its own there (cp), which no other name shares: {excerpt(path, LONGEST_PATH)}",
        )
    return path


def _check_component(path: Path, refuse: Callable[..., ModelError]) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "is missing" if missing else f"cannot be reached ({error.strerror})"
        raise refuse(reason, f"put the file beside the model, at {excerpt(path, LONGEST_PATH)}") from None
    if stat.S_ISLNK(mode):
        raise refuse("passes a symbolic link", f"put the file itself there (cp -L): {excerpt(path, LONGEST_PATH)}")


def _number(text: str | bytes, key: str, place: str) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        raise ModelError(f"external data has the {key} '{excerpt(text)}', which is no number of bytes", where=place)
    return int(text)
