"""Where onnxplain keeps what it may lose: measured layouts and built models. ``ONNXPLAIN_HOME`` moves it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def home() -> Path:
    """Return the cache folder: ``ONNXPLAIN_HOME`` if set, else the user's cache folder for onnxplain."""
    chosen = os.environ.get("ONNXPLAIN_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("onnxplain", appauthor=False))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: temporary file beside it, sync, rename."""
    handle, name = tempfile.mkstemp(prefix=".onnxplain-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def recall(file: str, key: str) -> Any:
    """Return what ``remember`` kept under ``key``, or None; a damaged file is as good as none."""
    return _kept(file).get(key)


def remember(file: str, key: str, value: Any, limit: int = 500) -> None:
    """Keep ``value`` under ``key`` in a JSON file of the cache folder: the last ``limit``, or none if it refuses."""
    path = home() / file
    others = [pair for pair in _kept(file).items() if pair[0] != key]
    kept = dict([*others, (key, value)][-limit:])
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(kept, indent=1).encode())


def _kept(file: str) -> dict[str, Any]:
    """Return what a JSON file of the cache folder holds; nothing if it is damaged."""
    try:
        kept = json.loads((home() / file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
