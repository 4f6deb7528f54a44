"""Journal: results written one by one as they come, so that a run that was stopped can go on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FORMAT = "onnxplain-journal"
VERSION = 2


@dataclass(frozen=True)
class Identity:
    """What results depend on, as JSON holds it: ``common`` to all by name, and the settings of methods and metrics."""

    common: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def of(self, method: str, metric: str) -> dict[str, str]:
        """Return digests of what a result of a method and metric depends on, by what it is called in messages."""
        own = {"settings of the method": self.methods[method], "settings of the metric": self.metrics[metric]}
        return {name: _digest(value) for name, value in {**self.common, **own}.items()}


class Journal:
    """A file of JSON lines: first what it is, then a result a line, each on the disk before the next begins.

    A result is kept under a key, a method and a metric, with digests of all that it depends on. Results of the same
    settings are found again; those of others stay in the file, and ``others`` counts them by what is different.
    ``dropped`` counts the lines that are damaged, such as a last one that was cut off by a crash. While a journal is
    open its folder is locked, by the kernel, so that the lock ends with the process whatever happens to it.
    """

    def __init__(self, path: Path, identity: Identity, *, must_exist: bool = False) -> None:
        """Begin a journal, or go on with the one that is there.

        Raises ``InputError`` where the file is of someone else, where it is in use, and (``must_exist``) where it is
        not there.
        """
        if must_exist and not path.exists():
            raise InputError(
                "there is nothing to resume in this folder", where=printable(path), tip="leave out --resume"
            )
        self.path = path
        self.dropped = 0
        self.others: Counter[str] = Counter()
        self._of = {(n, m): identity.of(n, m) for n in identity.methods for m in identity.metrics}
        self._known: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._release = _locked(path.parent)
        try:
            self._write_all(self._read())
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Count the results that can be used again."""
        return len(self._known)

    def close(self) -> None:
        """Let others use the folder."""
        self._release()

    def find(self, key: str, method: str, metric: str) -> dict[str, Any] | None:
        """Return a result of the same settings, None if it is not there."""
        return self._known.get((key, method, metric))

    def add(self, key: str, method: str, metric: str, document: Mapping[str, Any]) -> None:
        """Write a result."""
        self._known[key, method, metric] = dict(document)
        names = {"key": key, "method": method, "metric": metric, "of": self._of[method, metric]}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line({**names, **document}))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write '{printable(self.path)}': {error.strerror}") from None

    def _read(self) -> list[str]:
        """Return the lines that are whole, and take in what they hold."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"'{printable(self.path)}' cannot be read: {error.strerror}") from None
        first, *rest = text.split("\n")
        header = _parsed(first) or {}
        if header.get("format") != FORMAT:
            raise InputError(
                "this file is not the journal of an evaluation", where=printable(self.path), tip="name another folder"
            )
        if header.get("version") != VERSION:
            raise InputError(
                "this journal was written by another version of onnxplain",
                where=printable(self.path),
                tip="name another folder, or delete the file to begin anew",
            )
        return [line + "\n" for line in filter(None, rest) if self._take(_parsed(line) or {})]

    def _take(self, document: dict[str, Any]) -> bool:
        """Take in one result; say whether its line is whole."""
        key, method, metric, of = (document.pop(name, None) for name in ("key", "method", "metric", "of"))
        if not isinstance(of, dict) or not all(isinstance(name, str) for name in (key, method, metric)):
            self.dropped += 1
            return False
        mine = self._of.get((str(method), str(metric)))
        if mine == of:
            self._known[str(key), str(method), str(metric)] = document
        elif mine is not None:
            words = {
                "settings of the method": f"settings of {method}",
                "settings of the metric": f"settings of {metric}",
            }
            self.others.update(words.get(name, name) for name in mine if of.get(name) != mine[name])
        return True

    def _write_all(self, lines: list[str]) -> None:
        """Write the file anew, whole: the header, and the results that were kept."""
        from ..home import write_whole

        header = _line({"format": FORMAT, "version": VERSION})
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
    except BlockingIOError:
        unlock.close()
        raise InputError(
            "another evaluation is writing to this folder", where=printable(folder), tip="wait for it, or name another"
        ) from None
    except OSError:  # a file system without locks
        unlock.close()
        return lambda: None
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
    return hashlib.sha256(text.encode()).hexdigest()[:16]
