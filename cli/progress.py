"""Progress bars on stderr, only where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from ..engine.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID


class Bar:
    """One bar for one explanation; it goes away when that is done. Without a terminal nothing is drawn."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bars: Progress | None = None
        self._task: TaskID | None = None

    def start(self, description: str, total: int) -> None:
        """Begin, or begin again where a method has several passes; a total of 0 is unknown."""
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(printable(f"{self._name} {description}"), total=total or None)

    def advance(self, done: int) -> None:
        """Move on by ``done`` coalitions."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, done)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()


@contextlib.contextmanager
def bar(name: str) -> Iterator[Bar | None]:
    """Give a Bar for what is called ``name``, or None where stderr is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    shown = Bar(name)
    try:
        yield shown
    finally:
        shown.stop()


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    # stdout is left alone: rich would send what is printed there to stderr
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
