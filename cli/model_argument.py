"""The argument MODEL and the options that go with it: a file, or a demonstration model by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import ModelError, nearest, printable
from .completing import complete_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.model import Model

CATALOGUE = "catalogue:"


def model_argument(function: Callable[..., int]) -> Callable[..., int]:
    """Add the argument MODEL and the options ``--spec``, ``--device`` and ``--threads`` to a command."""
    options = (
        click.argument("model", shell_complete=complete_models),
        click.option("--spec", metavar="FILE", help="TOML file with labels and preprocessing, instead of MODEL's own."),
        click.option(
            "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N (GPU N)."
        ),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use; all if not given."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def model_file(text: str) -> str:
    """Return the path that MODEL stands for: a file, ``catalogue:NAME``, or NAME where there is no such file."""
    from ..models import catalogue

    if text.startswith(CATALOGUE):
        return str(catalogue.path(text.removeprefix(CATALOGUE)))
    if os.path.lexists(text):
        return text
    names = [recipe.name for recipe in catalogue.recipes()]
    if text in names:
        return str(catalogue.path(text))
    if not Path(text).suffix and os.sep not in text:
        raise ModelError(
            f"there is no file and no demonstration model '{printable(text)}'", tip=nearest(text, [*names, *_here()])
        )
    return text


def open_model(model: str, spec: str | None, device: str, threads: int | None) -> Model:
    """Open what MODEL stands for."""
    from .. import load

    return load(model_file(model), spec=spec, device=device, threads=threads)


def model_json(model: Model) -> dict[str, Any]:
    """Return what JSON documents say of a model."""
    return {
        "path": str(model.path) if model.path else "",
        "digest": model.digest,
        "size": model.size,
        "opset": model.opsets,
        "device": model.device.name,
        "inputs": [_tensor_json(i) for i in model.inputs],
        "outputs": [_tensor_json(o) for o in model.outputs],
    }


def _tensor_json(tensor: Any) -> dict[str, Any]:
    dtype = "string" if tensor.dtype == object else tensor.dtype.name
    return {"name": tensor.name, "dtype": dtype, "shape": list(tensor.shape), "batch_axis": tensor.batch_axis}


def _here() -> list[str]:
    """Return the ONNX files in the current folder."""
    return [path.name for path in sorted(Path().glob("*.onnx"))[:100]]
