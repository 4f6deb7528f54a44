"""explain: from a model and inputs to explanations; the function behind the front door."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import graph
from .errors import InputError, OnnxplainError, SettingError, printable
from .inputs.acceptance import accepted
from .inputs.array import check_feeds, may_miss, split_rows
from .inputs.beside import load_beside, texts_in
from .inputs.load import expand_sources, load_samples
from .inputs.sample import Sample
from .inputs.text import Place, Text, Texts
from .inputs.text_inputs import no_text, text_inputs
from .model import Model, load
from .question import Question
from .registry import find
from .rows import has_rows, leading, native
from .settings import settings_of

if TYPE_CHECKING:
    from .inputs.rows import Refused
    from .problem import Progress

One = np.ndarray | Text | str | os.PathLike[str]
Inputs = One | Mapping[str, One] | Sample | Sequence[Any]


def explain(  # noqa: PLR0913, PLR0917 - the front door: each is a choice of the user
    model: Model | str | os.PathLike[str] | bytes,
    inputs: Inputs,
    method: str = "occlusion",
    target: str | int = "top",
    wrt: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    smooth: str | None = None,
    refused: Refused | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    **given: Any,
) -> Any:
    """Explain the decision of a model on one input, or on several.

    ``model`` is a Model or a path; ``inputs`` an array, a dict of arrays by input name, a Sample, a Text, a file
    (``cat.jpg``, ``rows.csv:3``, ``reviews.txt:0-9``, ``batch.npz``), a folder or pattern of files, or a list of these;
    a dict may hold Texts, and files beside them. ``given`` are the method's settings, as listed by ``onnxplain methods
    NAME``; with several inputs a setting may be a dict by input name. ``smooth`` is ``smoothgrad``,
    ``smoothgrad-squared`` or ``vargrad``: those methods around a gradient method; ``given`` are then its settings, and
    those of the smoothing (``samples``, ``noise``) that it does not have itself. ``tokenizer`` is a tokenizer.json for
    texts, where it is not beside the model nor named in its spec. Returns one Explanation for one row and a list for
    several. Raises an ``OnnxplainError`` that says what cannot be used and why; with ``refused``, a function of a
    source (``rows.csv:17``) and an error, that is told of rows and files that cannot be used or explained, and a list
    of the others comes back.

    >>> import numpy as np, onnxplain
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> result = onnxplain.explain(model, np.zeros((1, 1, 8, 8), np.float32), "occlusion", target=3, window=2)
    >>> result.values["image"].shape
    (1, 1, 8, 8)
    """
    if smooth is not None:
        method, given = smooth, _smoothed(smooth, method, given)
    opened = model if isinstance(model, Model) else load(model)
    samples = list(samples_of(opened, inputs, tokenizer, refused=refused))
    results = Question.of(opened, method, target, wrt, seed, progress, given).answers(samples, refused)
    return results if len(results) != 1 or refused is not None or _is_many(inputs, opened) else results[0]


def _smoothed(smooth: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a method that smooths another: its own, and the other with the rest."""
    own, inner = ({s.name for s in settings_of(find(name, "explainer").factory)} for name in (smooth, method))
    if not {"of", "settings"} <= own:
        raise SettingError(
            f"{printable(smooth)[:60]} does not smooth other methods", tip="smoothgrad, smoothgrad-squared or vargrad"
        )
    mine = {name: value for name, value in given.items() if name in own - inner - {"of", "settings"}}
    return mine | {"of": method, "settings": {name: value for name, value in given.items() if name not in mine}}


