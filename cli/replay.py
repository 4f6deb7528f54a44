"""``onnxplain replay``: a saved explanation or analysis, computed again and compared bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import printable
from .errors import DIFFERS, DONE, print_error
from .lazy import command
from .model_argument import model_file
from .output import print_json

if TYPE_CHECKING:
    from ..engine.analyses.analysis import Analysis
    from ..engine.explanation import Explanation

FIELDS = ("score", "baseline_score", "gap", "evaluations", "method", "settings", "target", "label", "notes")
FIELDS_OF_ANALYSIS = ("name", "columns", "rows", "evaluations", "settings", "notes")
SAME_MACHINE = ("machine", "provider", "device", "threads", "versions")


@command("replay")
@click.argument("result", metavar="RESULT.npz")
@click.option("--model", metavar="MODEL", help="The model, where it is no longer where it was.")
@click.option("--data", metavar="FILE", help="The data of an analysis, where they are no longer where they were.")
@click.option("--labels", metavar="COLUMN", help="The labels of an analysis, as onnxplain analyse takes them.")
@click.option("--tokenizer", metavar="FILE", help="The tokenizer of an analysis, where it is no longer where it was.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def replay_command(result: str, model: str | None, as_json: bool, **beside: str | None) -> int:  # noqa: FBT001 - click's call
    """Recompute a saved explanation or analysis from its manifest and say whether it is identical.

    Exits with 1 where the numbers differ.

    \b
    Examples:
      onnxplain replay out/cat.rise.npz
      onnxplain replay cat.rise.npz --model model.onnx
      onnxplain replay out/permutation-importance.npz --data rows.csv
    """
    from .. import Analysis, Explanation, replay
    from ..engine.analyses.analysis import FORMAT
    from ..engine.results.file import format_of

    saved: Explanation | Analysis
    again: Explanation | Analysis
    named = None if model is None else model_file(model)
    if format_of(Path(result)) == FORMAT:
        saved = Analysis.load(result)
        again = replay(saved, named, **beside)
    else:
        saved = Explanation.load(result)
        if any(value is not None for value in beside.values()):
            given = ", ".join(f"--{name}" for name, value in beside.items() if value is not None)
            raise click.UsageError(f"{given}: for an analysis; an explanation holds its input")
        again = replay(saved, named)
    found = compared(saved, again)
    if as_json:
        print_json({"explanation": result, **found})
    else:
        for line in found["environment"]:
            print_error(line, "note")
        click.echo("identical" if found["identical"] else "different")
        for line in [] if found["identical"] else _differences(found):
            click.echo(printable(line))
    return DONE if found["identical"] else DIFFERS


command = replay_command


def compared(saved: Explanation | Analysis, again: Explanation | Analysis) -> dict[str, Any]:
    """Return whether two results are identical, the largest differences, and what has changed around them."""
    from .. import Analysis
    from ..engine.settings import plain

    is_analysis = isinstance(saved, Analysis)
    before, now = (one.arrays if isinstance(one, Analysis) else one.values for one in (saved, again))
    return {
        "identical": saved == again,
        "fields": [
            {"name": name, "saved": then, "now": new}
            for name in (FIELDS_OF_ANALYSIS if is_analysis else FIELDS)
            if (then := plain(getattr(saved, name))) != (new := plain(getattr(again, name)))
        ],
        "values": {name: _largest_difference(array, now.get(name)) for name, array in before.items()},
        "environment": _environment(saved.manifest, again.manifest),
    }


def _largest_difference(saved: Any, now: Any) -> dict[str, Any]:
    """Return the largest absolute difference, alone and relative to the largest saved value; None for another shape."""
    import numpy as np

    if now is None or now.shape != saved.shape:
        return {"absolute": None, "relative": None}
    if saved.dtype.kind not in "fiub":
        same = bool((saved == now).all())
        return {"absolute": 0.0 if same else None, "relative": None}
    absolute = float(np.abs(saved - now).max(initial=0.0))
    largest = float(np.abs(saved).max(initial=0.0))
    return {"absolute": absolute, "relative": absolute / largest if largest else None}


def _differences(found: dict[str, Any]) -> list[str]:
    lines = [f"  {field['name']}: {field['saved']!r} then, {field['now']!r} now" for field in found["fields"]]
    for name, difference in found["values"].items():
        if difference["absolute"] is None:
            lines.append(f"  values of {name}: another shape or other names")
            continue
        if not difference["absolute"]:
            continue
        relative = difference["relative"]
        share = f" ({relative:.2g} of the largest value)" if relative is not None else ""
        lines.append(f"  values of {name}: largest difference {difference['absolute']:.3g}{share}")
    return lines


def _environment(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say what of the machine and its software is not as it was."""
    before, after = _flat(saved), _flat(now)
    return [
        f"{key} was {before[key]}, is {after.get(key, 'unknown')}" for key in before if before[key] != after.get(key)
    ]


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    kept = {key: manifest[key] for key in SAME_MACHINE if key in manifest}
    versions = kept.pop("versions", {})
    return kept | {f"version of {name}": version for name, version in versions.items()}
