"""replay: a saved explanation or analysis, computed again from its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..analyses.analysis import Analysis
from ..errors import InputError, printable
from ..explain import samples_of
from ..model import Model, load
from ..question import Question
from ..spec import ModelSpec
from .manifest import Opening, Recipe, revived

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from ..explanation import Explanation
    from ..runtime import Layout


@overload
def replay(result: Explanation, model: Model | str | os.PathLike[str] | None = None) -> Explanation: ...


@overload
def replay(
    result: Analysis,
    model: Model | str | os.PathLike[str] | None = None,
    data: Any = None,
    labels: Any = None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> Analysis: ...


def replay(
    result: Explanation | Analysis,
    model: Model | str | os.PathLike[str] | None = None,
    data: Any = None,
    labels: Any = None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> Explanation | Analysis:
    """Recompute a saved result from its manifest: same input, settings, seed, session layout and batch size.

    The result equals the saved one bit for bit on the same kind of machine. ``model`` is needed where the file is no
    longer where the manifest says; so are, for an analysis, ``data``, ``labels`` and ``tokenizer``, which its file does
    not hold.
    Raises ``InputError`` where the model or the data are others.
    """
    if isinstance(result, Analysis):
        from ..analyses.replay import replay_analysis

        return replay_analysis(result, model, data, labels, tokenizer)
    return _replayed(result, model)


def _replayed(explanation: Explanation, model: Model | str | os.PathLike[str] | None) -> Explanation:
    if explanation.sample is None or "layout" not in explanation.manifest:
        raise InputError("this explanation was saved without its input or manifest; it cannot be replayed")
    recipe = Recipe.read(explanation)
    source = reopened(recipe.opening, model)
    with as_then(source, recipe.opening, recipe.layout):
        (sample,) = samples_of(source, explanation.sample)
        settings = {n: revived(v) for n, v in explanation.settings.items()}
        asked = Question.of(source, explanation.method, recipe.target, recipe.wrt, recipe.seed, given=settings)
        again = asked.answer(sample)
    return dataclasses.replace(again, manifest=again.manifest | {"target": recipe.asked})


def reopened(opening: Opening, model: Model | str | os.PathLike[str] | None) -> Model:
    """Return the model of a result: the given one, or what lies where it lay.

    Raises ``InputError`` where that is another one, or none.
    """
    source = model if isinstance(model, Model) else _opened(opening, model)
    if source.digest != opening.digest:
        raise InputError(
            "this is not the model that was explained: its digest differs",
            where=f"now {source.digest[:16]}, then {printable(opening.digest[:16])}",
        )
    return source


@contextlib.contextmanager
def as_then(model: Model, opening: Opening, layout: Layout | None = None) -> Iterator[None]:
    """Within this, a model has the spec, the threads and the layout that it had."""
    before = model.layout, model.spec, model.threads
    model.layout, model.spec, model.threads = layout, opening.spec, opening.threads
    try:
        yield
    finally:
        model.layout, model.spec, model.threads = before


def _opened(opening: Opening, model: str | os.PathLike[str] | None) -> Model:
    path = Path(opening.path if model is None else model)
    if model is None and (str(path) == "." or not path.exists()):
        raise InputError(
            f"the model is not at '{printable(path)}' any more", tip="name it: onnxplain replay FILE --model MODEL"
        )
    is_device = opening.device == "cpu" or opening.device.startswith("cuda")
    return load(
        path,
        ModelSpec(),
        device=opening.device if is_device else "auto",
        threads=opening.threads,
        providers=None if is_device else [opening.device],
    )
