"""analyse: from a model and data to an Analysis; the function behind the front door."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import registry, settings
from ..errors import SettingError, blaming, printable
from ..linear_algebra import one_thread
from ..model import Model, load
from ..problem import Silence
from ..question import check_capability
from ..results.manifest import circumstances, storable
from ..settings import plain
from .data import read_study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..problem import Progress
    from .analysis import Analysis
    from .study import Study

TOKENIZER_NAMED = ("tokenizer", "tokenizer_digest")  # as text_codes writes them


def analyse(
    model: Model | str | os.PathLike[str] | bytes,
    data: Any,
    name: str,
    labels: Any = None,
    target: str | int = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    **given: Any,
) -> Analysis:
    """Study a model over data: what its predictions rest on as a whole.

    ``model`` is a Model or a path. ``data`` is a file (CSV with a header, .txt with a text in each line, .npy, .npz), a
    folder of files, an array, a dict of arrays by input name, a Sample or a list of these. ``labels`` are the true
    classes or values, where the analysis needs them: an array, the name of a column of the data, or a file of one
    column; a CSV file's own column called target, label, class or y is found. ``name`` is an analysis as listed by
    ``onnxplain methods --kind analysis``, and ``given`` its settings. ``tokenizer`` is a tokenizer.json for texts,
    where it is not beside the model nor named in its spec. Raises an ``OnnxplainError`` that says what cannot be used
    and why.

    >>> import numpy as np, onnxplain
    >>> model = onnxplain.load(onnxplain.models.path("digits-cnn"))
    >>> rows = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    >>> result = onnxplain.analyse(model, rows, "permutation-importance", labels=np.arange(20) % 10, features="grid:2")
    >>> result.columns
    ('feature', 'importance', 'spread', 'accuracy when shuffled')
    """
    plugin = registry.find(name, "analysis")
    analyst = settings.build(plugin.factory, dict(given), name)
    opened = model if isinstance(model, Model) else load(model)
    check_capability(plugin, None, opened)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"seed must be a whole number from 0 on, not {printable(repr(seed))[:80]}")
    begun = time.perf_counter()
    study = dataclasses.replace(
        study_of(opened, analyst, data, labels, tokenizer),
        target=str(target).strip() or "auto",
        seed=int(seed),
        name=name,
        progress=progress or Silence(),
    )
    found = studied(study, analyst)
    asked = {"labels_given": os.fspath(labels)} if isinstance(labels, str | os.PathLike) else {}
    if tokenizer is not None:
        asked["tokenizer_given"] = str(Path(tokenizer).absolute())
    return dataclasses.replace(
        found,
        settings={f.name: storable(getattr(analyst, f.name)) for f in dataclasses.fields(analyst) if f.init},
        seconds=time.perf_counter() - begun,
        manifest=manifest_of(study, plugin, given) | asked | found.manifest,
    )


def study_of(
    model: Model, analyst: Any, data: Any, labels: Any, tokenizer: str | os.PathLike[str] | None = None
) -> Study:
    """Return the rows and labels of data, with the columns beside the model's that a plug-in's settings name."""
    beside = [value for key in ("weights",) if isinstance(value := getattr(analyst, key, None), str)]
    return read_study(model, data, labels, beside, tokenizer)


def studied(study: Study, analyst: Any) -> Analysis:
    """Return what a plug-in finds, with the study's name and notes."""
    with study.model.remembering(), one_thread(), blaming(study.name, analyst):
        found: Analysis = analyst.analyse(study)
    return dataclasses.replace(found, name=study.name, notes=(*found.notes, *study.notes))


def manifest_of(study: Study, plugin: registry.Plugin, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader wants to know of how the result was made, and what it takes to make it again."""
    model = study.model
    return circumstances(model, plugin, given) | {
        "spec": plain(dataclasses.asdict(model.spec)),  # with its labels: those of the data may be names of classes
        "seed": study.seed,
        "target": study.target,
        "layouts": [dataclasses.asdict(layout) for layout in study.layouts.used],
        "data": study.source,
        "data_rows": study.count,
        "data_digest": digest(study),
        "labels": study.labels is not None,
        **({"preprocessing": {"texts": read}} if (read := tokenizers_of(study)) else {}),
    }


def tokenizers_of(study: Study) -> dict[str, dict[str, Any]]:
    """Return what made codes of the texts of all rows, by input, as the manifest of an explanation names it.

    Empty where rows have no such texts, or were read by different tokenizers.
    """
    found = [
        {name: {key: read[key] for key in TOKENIZER_NAMED} for name, read in texts.items() if read.get("tokenizer")}
        for texts in (sample.preprocessing.get("texts", {}) for sample in study.given)
    ]
    return found[0] if found and all(one == found[0] for one in found) else {}


def digest(study: Study) -> str:
    """Return the SHA-256 of all rows and labels."""
    found = hashlib.sha256()
    arrays = [*(study.rows[name] for name in sorted(study.rows)), *([] if study.labels is None else [study.labels])]
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        if array.dtype == object:
            found.update("\0".join(map(str, array.reshape(-1).tolist())).encode())
        else:
            found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
