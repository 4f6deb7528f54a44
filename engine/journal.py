"""Journal: results written one by one as they come, so that a run that was stopped can go on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from .errors import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FORMAT = "onnxplain-journal"
VERSION = 1


class Journal:
    """A file of JSON lines: first what the run is, then a result a line, each on the disk before the next begins.

    A last line that was cut off by a crash is dropped. ``known`` tells the results that were there. While a journal is
    open its folder is locked, by the kernel, so that the lock ends with the process whatever happens to it.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, must_exist: bool = False) -> None:
        """Begin a journal, or go on with the one that is there.

        ``identity`` is what must be equal for results to be used again: the model, the methods and their settings, and
        so on. Raises ``InputError`` where the file is of another run or of someone else, where it is in use, and
        (``must_exist``) where it is not there.
        """
        if must_exist and not path.exists():
            raise InputError(
                "there is nothing to resume in this folder", where=printable(path), tip="leave out --resume"
            )
        self.path = path
        self.known: dict[str, Any] = {}
        self.dropped = 0
        self._identity = {name: _digest(value) for name, value in identity.items()}
        self._release = _locked(path.parent)
        try:
            self._write_all(self._read())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others use the folder."""
        self._release()

    def add(self, key: str, document: Mapping[str, Any]) -> None:
        """Write a result under its key."""
        self.known[key] = dict(document)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line({"key": key, **document}))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write '{printable(self.path)}': {error.strerror}") from None

    def _read(self) -> list[str]:
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"'{printable(self.path)}' cannot be read: {error.strerror}") from None
        first, *rest = text.split("\n")
        self._check(first)
        kept = []
        for line in filter(None, rest):
            document = _parsed(line)
            if document is None or not isinstance(document.get("key"), str):
                self.dropped += 1
                continue
            self.known[document.pop("key")] = document
            kept.append(line + "\n")
        return kept

    def _check(self, first: str) -> None:
        header = _parsed(first) or {}
        where = printable(self.path)
        if header.get("format") != FORMAT or not isinstance(header.get("of"), dict):
            raise InputError("this file is not the journal of an evaluation", where=where, tip="name another folder")
        if header.get("version") != VERSION:
            raise InputError("this journal was written by another version of onnxplain", where=where)
        other = [n for n in {**self._identity, **header["of"]} if header["of"].get(n) != self._identity.get(n)]
        if other:
            raise InputError(
                f"this folder holds an evaluation with another {' and another '.join(map(printable, other))}",
                where=where,
                tip="name another folder, or repeat the settings to go on",
            )

    def _write_all(self, lines: list[str]) -> None:
        """Write the file anew, whole: the header, and the results that were kept."""
        from .home import write_whole

        header = _line({"format": FORMAT, "version": VERSION, "of": self._identity})
        try:
            write_whole(self.path, "".join([header, *lines]).encode())
        except OSError as error:
            raise InputError(f"cannot write '{printable(self.path)}': {error.strerror}") from None


def _locked(folder: Path) -> Callable[[], None]:
    """Make a folder, lock it, and return what unlocks it; nothing is locked on systems without ``flock``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write results: {error.strerror}", where=printable(folder)) from None
    try:
        import fcntl
    except ImportError:
        return lambda: None
    unlock = contextlib.ExitStack()
    handle = os.open(folder, os.O_RDONLY)
    unlock.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        unlock.close()
        raise InputError(
            "another evaluation is writing to this folder", where=printable(folder), tip="wait for it, or name another"
        ) from None
    return unlock.close


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, allow_nan=False) + "\n"


def _parsed(line: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(line)
        return document if isinstance(document, dict) else None
    return None


def _digest(value: Any) -> str:
    """Return a short digest of anything that JSON holds, the same for equal values."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
