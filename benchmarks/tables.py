"""Overhead on models of tables, which take microseconds a row: here the cost of the engine itself shows."""

from __future__ import annotations

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
BATCHES = (256, 1024, 2048, 4096)

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
            loop = bare.best(str(cut), trial_rows=EVALUATIONS, batches=BATCHES)
        for method, baseline, settings in _settings(sample.feeds):

            def run(method: str = method, baseline: Any = baseline, settings: dict[str, Any] = settings) -> int:
                found = onnxplain.explain(model, sample, method, baseline=baseline, **settings)  # noqa: B023 - run within
                return int(found.evaluations)

            references = baseline.count if isinstance(baseline, Baseline) else 1
            yield f"onnxplain {method}, {name}, {references} reference(s)", run, loop

        many = list(islice(cycle(samples), ROWS))

        def explain_many(many: list[Sample] = many) -> int:
            settings = {"baseline": 0, "budget": EVALUATIONS_A_ROW}
            found = onnxplain.explain(model, many, "kernel-shap", **settings)  # noqa: B023 - run within
            return sum(one.evaluations for one in found)

        yield f"onnxplain kernel-shap, {name}, {ROWS} rows", explain_many, loop


def _settings(feeds: dict[str, np.ndarray]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield methods, baselines and settings that need about as many evaluations each."""
    (feed,) = feeds.values()
    for references in (1, 100):
        yield "kernel-shap", _rows(feeds, references), {"budget": EVALUATIONS}
    for method in ("occlusion", "ablation"):
        yield method, _rows(feeds, EVALUATIONS // (feed.size + 1)), {}


def _rows(feeds: dict[str, np.ndarray], count: int) -> Baseline:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 1.5, (count, 1)).astype(np.float32)
    return Baseline("scaled", {name: feed * scale for name, feed in feeds.items()})
