"""``onnxplain models``: the demonstration models, where they lie and how they are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .completing import complete_recipes
from .errors import DONE, print_error
from .lazy import HELP_NAMES, Command, debug_option
from .output import print_json, size, table

if TYPE_CHECKING:
    from pathlib import Path

    from ..models.catalogue import Recipe


@click.group("models", invoke_without_command=True, context_settings={"help_option_names": HELP_NAMES})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def models_command(ctx: click.Context, as_json: bool) -> int:  # noqa: FBT001 - click's call
    """List the demonstration models; build one, or print where it lies.

    Nothing is fetched unless a model is built.

    \b
    Examples:
      onnxplain models
      onnxplain models build efficientnet-lite0
      onnxplain explain digits-cnn "$(onnxplain models samples digits-cnn | head -1)"
    """
    return show(as_json=as_json) if ctx.invoked_subcommand is None else DONE


command = models_command
command.params.append(debug_option())


@models_command.command("list", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def list_command(as_json: bool) -> int:  # noqa: FBT001 - click's call
    """List the models and say which have been built.

    \b
    Example:
      onnxplain models list --json
    """
    return show(as_json=as_json)


@models_command.command("build", cls=Command)
@click.argument("name", shell_complete=complete_recipes)
@click.option("--again", is_flag=True, help="Build also if it is there.")
def build_command(name: str, again: bool) -> int:  # noqa: FBT001 - click's call
    """Build the model NAME; prints what it fetches, then its path.

    \b
    Example:
      onnxplain models build efficientnet-lite0
    """
    from ..models import catalogue

    file = catalogue.build(name, report=lambda line: print_error(line, "note"), again=again)
    click.echo(str(file))
    return DONE


@models_command.command("path", cls=Command)
@click.argument("name", shell_complete=complete_recipes)
def path_command(name: str) -> int:
    """Print the path of the ONNX file of the model NAME.

    \b
    Example:
      onnxplain inspect "$(onnxplain models path digits-cnn)"
    """
    from ..models import catalogue

    click.echo(str(catalogue.path(name)))
    return DONE


@models_command.command("samples", cls=Command)
@click.argument("name", shell_complete=complete_recipes)
def samples_command(name: str) -> int:
    """Print the paths of sample inputs of the model NAME, one a line.

    \b
    Example:
      onnxplain explain digits-cnn "$(onnxplain models samples digits-cnn | head -1)"
    """
    from ..models import catalogue

    for file in catalogue.samples(name):
        click.echo(str(file))
    return DONE


def show(*, as_json: bool) -> int:
    """Print the catalogue as a table or as JSON."""
    from ..models import catalogue

    entries = [_entry(recipe) for recipe in catalogue.recipes()]
    if as_json:
        print_json({"home": str(catalogue.home()), "models": entries})
        return DONE
    head = ("name", "task", "input", "size", "state", "what it is")
    rows = [(e["name"], e["task"], e["modality"], size(e["size"]), e["state"], e["title"]) for e in entries]
    click.echo(table(head, rows, right="   r"))
    click.echo("\nLicences")
    click.echo(table((), [(e["name"], e["licence"]) for e in entries], indent=2))
    click.echo(f"\nBuilt models lie in {catalogue.home()}; ONNXPLAIN_HOME moves them.")
    return DONE


def _entry(recipe: Recipe) -> dict[str, Any]:
    file, readiness = state(recipe.name)
    return {
        "name": recipe.name,
        "title": recipe.title,
        "task": recipe.task,
        "modality": recipe.modality,
        "size": recipe.size,
        "licence": recipe.licence,
        "state": readiness,
        "path": str(file) if file is not None else None,
    }


def state(name: str) -> tuple[Path | None, str]:
    """Return where a model lies and whether it can be used."""
    from ..engine.errors import CapabilityError, ModelError
    from ..models import catalogue

    try:
        return catalogue.path(name), "ready"
    except CapabilityError:
        return None, "not built"
    except ModelError:
        return None, "damaged"
