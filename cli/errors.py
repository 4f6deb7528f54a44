"""Exit codes, and how errors are printed: one to six lines on stderr, a traceback only with ``--debug``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
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

CODES = (((KeyboardInterrupt, click.Abort), INTERRUPTED), ((click.ClickException,), USAGE))


def guarded(run: Callable[[], int], *, debug: bool = False) -> int:
    """Return the exit code of ``run``; an exception becomes a message on stderr and the code of its kind."""
    _escape_what_the_terminal_lacks()
    try:
        code = run()
        _flush()
    except BrokenPipeError:  # whoever read stdout has seen enough
        _forget_stdout()
        return DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, the user gets a line and a code
        if debug:
            click.echo("".join(traceback.format_exception(error)).rstrip("\n"), err=True)
        _tell(error)
        if isinstance(error, OSError):
            _forget_stdout()
        return next((code for kinds, code in CODES if isinstance(error, kinds)), REFUSED)
    return code


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
    print_error(f"{error.format_message().strip()}\n  tip: {command} --help")


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


def colours() -> bool | None:
    """Return False where ``NO_COLOR`` is set, else None: colours where the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


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
