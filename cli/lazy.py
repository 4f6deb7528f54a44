"""Commands that are imported when they are used: ``onnxplain --help`` loads neither the engine nor NumPy."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from .errors import DONE, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COMPLETION = "_ONNXPLAIN_COMPLETE"  # set by a shell that wants completions
HELP_NAMES = ["-h", "--help"]
DASHES = {
    "\u2010": "a hyphen",
    "\u2012": "a figure dash",
    "\u2013": "an en dash",
    "\u2014": "an em dash",
    "\u2212": "a minus sign",
}


def debug_option() -> click.Option:
    """Return ``--debug``, which every command takes; ``guarded`` looks for it before anything is parsed."""
    return click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error.")


class Command(click.Command):
    """A command that takes ``-h`` and ``--debug``."""

    def __init__(self, name: str | None, **options: Any) -> None:
        options["context_settings"] = {"help_option_names": HELP_NAMES} | (options.get("context_settings") or {})
        super().__init__(name, **options)
        self.params.append(debug_option())


class CommandLine(click.Group):
    """The outermost command: a table of subcommands, and the one place where errors become exit codes."""

    def __init__(self, name: str, table: Mapping[str, str], package: str | None, **options: Any) -> None:
        """Take the subcommands' names with a line of help each; ``package`` holds a module for each of them."""
        super().__init__(name, context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100}, **options)
        self._table = dict(table)
        self._package = package
        version = click.version_option(package_name="onnxplain", message="%(prog)s %(version)s")
        version(self)
        self.params.append(debug_option())

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module; None for a name that is not in the table."""
        if cmd_name not in self._table:
            return None
        module = importlib.import_module(f".{cmd_name}", self._package)
        found: click.Command = module.command
        found.short_help = self._table[cmd_name]
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; an unknown one is a usage error with the nearest names."""
        if args[0] not in self._table and not ctx.resilient_parsing and not args[0].startswith("-"):
            from ..engine.errors import nearest

            raise click.UsageError(f"there is no command '{args[0]}': {nearest(args[0], self._table)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the table of subcommands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "onnxplain",
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,
    ) -> Any:
        """Run, print errors on stderr and exit with the code of what happened."""
        given = list(sys.argv[1:] if args is None else args)
        if not standalone_mode or COMPLETION in os.environ:
            return super().main(given, prog_name, complete_var, standalone_mode, **extra)

        def run() -> int:
            refuse_dashes(given)
            try:
                with self.make_context(prog_name, list(given), **extra) as ctx:
                    return int(self.invoke(ctx) or DONE)
            except click.exceptions.Exit as end:  # --help and --version
                return end.exit_code

        if os.environ.get("NO_COLOR"):
            extra["color"] = False
        sys.exit(guarded(run, debug="--debug" in given))


def refuse_dashes(args: Sequence[str]) -> None:
    """Refuse an argument that starts with a dash that only looks like ``-``, as word processors write it."""
    for arg in args:
        plain = arg.lstrip("-" + "".join(DASHES))
        mark = next((c for c in arg[: len(arg) - len(plain)] if c in DASHES), "")
        if mark and plain and not os.path.lexists(arg):
            dashes = "-" if len(plain) == 1 else "--"
            raise click.UsageError(f"'{arg}' starts with {DASHES[mark]}: type it as '{dashes}{plain}'")


def command(name: str, **options: Any) -> Callable[[Callable[..., int]], Command]:
    """Return the decorator that makes a function a ``Command``; the function returns the exit code."""

    def wrap(function: Callable[..., int]) -> Command:
        return click.command(name, cls=Command, **options)(function)

    return wrap