def samples_of(
    model: Model,
    inputs: Inputs,
    tokenizer: str | os.PathLike[str] | None = None,
    texts: Texts | None = None,
    refused: Refused | None = None,
) -> Iterator[Sample]:
    """Yield the samples that ``inputs`` stands for, checked and with the batch axis first.

    ``tokenizer`` is a tokenizer.json for texts, where it is not beside the model nor named in its spec. ``texts`` go
    into the inputs that take texts; ``inputs`` are then what fills the others. ``refused`` is told of rows of a file,
    and of files of a list, that cannot be used; those are left out.
    """
    given: Any = inputs
    if texts is None:
        texts, given = texts_in(inputs)
    if texts is not None:
        for sample in load_beside(texts, given, model.inputs, model.spec, place_of(model, tokenizer)):
            yield accepted(dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs)), model)
    elif isinstance(given, Sample):
        yield _checked(given, model)
    elif isinstance(given, str | os.PathLike):
        sources, place = _sources(os.fspath(given), model), place_of(model, tokenizer)
        for source in sources:
            read = partial(_read, source, model, place, refused)
            yield from _sparing(source, read, refused) if len(sources) > 1 else read()
    elif _is_many(given, model):
        for one in given:
            about = os.fspath(one) if isinstance(one, str | os.PathLike) else ""
            yield from _sparing(about, partial(samples_of, model, one, tokenizer, refused=refused), refused)
    else:
        for row, sample in enumerate(split_rows(given, model.inputs, spec=model.spec)):
            yield from _sparing(f"row {row}", partial(_taken, sample, model), refused)


def _sources(given: str, model: Model) -> list[str]:
    """Return the files that a name stands for; where there is none, say to a model of texts how they are given."""
    try:
        return expand_sources([given])
    except InputError as error:
        if error.tip or not text_inputs(model.inputs, model.spec):
            raise
        tip = 'a text, rather than the name of a file, is given as onnxplain.Text("...")'
        raise InputError(error.message, where=error.where, tip=tip) from None


def _read(source: str, model: Model, place: Place, refused: Refused | None) -> Iterator[Sample]:
    for sample in load_samples(source, model.inputs, model.spec, place, refused):
        yield from _sparing(sample.source, partial(_taken, sample, model), refused)


def _taken(sample: Sample, model: Model) -> Iterator[Sample]:
    yield accepted(dataclasses.replace(sample, feeds=leading(sample.feeds, model.inputs)), model)


def _sparing(about: str, read: Callable[[], Iterator[Sample]], refused: Refused | None) -> Iterator[Sample]:
    """Yield what is read; what cannot be is told to ``refused``, if that is given."""
    try:
        yield from read()
    except OnnxplainError as error:
        if refused is None:
            raise
        refused(about, error)


def place_of(model: Model, tokenizer: str | os.PathLike[str] | None = None) -> Place:
    """Return what the model's file says about texts: where a tokenizer would be, and how many codes are known.

    InputError where a tokenizer is named and the model takes no text.
    """
    names = [found.main.name for found in text_inputs(model.inputs, model.spec)]
    if tokenizer is not None and not names:
        error = no_text(model.inputs)
        raise InputError(f"there is no use for a tokenizer: {error.message}", where=error.where, tip=error.tip)
    embeddings = {name: graph.embedding_rows(model.proto, name) for name in names}
    return Place(model.path.parent if model.path is not None else None, embeddings, tokenizer)


def _is_many(inputs: Inputs, model: Model) -> bool:
    """Say whether this is a list of inputs; texts are files, or one row for a model that takes texts.

    Lists in lists in a list are one array.
    """
    if not isinstance(inputs, list | tuple) or not inputs:
        return False
    if isinstance(inputs[0], list) and inputs[0] and isinstance(inputs[0][0], list):
        return False
    if isinstance(inputs[0], str):
        return all(i.dtype.kind != "O" for i in model.inputs)
    return not np.isscalar(inputs[0])


def _checked(sample: Sample, model: Model) -> Sample:
    """Check a sample that was made by hand, or read from a file, like any arrays; it holds one row."""
    try:
        given = {n: native(n, np.asarray(a), model.inputs) for n, a in sample.feeds.items()}
    except (IndexError, ValueError):
        given = dict(sample.feeds)  # of a rank that is refused, or completed, next
    feeds = leading(check_feeds(given, model.inputs, may_miss(model.spec)), model.inputs)
    count = max((len(f) for n, f in feeds.items() if has_rows(n, model.inputs)), default=1)
    if count != 1:
        raise InputError(f"a Sample holds one row, not {count}", tip="give the array itself, or a list of Samples")
    return accepted(dataclasses.replace(sample, feeds=feeds), model)
