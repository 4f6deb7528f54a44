"""Metrics: wall time of all faithfulness metrics for one map / wall time of as many rows in the best bare loop.

One 224 x 224 map of EfficientNet-Lite0; all metrics in one call, then the bare loop over each metric's rows. The row
*all* has the whole call, with reading the photograph and finding the target.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import onnxplain
from benchmarks import bare, machine

ABOUT = "wall time / wall time of as many rows in the best bare ONNX Runtime loop; medians of alternating pairs"
MODEL = "efficientnet-lite0"
FAITHFULNESS = (
    "deletion",
    "insertion",
    "pixel-flipping",
    "region-perturbation",
    "infidelity",
    "mu-fidelity",
    "faithfulness-correlation",
    "faithfulness-estimate",
    "sensitivity-n",
    "road",
    "monotonicity",
    "occlusion-rank-correlation",
    "average-drop",
    "average-gain",
    "average-increase",
)


def main(pairs: int = 3, metrics: tuple[str, ...] = FAITHFULNESS) -> list[dict[str, Any]]:
    """Measure, print and write the table."""
    path = str(onnxplain.models.build(MODEL, report=print))
    model = onnxplain.load(path, device="cpu")
    photograph = str(onnxplain.models.photograph("chelsea"))
    phi = np.random.default_rng(0).random((224, 224))
    loop = bare.best(path)
    print(f"best bare loop: {loop.about}")
    warm = ["deletion", "infidelity", "road"]
    onnxplain.evaluate(model, photograph, phi, warm, controls=False)  # opens sessions, measures layouts
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in (*metrics, "all")}
    for _ in range(pairs):
        begun = time.perf_counter()
        scores = onnxplain.evaluate(model, photograph, phi, metrics, controls=False)
        mine, theirs = time.perf_counter() - begun, 0.0
        for score in scores:
            bare_seconds = loop.seconds(score.evaluations)
            found[score.metric].append((score.seconds, bare_seconds, score.evaluations))
            theirs += bare_seconds
        found["all"].append((mine, theirs, sum(score.evaluations for score in scores)))
    rows = [_row(name, runs) for name, runs in found.items()]
    print(f"\n{'metric':28} {'rows':>6} {'seconds':>8} {'bare':>8} {'ratio':>7}")
    for row in rows:
        print(
            f"{row['metric']:28} {row['rows']:6d} {row['seconds']:8.2f} {row['bare_seconds']:8.2f} {row['ratio']:7.3f}"
        )
    print("written:", machine.write("metrics", rows, ABOUT))
    return rows


def _row(name: str, runs: list[tuple[float, float, int]]) -> dict[str, Any]:
    return {
        "metric": name,
        "rows": runs[0][2],
        "seconds": statistics.median(mine for mine, _, _ in runs),
        "bare_seconds": statistics.median(theirs for _, theirs, _ in runs),
        "ratio": statistics.median(mine / theirs for mine, theirs, _ in runs),
    }


if __name__ == "__main__":
    main()
