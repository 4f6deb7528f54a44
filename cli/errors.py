"""Exit codes, and how errors are printed: one to six lines on stderr, a traceback only with ``--debug``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from contextvars import ContextVar
from functools import singledispatch
from typing import TYPE_CHECKING

import click

from ..engine.errors import OnnxplainError, printable

if TYPE_CHECKING:
    from collections.abc import Callable

DONE = 0
DIFFERS = 1
USAGE = 2
REFUSED = 3
INCOMPLETE = 4
INTERRUPTED = 130

_debugs: ContextVar[bool] = ContextVar("debug", default=False)

CODES = (((KeyboardInterrupt, click.Abort), INTERRUPTED), ((click.ClickException,), USAGE))


def guarded(run: Callable[[], int], *, debug: bool = False) -> int:
    """Return the exit code of ``run``; an exception becomes a message on stderr and the code of its kind."""
    _escape_what_the_terminal_lacks()
    _debugs.set(debug)
    try:
        code = run()
        _flush()
    except BrokenPipeError:  # whoever read stdout has seen enough
        _forget_stdout()
        return DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, the user gets a line and a code
        trace(error)
        _tell(error)
        if isinstance(error, OSError):
            _forget_stdout()
        if isinstance(error, KeyboardInterrupt):
            _leave_what_does_not_end()
        return next((code for kinds, code in CODES if isinstance(error, kinds)), REFUSED)
    return code


def trace(error: BaseException) -> None:
    """Print the traceback of an error that is about to be told, where ``--debug`` asks for it."""
    if _debugs.get():
        click.echo("".join(traceback.format_exception(error)).rstrip("\n"), err=True)


@singledispatch
def _tell(error: BaseException) -> None:
    """Print what happened, by the kind of the exception."""
    text = f"internal error: {type(error).__name__}: {str(error).strip()[:300]}"
    print_error(f"{text}\n  tip: run again with --debug")


@_tell.register
def _(error: OnnxplainError) -> None:
    print_error(str(error))


@_tell.register
def _(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    command = error.ctx.command_path if error.ctx is not None else "onnxplain"
    message = " ".join(error.format_message().split())  # of one line: click lists choices in a column
    print_error(f"{message}\n  tip: {command} --help")


@_tell.register
def _(error: click.ClickException) -> None:
    print_error(error.format_message())


@_tell.register(KeyboardInterrupt)
@_tell.register(click.Abort)
def _(error: BaseException) -> None:  # noqa: ARG001 - only the kind matters
    click.echo("interrupted", err=True)


@_tell.register
def _(error: OSError) -> None:
    text = error.strerror or str(error)
    print_error(f"{text}\n  at: {error.filename}" if error.filename else text)


@_tell.register
def _(error: MemoryError) -> None:  # noqa: ARG001 - only the kind matters
    print_error("there is not enough memory for this")


def print_error(text: str, kind: str = "error") -> None:
    """Print ``error: text`` on stderr, or a ``warning`` or ``note``; names in it come out escaped."""
    lines = [printable(line) for line in text.split("\n")]
    colour = {"error": "red", "warning": "yellow"}.get(kind, "cyan")
    head = click.style(f"{kind}:", fg=colour, bold=True)
    click.echo("\n".join([f"{head} {lines[0]}", *lines[1:]]), err=True, color=colours())


def about(error: OnnxplainError, source: str) -> OnnxplainError:
    """Return an error to be told after the name of its source, which need not be told again as its place."""
    named = printable(source)
    where = "" if error.where == named else error.where.removeprefix(f"{named}, ")
    return type(error)(error.message, where=where, tip=error.tip)


def colours() -> bool | None:
    """Return False where ``NO_COLOR`` is set, else None: colours where the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _leave_what_does_not_end() -> None:
    """End the process at once where native code still runs: the interpreter's own end would wait for it, or abort."""
    from ..engine.patience import left_behind

    if left_behind():
        _flush()
        os._exit(INTERRUPTED)


def _forget_stdout() -> None:
    """Point stdout at nothing, so that the interpreter does not trip over it again when it ends."""
    with contextlib.suppress(OSError, AttributeError, io.UnsupportedOperation):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def _escape_what_the_terminal_lacks() -> None:
    """Print a character that stdout's encoding lacks as an escape, instead of failing on it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
