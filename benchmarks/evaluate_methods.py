"""Which method can be believed: labelled photographs x methods x metrics, with intervals, against the controls.

Takes hours on two cores with all methods; it goes on where it was stopped. ``python -m benchmarks.evaluate_methods
--photographs 4 --method occlusion --method grad-cam`` is a small one. Pictures and tables go to
``benchmarks/results/evaluation``: a document, the curves, the cascade of randomisation.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import onnxplain
from benchmarks import machine
from onnxplain.engine import graph
from onnxplain.engine.evaluation.comparison import Comparison, identity_of
from onnxplain.engine.evaluation.journal import Journal
from onnxplain.engine.evaluation.maker import Maker
from onnxplain.engine.explain import samples_of
from onnxplain.engine.metrics.altered import altered
from onnxplain.engine.metrics.chosen import chosen_metrics
from onnxplain.engine.render import side_by_side
from onnxplain.engine.render.curves import curves
from onnxplain.engine.render.output import save
from onnxplain.engine.target import resolve

MODEL = "efficientnet-lite0"
FOLDER = Path(__file__).parent / "results" / "evaluation"
BOXES = Path(__file__).with_name("photograph_boxes.csv")  # drawn by hand, in pixels of the model's input
ABOUT = "EfficientNet-Lite0 on labelled photographs: mean over photographs with 95 % intervals"
SKIPPED = {"random", "edges", "conductance", "internal-influence", "gradient-x-activation", "activation"}
SETTINGS: dict[str, dict[str, Any]] = {
    "kernel-shap": {"features": "slic:50", "budget": 1000},
    "ablation": {"features": "slic:50"},
    "exact-shapley": {"features": "grid:3"},
    "rise": {"masks": 2000},
    "occlusion": {"window": 32, "stride": 16},
    "lime": {"features": "slic:50", "budget": 1000},
}
# Deletion and insertion as in Petsiuk et al. 2018: 224 pixels at a time, zeros, and a blurred start.
METRICS: dict[str, dict[str, Any]] = {
    "deletion": {},
    "insertion": {"baseline": "blur:3.1"},
    "pixel-flipping": {},
    "region-perturbation": {},
    "road": {},
    "infidelity": {"scaled": True},
    "mu-fidelity": {},
    "sensitivity-n": {"features": "grid:14"},
    "occlusion-rank-correlation": {},
    "average-drop": {},
    "average-gain": {},
    "average-increase": {},
    "monotonicity": {},
    "faithfulness-correlation": {},
    "faithfulness-estimate": {},
    "non-sensitivity": {},
    "completeness": {},
    "pointing-game": {},
    "relevance-mass": {},
    "relevance-rank": {},
    "iou": {},
    "sparseness": {},
    "entropy": {},
    "effective-size": {},
}
CASCADE: dict[str, dict[str, Any]] = {"parameter-randomisation": {"stages": 8}}
MODES = {"rise": "centred", "saliency": "magnitude", "guided-backprop": "magnitude", "grad-cam": "positive"}
CASCADED = ("saliency", "guided-backprop", "grad-cam", "rise")


def main() -> None:
    """Run what the options ask for, print the tables and write the documents."""
    given = _options()
    path = onnxplain.models.build(MODEL, report=print)
    photographs = [str(p) for p in onnxplain.models.samples(MODEL)[: given.photographs]]
    known = {p.name for p in onnxplain.methods("explainer") if "image" in p.modalities}
    methods = given.method or sorted(known - SKIPPED)
    _run(path, photographs, methods, METRICS, given, "all")
    cascaded = [n for n in CASCADED if n in known]
    _run(path, photographs[: given.cascade], cascaded, CASCADE, given, "cascade")
    _pictures(onnxplain.load(path, device=given.device), photographs[0], cascaded)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge methods on labelled photographs.")
    parser.add_argument("--photographs", type=int, default=20, help="how many, at most 20")
    parser.add_argument("--cascade", type=int, default=5, help="how many of them for the cascade of randomisation")
    parser.add_argument(
        "--method", action="append", help="a method; may be repeated; all that take images if not given"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--anew", action="store_true", help="forget what an earlier run found")
    return parser.parse_args()


def _run(
    path: Path,
    photographs: list[str],
    methods: list[str],
    metrics: dict[str, dict[str, Any]],
    given: argparse.Namespace,
    name: str,
) -> None:
    folder = FOLDER / name
    if given.anew:
        shutil.rmtree(folder, ignore_errors=True)
    model = onnxplain.load(path, device=given.device)
    chosen = chosen_metrics(metrics)
    settings = {method: SETTINGS.get(method, {}) for method in methods}
    identity = identity_of(model, settings, chosen, target="top", seed=0, version=onnxplain.__version__)
    journal = Journal(folder / "results.jsonl", identity)
    comparison = Comparison(model, settings, chosen, mask=_masks(), journal=journal)
    for k, photograph in enumerate(photographs, 1):
        for sample in samples_of(model, photograph):
            comparison.add(sample)
        print(f"{name}: photograph {k} of {len(photographs)}, {comparison.reused} results reused", flush=True)
    scores = comparison.scores()
    failures = sorted({(f.method, f.metric, f.error.message) for f in comparison.failures})
    for failure in failures:
        print("failed:", *failure)
    rows = [_row(score) for score in scores]
    for row in rows:
        print(f"{row['metric']:28} {row['method']:28} {row['value']:10.4g}  {row['interval']}")
    (folder / "scores.json").write_text(json.dumps([s.to_json() for s in scores], indent=1), encoding="utf-8")
    print("written:", save(curves(scores), folder / "curves.png"))
    print("written:", machine.write(f"evaluate-{name}", rows, ABOUT))


def _masks() -> Path:
    """Write a mask for each photograph, true in the boxes round all objects of its class; return their folder."""
    folder = FOLDER / "masks"
    folder.mkdir(parents=True, exist_ok=True)
    masks: dict[str, np.ndarray] = {}
    with BOXES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            x0, y0, x1, y1 = (int(row[name]) for name in ("x0", "y0", "x1", "y1"))
            masks.setdefault(row["photograph"], np.zeros((224, 224), bool))[y0:y1, x0:x1] = True
    for name, mask in masks.items():
        np.save(folder / f"{name}.npy", mask)
    return folder


def _pictures(model: onnxplain.Model, photograph: str, methods: list[str]) -> None:
    """Draw the maps of a photograph while layers are randomised from the output on: none, a few, half, all."""
    every = graph.layers(model.proto)[::-1]
    (sample,) = samples_of(model, photograph)
    target = resolve("top", model, sample.feeds)
    for name in methods:
        maps = []
        for count in (0, 1, 2, len(every) // 4, len(every) // 2, len(every)):
            proto = graph.randomised(model.proto, every[:count], 0, folder=model.folder)
            maker = Maker(name, SETTINGS.get(name, {}))
            made = maker.explain(altered(model, proto) if count else model, sample, target, 0)
            maps.append(dataclasses.replace(made, method=f"{count} of {len(every)} layers"))
        figure = side_by_side(maps, mode=MODES[name], title=f"{name}, while weights are randomised from the output on")
        print("written:", save(figure, FOLDER / "cascade" / f"{name}.png"))


def _row(score: onnxplain.Score) -> dict[str, Any]:
    spread = "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}"
    return {
        "metric": score.metric,
        "better": {True: "higher", False: "lower", None: ""}[score.higher_is_better],
        "method": score.method,
        "value": score.value,
        "interval": spread,
        "samples": len(score.samples),
        "seconds": score.seconds,
    }


if __name__ == "__main__":
    main()
