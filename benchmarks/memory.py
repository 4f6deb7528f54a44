"""Memory: peak resident memory of RISE at 224x224 must not grow with the number of masks."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import onnxplain
from benchmarks import machine

ABOUT = "peak resident memory of a whole process that runs RISE on EfficientNet-Lite0 at 224x224, MiB"
RUNS = 3


def child(masks: int) -> None:
    """Run RISE once and print the peak resident memory in MiB."""
    model = onnxplain.load(onnxplain.models.path("efficientnet-lite0"), device="cpu")
    onnxplain.explain(model, str(onnxplain.models.photograph("chelsea")), "rise", masks=masks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def main() -> list[dict[str, Any]]:
    """Measure in fresh processes, in alternation, print and write the table."""
    onnxplain.models.build("efficientnet-lite0", report=print)
    peaks: dict[int, list[float]] = {800: [], 8000: []}
    for _ in range(RUNS):
        for masks, found in peaks.items():
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", str(masks)], capture_output=True, text=True, check=True
            )
            found.append(float(done.stdout))
    rows = [{"masks": m, "peak_mib": sorted(f)[RUNS // 2], "peaks_mib": f} for m, f in peaks.items()]
    rows.append({"masks": "8000 - 800", "peak_mib": rows[1]["peak_mib"] - rows[0]["peak_mib"]})
    for row in rows:
        print(f"rise, {row['masks']!s:>10} masks: {row['peak_mib']:8.1f} MiB")
    print("written:", machine.write("memory", rows, ABOUT))
    return rows


if __name__ == "__main__":
    child(int(sys.argv[1])) if len(sys.argv) > 1 else main()
