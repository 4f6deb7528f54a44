"""Overhead on models of tables, which take microseconds a row: here the cost of the engine itself shows."""

from __future__ import annotations

import tempfile
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

MODELS = ("wine-mlp", "breast-cancer-forest")
EVALUATIONS = 10_000
BATCHES = (256, 1024, 2048, 4096)

Case = tuple[str, "Callable[[], int]", bare.Bare]


def cases() -> Iterator[Case]:
    """Yield what is measured: a name, what runs it and returns its rows, and the bare loop on the same cut graph."""
    for name in MODELS:
        path = onnxplain.models.build(name, report=print)
        model = onnxplain.load(path, device="cpu")
        (sample,) = samples_of(model, f"{onnxplain.models.samples(name)[0]}:0")
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
