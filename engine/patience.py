"""Patience: waiting for native code that may take long, or for ever, while saying so and staying interruptible.

Notes go to the logger ``onnxplain``: how long it has taken and how much memory the process holds. Ctrl-C ends the wait
at once, also where the native code never returns.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

Result = TypeVar("Result")

NOTE_SECONDS = 30.0  # after which a note is made, and again after every further such time

log = logging.getLogger("onnxplain")


def patiently(work: Callable[[], Result], what: str) -> Result:
    """Run ``work`` in a thread of its own and return its result or raise its error; notes are made while it lasts."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            errors.append(error)

    begun = time.monotonic()
    thread = threading.Thread(target=run, name=f"onnxplain {what}", daemon=True)
    thread.start()
    thread.join(NOTE_SECONDS)
    while thread.is_alive():
        note(what, time.monotonic() - begun)
        thread.join(NOTE_SECONDS)
    if errors:
        raise errors[0]
    return results[0]


def awaited(future: Future[Result], what: str) -> Result:
    """Return a future's result; notes are made while it lasts."""
    begun = time.monotonic()
    while True:
        try:
            return future.result(timeout=NOTE_SECONDS)
        except TimeoutError:
            if future.done():
                raise
            note(what, time.monotonic() - begun)


def note(what: str, seconds: float) -> None:
    """Log how long something has taken so far and the peak memory of this process."""
    log.warning("still %s after %.0f s%s; Ctrl-C stops", what, seconds, _memory())


def _memory() -> str:
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f", {peak / (1 << 30 if sys.platform == 'darwin' else 1 << 20):.1f} GiB of memory at most so far"
