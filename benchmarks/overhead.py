"""Overhead: wall time of a method / wall time of as many rows in the best bare ONNX Runtime loop, in alternation.

Every pair is a method and the bare loop, one after the other; the ratio is taken pair by pair and the median quoted.
Peers run in the same way, on the same rows, where they are installed.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import onnxplain
from benchmarks import bare, machine, peers, tables

if TYPE_CHECKING:
    from collections.abc import Callable

ABOUT = "wall time / wall time of as many rows in the best bare ONNX Runtime loop; medians of alternating pairs"
MODEL = "efficientnet-lite0"
TABLE_PAIRS = 15  # of a few milliseconds each


def occlusion_settings(evaluations: int) -> dict[str, Any]:
    """Return a window and stride that need about ``evaluations`` rows at 224x224."""
    side = round(evaluations**0.5) - 1
    stride = max(1, (224 - 32) // side)
    return {"window": 32, "stride": stride}


def main(pairs: dict[int, int] | None = None) -> list[dict[str, Any]]:
    """Measure, print and write the table."""
    pairs = pairs or {400: 7, 4000: 3}
    path = str(onnxplain.models.build(MODEL, report=print))
    model = onnxplain.load(path, device="cpu")
    photograph = str(onnxplain.models.photograph("chelsea"))
    loop = bare.best(path)
    print(f"best bare loop: {loop.about}")
    rows = []
    for evaluations, count in pairs.items():
        methods: dict[str, tuple[str, dict[str, Any]]] = {
            "occlusion": ("occlusion", occlusion_settings(evaluations)),
            "rise": ("rise", {"masks": evaluations}),
            "kernel-shap": ("kernel-shap", {"features": "slic:50", "budget": evaluations}),
            "shapley": ("shapley", {"features": "slic:50", "budget": evaluations}),
            "lime": ("lime", {"features": "slic:50", "samples": evaluations}),
        }
        for name, (method, settings) in methods.items():

            def ours(method: str = method, settings: dict[str, Any] = settings) -> int:
                return int(onnxplain.explain(model, photograph, method, target="top", **settings).evaluations)

            rows.append(_measured(f"onnxplain {name}", ours, loop, count))
        if evaluations == min(pairs):
            for name, run in peers.available(path, photograph, evaluations).items():
                rows.append(_measured(name, run, loop, max(2, count // 2)))
    rows += [_measured(what, run, loop, TABLE_PAIRS) for what, run, loop in tables.cases()]
    print(f"\n{'what':34} {'rows':>6} {'seconds':>8} {'bare':>8} {'ratio':>7}  (min - max)")
    for row in rows:
        print(
            f"{row['what']:34} {row['rows']:6d} {row['seconds']:8.2f} {row['bare_seconds']:8.2f} {row['ratio']:7.3f}"
            f"  ({row['ratio_min']:.3f} - {row['ratio_max']:.3f})"
        )
    print("written:", machine.write("overhead", rows, ABOUT))
    return rows


def _measured(what: str, run: Callable[[], int], loop: bare.Bare, pairs: int) -> dict[str, Any]:
    evaluations = run()  # a warm-up: opens sessions, and measures layouts where they are not known yet
    mine, theirs = [], []
    for pair in range(pairs):
        order = ("run", "bare") if pair % 2 else ("bare", "run")
        for part in order:
            if part == "bare":
                theirs.append(loop.seconds(evaluations))
                continue
            begun = time.perf_counter()
            run()
            mine.append(time.perf_counter() - begun)
    ratios = np.array(mine) / np.array(theirs)
    print(f"{what}, {evaluations} rows: {np.round(ratios, 3).tolist()}", flush=True)
    return {
        "what": what,
        "rows": evaluations,
        "seconds": statistics.median(mine),
        "bare_seconds": statistics.median(theirs),
        "ratio": float(np.median(ratios)),
        "ratio_min": float(ratios.min()),
        "ratio_max": float(ratios.max()),
        "pairs": pairs,
        "bare_loop": loop.about,
    }


if __name__ == "__main__":
    main()
