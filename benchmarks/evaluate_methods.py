"""Which method can be believed: labelled photographs x methods x metrics, with intervals, against the controls.

Takes hours on two cores with all methods; it goes on where it was stopped. ``python -m benchmarks.evaluate_methods
--photographs 4 --method occlusion --method grad-cam`` is a small one. Pictures and tables go to
``benchmarks/results/evaluation``: a document, the curves, the cascade of randomisation.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import onnxplain
from benchmarks import machine
from benchmarks.other_models import permuted_digits, quantised
from onnxplain.engine import graph, registry, runtime
from onnxplain.engine.evaluation.comparison import Comparison, identity_of
from onnxplain.engine.evaluation.journal import Journal
from onnxplain.engine.evaluation.maker import CONTROLS, Maker
from onnxplain.engine.explain import samples_of
from onnxplain.engine.metrics.altered import altered
from onnxplain.engine.metrics.chosen import chosen_metrics
from onnxplain.engine.metrics.gates import FAILED, PASSED, Gate, judged
from onnxplain.engine.registry import GRADIENT
from onnxplain.engine.render import side_by_side
from onnxplain.engine.render.curves import AXES, curves
from onnxplain.engine.render.output import save
from onnxplain.engine.target import resolve
from onnxplain.models import digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxplain.engine.inputs.sample import Sample

MODEL = "efficientnet-lite0"
RUNS = ("all", "steadiness", "cascade", "digits", "runtime", "runtime-bfloat16")
FOLDER = Path(__file__).parent / "results" / "evaluation"
BOXES = Path(__file__).with_name("photograph_boxes.csv")  # drawn by hand, round all objects of the class
PHOTOGRAPHS = "EfficientNet-Lite0 on labelled photographs: mean over photographs with 95 % intervals"
ABOUT = dict.fromkeys(RUNS, PHOTOGRAPHS) | {"digits": "digits-cnn on held-out digits: mean with 95 % intervals"}
ATTENTION = {"attention-flow", "attention-map", "attention-rollout", "generic-attention", "transformer-attribution"}
SKIPPED = {"random", "edges", "conductance", "internal-influence", "gradient-x-activation", "activation", *ATTENTION}
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
    "box-error": {},
    "sparseness": {},
    "entropy": {},
    "effective-size": {},
}
DRAWN = ("rise", "shapley", "lime", "occlusion", "grad-cam", "integrated-gradients", "lrp", *CONTROLS)  # as curves
# What explains again for each reading: with fewer samples, of methods with smaller budgets.
STEADINESS: dict[str, dict[str, Any]] = {
    "max-sensitivity": {"samples": 3},
    "local-lipschitz": {"samples": 3},
    "seed-agreement": {"seeds": 2},
    "random-logit": {},
    "input-invariance": {},
    "implementation-invariance": {},
    "method-agreement": {},
    "parameter-randomisation": {"stages": 2},  # the last layer, and all
}
BRIEF: dict[str, dict[str, Any]] = {
    **SETTINGS,
    "blur-ig": {"points": 20},
    "gradient-shap": {"samples": 20},
    "guided-integrated-gradients": {"points": 10},
    "smoothgrad": {"samples": 10},
    "smoothgrad-squared": {"samples": 10},
    "vargrad": {"samples": 10},
    "kernel-shap": {"features": "slic:50", "budget": 200},
    "shapley": {"features": "slic:50", "budget": 200},
    "shapley-sampling": {"features": "slic:50", "budget": 300},
    "permutation-shap": {"features": "slic:50", "budget": 300},
    "exact-shapley": {"features": "grid:2"},
    "rise": {"masks": 400},
    "lime": {"features": "slic:50", "budget": 200},
}
# Another runtime under the same model, where it is installed: onnxruntime-openvino in the place of onnxruntime-gpu.
OPENVINO = "OpenVINOExecutionProvider"
RUNTIMES: dict[str, dict[str, Any]] = {
    "runtime": {"device_type": "CPU"},
    "runtime-bfloat16": {"device_type": "CPU", "load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'},
}
CASCADE: dict[str, dict[str, Any]] = {"parameter-randomisation": {"stages": 8}}
MODES = {"rise": "centred", "saliency": "magnitude", "guided-backprop": "magnitude", "grad-cam": "positive"}
CASCADED = ("saliency", "guided-backprop", "grad-cam", "rise")
DIGITS = "digits-cnn"  # small enough to be trained again, on permuted labels
DIGITS_SETTINGS: dict[str, dict[str, Any]] = {
    "ablation": {"features": "grid:4"},
    "lime": {"features": "grid:4"},
    "exact-shapley": {"features": "grid:3"},
}


def main() -> None:
    """Run what the options ask for, print the tables and write the documents."""
    given = _options()
    path = onnxplain.models.build(MODEL, report=print)
    photographs = [str(p) for p in onnxplain.models.samples(MODEL)[: given.photographs]]
    known = {p.name for p in onnxplain.methods("explainer") if "image" in p.modalities}
    methods = given.method or sorted(known - SKIPPED)
    cascaded = [name for name in CASCADED if name in known]
    model = onnxplain.load(path, device=given.device)
    samples = [sample for photograph in photographs for sample in samples_of(model, photograph)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    if given.anew:
        for name in RUNS:
            shutil.rmtree(FOLDER / name, ignore_errors=True)
    _run("all", model, samples, _settings(methods, SETTINGS), METRICS, BOXES)
    version = quantised(path, samples, FOLDER / f"{MODEL}-8bit.onnx")
    steadiness = STEADINESS | {"model-agreement": {"model": str(version)}}
    _run("steadiness", model, samples[: given.steadiness], _settings(methods, BRIEF), steadiness)
    _run("cascade", model, samples[: given.cascade], _settings(cascaded, SETTINGS), CASCADE)
    _pictures(model, samples[0], cascaded)
    _digits(methods, given.photographs, given.device)
    _runtimes(model, samples[: given.steadiness], methods)


def _runtimes(model: onnxplain.Model, samples: Sequence[Sample], methods: list[str]) -> None:
    """Compare with OpenVINO what runs the model on ONNX Runtime alone; others run it in torch."""
    if OPENVINO not in runtime.available_providers():
        print(f"{OPENVINO} is not installed: nothing to compare with")
        return
    predicting = [name for name in methods if GRADIENT not in registry.find(name, "explainer").needs]
    for name, options in RUNTIMES.items():
        metrics = {"provider-agreement": {"providers": [(OPENVINO, options)]}}
        _run(name, model, samples, _settings(predicting, BRIEF), metrics)


def _digits(methods: list[str], count: int, device: str) -> None:
    """Judge methods on handwritten digits by whether they see that another network learned permuted labels."""
    model = onnxplain.load(onnxplain.models.build(DIGITS), device=device)
    permuted, learned = permuted_digits(FOLDER / "permuted")
    print(f"permuted labels learned: {learned:.1%}")
    _, held_out = digits.data()
    samples = list(samples_of(model, held_out.images[:count]))
    metrics = {"data-randomisation": {"model": str(permuted)}}
    _run("digits", model, samples, _settings(methods, DIGITS_SETTINGS), metrics)


def _settings(methods: list[str], own: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {method: own.get(method, {}) for method in methods}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge methods on labelled photographs.")
    parser.add_argument("--photographs", type=int, default=20, help="how many, at most 20")
    parser.add_argument("--steadiness", type=int, default=4, help="how many of them for what explains again and again")
    parser.add_argument("--cascade", type=int, default=5, help="how many of them for the cascade of randomisation")
    parser.add_argument(
        "--method", action="append", help="a method; may be repeated; all that take images if not given"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--anew", action="store_true", help="forget what an earlier run found")
    return parser.parse_args()


def _run(
    name: str,
    model: onnxplain.Model,
    samples: Sequence[Sample],
    methods: dict[str, dict[str, Any]],
    metrics: dict[str, dict[str, Any]],
    mask: Path | None = None,
) -> None:
    """Judge methods, with their settings, by metrics; go on where an earlier run was stopped."""
    folder = FOLDER / name
    chosen = chosen_metrics(metrics)
    identity = identity_of(model, methods, chosen, target="top", seed=0, version=onnxplain.__version__)
    journal = Journal(folder / "results.jsonl", identity)
    comparison = Comparison(model, methods, chosen, mask=mask, journal=journal)
    for k, sample in enumerate(samples, 1):
        comparison.add(sample)
        print(f"{name}: sample {k} of {len(samples)}, {comparison.reused} results reused", flush=True)
    scores = comparison.scores()
    failures = sorted({(f.method, f.metric, f.error.message) for f in comparison.failures})
    for failure in failures:
        print("failed:", *failure)
    rows = _rows(scores)
    for score, row in zip(scores, rows, strict=True):
        print(f"{score.metric:28} {score.method:28} {score.value:10.4g}  {row['against random']}")
    (folder / "scores.json").write_text(json.dumps([s.to_json() for s in scores], indent=1), encoding="utf-8")
    shown = DRAWN if len(methods) >= len(DRAWN) else methods
    drawn = [score for score in scores if score.method in {*shown, *CONTROLS} and score.metric in AXES]
    if drawn:
        print("written:", save(curves(drawn), folder / "curves.png"))
    print("written:", machine.write(f"evaluate-{name}", rows, ABOUT[name]))


def _pictures(model: onnxplain.Model, sample: Sample, methods: list[str]) -> None:
    """Draw the maps of a photograph while layers are randomised from the output on: none, a few, half, all."""
    every = graph.layers(model.proto)[::-1]
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


def _rows(scores: Sequence[onnxplain.Score]) -> list[dict[str, Any]]:
    """Return a row per metric and method; what is said of a control is judged on the differences by photograph."""
    return [
        {
            "metric": score.metric,
            "better": {True: "higher", False: "lower", None: ""}[score.higher_is_better],
            "method": score.method,
            "value": score.value if math.isfinite(score.value) else None,
            "low": score.interval[0] if score.interval else None,
            "high": score.interval[1] if score.interval else None,
            "photographs": sum(map(math.isfinite, score.samples)),
            "against random": _against("random", score, scores),
            "against edges": _against("edges", score, scores),
        }
        for score in scores
    ]


def _against(control: str, score: onnxplain.Score, scores: Sequence[onnxplain.Score]) -> str:
    """Say whether a method is better or worse than a control; nothing where that is not established."""
    if score.higher_is_better is None or score.method in CONTROLS:
        return ""
    sign = ">" if score.higher_is_better else "<"
    gate = Gate(f"{score.metric}{sign}{control}", score.metric, score.method, sign, None, control)
    rival = next(other for other in scores if (other.metric, other.method) == (score.metric, control))
    if np.array_equal(score.samples, rival.samples, equal_nan=True):
        return ""
    (verdict,) = judged(gate, scores)
    return {PASSED: "better", FAILED: "worse"}.get(verdict.outcome, "")


if __name__ == "__main__":
    main()
