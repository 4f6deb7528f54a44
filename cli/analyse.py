"""``onnxplain analyse``: what a model's predictions rest on over data as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import InputError, printable
from .completing import complete_analyses
from .errors import DONE
from .lazy import command
from .model_argument import model_argument, model_json, open_model
from .output import heading, print_json, table
from .progress import bar
from .reading import name_text_columns, text_column, tokenizer_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.analyses.analysis import Analysis, Cell

MOST_ROWS = 20
MOST_LISTED = 10


@command("analyse")
@click.argument("name", metavar="NAME", shell_complete=complete_analyses)
@model_argument
@click.option(
    "--data",
    required=True,
    metavar="FILE",
    help="CSV file with a header, .txt file with a text in each line, .npy or .npz file, or a folder.",
)
@click.option(
    "--labels",
    metavar="COLUMN",
    help="True classes or values: a column of the data, a file of one column, or a form of names: '*-{label}.jpg'.",
)
@tokenizer_option
@text_column
@click.option("--set", "assigned", multiple=True, metavar="KEY=VALUE", help="A setting; see: onnxplain methods NAME.")
@click.option(
    "-t",
    "--target",
    default="auto",
    show_default=True,
    metavar="T",
    help="Class, tensor[index], probability:CLASS, all.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of what is drawn.")
@click.option("-o", "--output", metavar="DIR", help="Folder for the arrays (.npz), the picture and a page.")
@click.option("--format", "picture", type=click.Choice(["png", "svg"]), help="Format of the picture; png if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def analyse_command(**options: Any) -> int:
    """Study MODEL over data by the analysis NAME.

    MODEL is an ONNX file or the name of a demonstration model; see: onnxplain methods --kind analysis.

    \b
    Examples:
      onnxplain analyse permutation-importance model.onnx --data rows.csv --labels diagnosis
      onnxplain analyse permutation-importance model.onnx --data rows.csv --set score=auc --set repeats=30 -o out
      onnxplain analyse partial-dependence model.onnx --data rows.csv --target malignant -o out
      onnxplain analyse partial-dependence model.onnx --data rows.csv --set columns='age,income' --set pair=true
      onnxplain analyse ice model.onnx --data rows.csv --set columns=age --set centre=first --json
      onnxplain analyse permutation-importance model.onnx --data reviews.txt --labels labels.csv -o out
      onnxplain analyse lrp-pruning model.onnx --data photos/ --labels '*-{label}.jpg' -o out
    """
    if options["picture"] is not None and options["output"] is None:
        raise click.UsageError("--format is about the picture, which is written with -o DIR only")
    if options["output"] == "":
        raise click.UsageError("-o takes the name of a folder, and the name given is empty")
    return analyse(options)


command = analyse_command


def analyse(options: dict[str, Any]) -> int:
    """Run one analysis, show or save the result and return the exit code."""
    from .. import analyse as run
    from ..engine.registry import find
    from ..engine.settings import build

    name = options["name"]
    plugin = find(name, "analysis")
    settings = _settings(options["assigned"], name)
    build(plugin.factory, settings, name)  # refused before the model is opened
    folder = None if options["output"] is None else _folder(options["output"], f"{name}.html")
    model = open_model(options["model"], options["spec"], options["device"], options["threads"])
    name_text_columns(model, options["text_column"])
    with bar(Path(options["data"]).name) as progress:
        found = run(
            model,
            options["data"],
            name,
            labels=options["labels"],
            target=options["target"],
            seed=options["seed"],
            progress=progress,
            tokenizer=options["tokenizer"],
            **settings,
        )
    files = [] if folder is None else _written(found, folder, options["picture"] or "png")
    if options["as_json"]:
        print_json({"model": model_json(model), **found.to_json(), "files": [str(file) for file in files]})
        return DONE
    click.echo(summary(found))
    for file in files:
        click.echo(f"  wrote {printable(file)}")
    return DONE


def summary(found: Analysis) -> str:
    """Return the table, at most its first rows, with what it was made from and what it cost."""
    facts = [("data", f"{found.manifest.get('data') or 'arrays'}, {found.manifest.get('data_rows', 0):,} rows")]
    facts.append(("cost", f"{found.evaluations:,} evaluations in {found.seconds:.2f} s"))
    facts += [("note", note) for note in found.notes]
    parts = [heading(found.words.get("title", found.name)), table((), facts, indent=2)]
    is_ranked = found.picture in {"bars", "curves"} and not found.listing
    parts += _lines(found.columns, found.rows[:MOST_ROWS], len(found.rows), is_ranked=is_ranked)
    if found.listing:
        count = len(found.arrays[found.listing[0]])
        parts.append(heading(found.words.get("listing", "listing")))
        parts += _lines(found.listing, found.listed(MOST_LISTED), count, is_ranked=True)
    return "\n".join(parts)


def _lines(head: Sequence[str], rows: Sequence[Sequence[Cell]], count: int, *, is_ranked: bool) -> list[str]:
    """Return a table of the first of so many rows, numbered where they are ranked, and how many more there are."""
    if not rows:
        return []
    cells = [[*([str(place)] if is_ranked else []), *_cells(row)] for place, row in enumerate(rows, 1)]
    right = "".join("r" if _is_number_column(rows, k) else " " for k in range(len(head)))
    mark = ["", "r"] if is_ranked else []
    told = table([*mark[:1], *head], cells, indent=2, right="".join(mark) + right)
    return [told] if len(rows) == count else [told, f"  and {count - len(rows):,} more"]


def _cells(row: Sequence[Cell]) -> list[str]:
    return [f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value) for value in row]


def _is_number_column(rows: Sequence[Sequence[Cell]], k: int) -> bool:
    return all(row[k] is None or isinstance(row[k], int | float) for row in rows)


def _settings(assigned: Sequence[str], name: str) -> dict[str, Any]:
    """Read ``KEY=VALUE`` and ``NAME.KEY=VALUE``; the last one wins."""
    from ..engine.settings import parse_value

    found = {}
    for text in assigned:
        key, equals, value = text.partition("=")
        key = key.strip().removeprefix(f"{name}.")
        if not equals or not key:
            raise click.UsageError(f"--set takes SETTING=VALUE, not '{text}'")
        found[key] = parse_value(value)
    return found


def _folder(name: str, page: str) -> Path:
    """Return the folder of ``-o`` after checking that files can be written there."""
    from .folder import check_own, check_writable

    path = Path(name)
    check_writable(path)
    check_own(path / page)
    return path


def _written(found: Analysis, folder: Path, picture: str) -> list[Path]:
    """Write ``NAME.npz``, the picture and the page beside it."""
    from ..engine.render import analysis_section, page, save

    files = [found.save(folder / f"{found.name}.npz")]
    try:
        if found.picture != "none":
            files.append(save(found.plot(), folder / f"{found.name}.{picture}"))
        files.append(page(f"Analysis: {found.name}", [analysis_section(found)], folder / f"{found.name}.html"))
    except InputError as error:
        raise InputError(error.message, where=error.where, tip=f"{printable(files[0])} is written") from None
    return files
