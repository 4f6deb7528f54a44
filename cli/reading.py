"""What the command line names as inputs: files and texts, alone or beside each other, read one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..engine.errors import OnnxplainError
    from ..engine.inputs.sample import Sample
    from ..engine.inputs.text import Texts
    from ..engine.model import Model

Command = TypeVar("Command", bound="Callable[..., Any]")
Read = TypeVar("Read")


text_column = click.option(
    "--text-column",
    multiple=True,
    metavar="NAME",
    help="The column of a CSV file that holds the texts, where it is not called text or such; twice for pairs.",
)


tokenizer_option = click.option(
    "--tokenizer", metavar="FILE", help="The tokenizer.json for texts, if it is not beside MODEL nor in its spec."
)


def text_options(command: Command) -> Command:
    """Add the options for texts."""
    options = (
        click.option(
            "--text", multiple=True, metavar="TEXT", help="A text, as an INPUT or beside one; may be repeated."
        ),
        click.option(
            "--text-pair", multiple=True, metavar="TEXT", help="The second of two texts, after --text: a hypothesis."
        ),
        tokenizer_option,
        text_column,
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Named:
    """What the command line names: files (folders, patterns), texts, their second halves, tokenizer and columns."""

    inputs: tuple[str, ...]
    text: tuple[str, ...]
    text_pair: tuple[str, ...]
    tokenizer: str | None
    text_column: tuple[str, ...]

    def check(self, instead: str = "") -> None:
        """Refuse a command without any input; ``instead`` says what else would do."""
        if self.text_pair and not self.text:
            raise click.UsageError("--text-pair is the second text of a pair; give the first one with --text")
        if not self.inputs and not self.text:
            raise click.UsageError(f"Missing argument 'INPUT...': name a file, or give a text with --text{instead}.")


def name_text_columns(model: Model, names: tuple[str, ...]) -> None:
    """Write into the model's spec which columns of CSV files hold its texts, where the command line says it."""
    from ..engine.inputs.text_columns import with_text_columns
    from ..engine.inputs.text_inputs import text_inputs

    if names:
        model.spec = with_text_columns(model.spec, text_inputs(model.inputs, model.spec), names)


def samples_named(model: Model, named: Named, failed: Callable[[str, OnnxplainError], None]) -> Iterator[Sample]:
    """Yield the samples of all that was named; what cannot be read is told to ``failed`` and left out.

    Texts are samples of their own where they fill all that the model asks for. Otherwise files fill the rest: one text
    goes with every file, several go each with the file of the same place.
    """
    from ..engine.explain import samples_of
    from ..engine.inputs.beside import alongside, called, grouped_texts

    def attempt(about: str, read: Callable[[], list[Read]]) -> list[Read]:
        from .. import OnnxplainError

        try:
            return read()
        except OnnxplainError as error:
            failed(about, error)
            return []

    def read(source: Any, given: Texts | None) -> list[Sample]:
        return list(samples_of(model, source, named.tokenizer, given, failed))

    name_text_columns(model, named.text_column)
    texts = attempt("", lambda: grouped_texts(named.text, named.text_pair, model.inputs, model.spec))
    files = (source for argument in named.inputs for source in attempt(argument, partial(_sources, argument)))
    if not named.text:
        for source in files:
            yield from attempt(source, partial(read, source, None))
        return
    for given, source in attempt("", lambda: alongside(texts, list(files), model.inputs, model.spec)):
        about = ", ".join(part for part in (called(given), source) if part)
        yield from attempt(about, partial(read, source or {}, given))


def _sources(argument: str) -> list[str]:
    """Return the files that an argument names; where it names none but a method or metric, say how these are given."""
    from ..engine.errors import InputError, SettingError
    from ..engine.inputs.load import expand_sources
    from ..engine.registry import find

    try:
        return expand_sources([argument])
    except InputError as error:
        try:
            kind = find(argument).kind
        except SettingError:  # the name of nothing
            raise error from None
        called, option = {"explainer": ("method", "-m"), "metric": ("metric", "--metric")}.get(kind, ("", ""))
        if not called or Path(argument).exists():
            raise
        tip = f"this is the name of a {called}, which is given with {option} {argument}"
        raise InputError(error.message, where=error.where, tip=tip) from None
