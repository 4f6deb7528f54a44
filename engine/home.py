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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
    try:
        kept = json.loads((home() / file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept.get(key) if isinstance(kept, dict) else None


def remember(file: str, key: str, value: Any, limit: int = 500) -> None:
    """Keep ``value`` under ``key`` in a JSON file of the cache folder; a folder that refuses keeps nothing."""
    path = home() / file
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    kept = dict(list(kept.items())[-limit:]) if isinstance(kept, dict) else {}
    kept[key] = value
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(kept, indent=1).encode())
