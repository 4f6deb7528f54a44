"""Overhead on models of tables, which take microseconds a row: here the cost of the engine itself shows.

The bare loop has a batch of rows of the same kind that is there already: values of the sample and of its references,
mixed at random. A loop that draws coalitions and masks each batch, as anyone would write it, is measured beside it.
"""

from __future__ import annotations

import dataclasses
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import onnxplain
from benchmarks import bare
from onnxplain.engine import graph
from onnxplain.engine.explain import samples_of
from onnxplain.engine.masking.baselines import Baseline
from onnxplain.engine.target import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnxplain.engine.inputs.sample import Sample

MODELS = ("wine-mlp", "breast-cancer-forest")
EVALUATIONS = 10_000
ROWS, EVALUATIONS_A_ROW = 200, 500  # many rows of a file, a few evaluations each
BATCHES = (256, 1024, 2048, 4096, 8192, EVALUATIONS)
ROUNDS = 15  # of bare loops on trial, which take a millisecond or ten

Case = tuple[str, "Callable[[], int]", bare.Bare]


def cases() -> Iterator[Case]:
    """Yield what is measured: a name, what runs it and returns its rows, and the bare loop on the same cut graph."""
    for name in MODELS:
        path = onnxplain.models.build(name, report=print)
        model = onnxplain.load(path, device="cpu")
        samples = list(samples_of(model, str(onnxplain.models.samples(name)[0])))
        sample = samples[0]
        target = resolve("top", model, sample.feeds)
        with tempfile.TemporaryDirectory() as folder:
            cut = Path(folder) / "cut.onnx"
            cut.write_bytes(graph.tap(model.proto, (target.tensor,)).SerializeToString())
            given = _mixed(sample.feeds, _rows(sample.feeds, 1))
            loop = bare.best(str(cut), EVALUATIONS, ROUNDS, BATCHES, given)
        for method, baseline, settings in _settings(sample.feeds):
            alike = dataclasses.replace(loop, given=_mixed(sample.feeds, baseline))

            def run(method: str = method, baseline: Any = baseline, settings: dict[str, Any] = settings) -> int:
                found = onnxplain.explain(model, sample, method, baseline=baseline, **settings)  # noqa: B023 - run within
                return int(found.evaluations)

            references = baseline.count if isinstance(baseline, Baseline) else 1
            yield f"onnxplain {method}, {name}, {references} reference(s)", run, alike

        alike = dataclasses.replace(loop, given=_mixed(sample.feeds, _rows(sample.feeds, 1)))
        yield f"loop that draws and masks, {name}", _plain(sample.feeds, loop), alike

        many = list(islice(cycle(samples), ROWS))
        zeros = Baseline("zero", {feed: np.zeros_like(value) for feed, value in sample.feeds.items()})
        alike = dataclasses.replace(loop, given=_mixed(sample.feeds, zeros))

        def explain_many(many: list[Sample] = many) -> int:
            settings = {"baseline": 0, "budget": EVALUATIONS_A_ROW}
            found = onnxplain.explain(model, many, "kernel-shap", **settings)  # noqa: B023 - run within
            return sum(one.evaluations for one in found)

        yield f"onnxplain kernel-shap, {name}, {ROWS} rows", explain_many, alike


def _plain(feeds: dict[str, np.ndarray], loop: bare.Bare) -> Callable[[], int]:
    """Return what evaluates random coalitions in a loop: the least that scores of coalitions take."""
    ((name, feed),) = feeds.items()
    (reference,) = _rows(feeds, 1).references.values()

    def run() -> int:
        rng = np.random.default_rng(0)
        for start in range(0, EVALUATIONS, loop.batch):
            present = rng.random((min(loop.batch, EVALUATIONS - start), *feed.shape[1:])) < 1 / 2
            loop.sessions[0].run(None, {name: np.where(present, feed, reference)})
        return EVALUATIONS

    return run


def _settings(feeds: dict[str, np.ndarray]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield methods, baselines and settings that need about as many evaluations each."""
    (feed,) = feeds.values()
    for references in (1, 100):
        yield "kernel-shap", _rows(feeds, references), {"budget": EVALUATIONS}
    for method in ("occlusion", "ablation"):
        yield method, _rows(feeds, EVALUATIONS // (feed.size + 1)), {}


def _mixed(feeds: dict[str, np.ndarray], baseline: Baseline) -> np.ndarray:
    """Return random coalitions of a sample and its references, as many as the largest batch."""
    rng = np.random.default_rng(0)
    ((name, feed),) = feeds.items()
    references = np.resize(baseline.references[name], (max(BATCHES), *feed.shape[1:]))
    mixed: np.ndarray = np.where(rng.random(references.shape) < rng.random((len(references), 1)), feed, references)
    return mixed


def _rows(feeds: dict[str, np.ndarray], count: int) -> Baseline:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 1.5, (count, 1)).astype(np.float32)
    return Baseline("scaled", {name: feed * scale for name, feed in feeds.items()})
