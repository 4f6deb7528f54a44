"""Patience: waiting for native code that may take long, or for ever, while saying so and staying interruptible.

Notes go to the logger ``onnxplain``: how long it has taken and how much memory the process holds. Ctrl-C ends the wait
at once, also where the native code never returns. Code that was left behind so gets a moment to end before the
interpreter does: a thread that comes back to an interpreter that is gone ends the process with SIGABRT.
"""

from __future__ import annotations

import atexit
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
LAST_SECONDS = 1.5  # for native code that is to end, before the interpreter does

log = logging.getLogger("onnxplain")
_under_way: set[threading.Event] = set()  # one for each work, set when that ends


def patiently(work: Callable[[], Result], what: str) -> Result:
    """Run ``work`` in a thread of its own and return its result or raise its error; notes are made while it lasts."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            errors.append(error)
        finally:
            _under_way.discard(done)
            done.set()

    begun = time.monotonic()
    done = threading.Event()  # not Thread.join: where Ctrl-C ends that, Python 3.11 takes the thread for ended
    _under_way.add(done)
    threading.Thread(target=run, name=f"onnxplain {what}", daemon=True).start()
    while not done.wait(NOTE_SECONDS):
        note(what, time.monotonic() - begun)
    if errors:
        raise errors[0]
    return results[0]


@atexit.register
def left_behind() -> bool:
    """Wait a moment for the work whose wait was interrupted, and say whether some of it still runs."""
    until = time.monotonic() + LAST_SECONDS
    return not all(done.wait(max(0.0, until - time.monotonic())) for done in list(_under_way))


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
