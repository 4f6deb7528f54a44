"""The errors that users see: what is wrong, where, and what to do about it."""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


LONGEST_NAME = 200  # characters of a name in a tip; models and files may hold names of any length


class OnnxplainError(Exception):
    """Base of all errors whose cause is known.

    ``str(error)`` has one to six lines: the message, then ``where`` (file, field, tensor) and ``tip`` (what to do)
    where they are given.
    """

    def __init__(self, message: str, *, where: str = "", tip: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.tip = tip

    def __str__(self) -> str:
        """Message, place and tip, one per line."""
        lines = [self.message]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.tip:
            lines.append(f"  tip: {self.tip}")
        return "\n".join(lines)


class ModelError(OnnxplainError):
    """The model file cannot be used: not ONNX, damaged, unsafe, or with operators that the runtime lacks."""


class InputError(OnnxplainError):
    """The data to be explained cannot be used: wrong shape, dtype, format or values."""


class SettingError(OnnxplainError):
    """A setting, target, method or tensor name is unknown or out of range."""


class CapabilityError(OnnxplainError):
    """Something that is asked for is not there: a device, an extra, a gradient, data."""


class PluginError(OnnxplainError):
    """A plug-in failed by a mistake in itself; ``__cause__`` is what it raised."""


@contextlib.contextmanager
def blaming(name: str, plugin: object) -> Iterator[None]:
    """Turn an error of a plug-in's own code into a ``PluginError`` that names it, so that other work can go on."""
    try:
        yield
    except OnnxplainError:
        raise
    except MemoryError as error:
        raise CapabilityError(
            f"{name} needs more memory than there is{f': {error}' if str(error) else ''}",
            tip="larger features, smaller inputs or fewer evaluations need less",
        ) from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{name} failed: {type(error).__name__}: {printable(error)[:LONGEST_NAME]}",
            where=f"package {type(plugin).__module__.partition('.')[0]}",
            tip="this is a mistake in the plug-in, not in your input; --debug shows the place",
        ) from error


def printable(text: object) -> str:
    r"""Return ``text`` with control, bidirectional and other invisible characters escaped, safe to print.

    Names in models and files come from outside and may hold terminal escape sequences.

    >>> printable("a" + chr(27) + "[31m")
    'a\\x1b[31m'
    """
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in whole)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a tip that names the known names closest to ``name``, or how many there are; empty if none are known."""
    name, names = name[:LONGEST_NAME], sorted({str(k)[:LONGEST_NAME] for k in known})
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if not close:
        lowered = {n.lower(): n for n in names}
        close = [lowered[m] for m in difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.6)]
    if not close:
        close = [n for n in names if name and name.lower() in n.lower()][:3]
    if close:
        return "did you mean " + " or ".join(f"'{printable(c)}'" for c in close) + "?"
    shown = ", ".join(printable(n) for n in names[:8])
    return f"known: {shown}" + (f", and {len(names) - 8} more" if len(names) > 8 else "")
