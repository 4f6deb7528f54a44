"""replay: a saved explanation, computed again from its manifest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, printable
from .explain import explain_sample, samples_of
from .manifest import Recipe, revived
from .model import Model, load
from .spec import ModelSpec

if TYPE_CHECKING:
    import os

    from .explanation import Explanation


def replay(explanation: Explanation, model: Model | str | os.PathLike[str] | None = None) -> Explanation:
    """Recompute a saved explanation from its manifest: same input, settings, seed, session layout and batch size.

    The result equals the saved one bit for bit on the same kind of machine. ``model`` is needed where the file is no
    longer where the manifest says. Raises ``InputError`` where the model is another one.
    """
    if explanation.sample is None or "layout" not in explanation.manifest:
        raise InputError("this explanation was saved without its input or manifest; it cannot be replayed")
    recipe = Recipe.read(explanation)
    source = model if isinstance(model, Model) else _opened(recipe, model)
    if source.digest != recipe.digest:
        raise InputError(
            "this is not the model that was explained: its digest differs",
            where=f"now {source.digest[:16]}, then {printable(recipe.digest[:16])}",
        )
    before = source.layout, source.spec, source.threads
    source.layout, source.spec, source.threads = recipe.layout, recipe.spec, recipe.threads
    try:
        (sample,) = samples_of(source, explanation.sample)
        settings = {n: revived(v) for n, v in explanation.settings.items()}
        again = explain_sample(
            source, sample, explanation.method, recipe.target, recipe.wrt, recipe.seed, None, settings
        )
    finally:
        source.layout, source.spec, source.threads = before
    return dataclasses.replace(again, manifest=again.manifest | {"target": recipe.asked})


def _opened(recipe: Recipe, model: str | os.PathLike[str] | None) -> Model:
    path = Path(recipe.path if model is None else model)
    if not str(path) or str(path) == "." or not path.exists():
        raise InputError(
            f"the model is not at '{printable(path)}' any more", tip="name it: onnxplain replay FILE --model MODEL"
        )
    is_device = recipe.device == "cpu" or recipe.device.startswith("cuda")
    return load(
        path,
        ModelSpec(),
        device=recipe.device if is_device else "auto",
        threads=recipe.threads,
        providers=None if is_device else [recipe.device],
    )
