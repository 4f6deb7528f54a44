"""Start-up: CPU seconds of ``onnxplain --help`` and of a small explanation, as whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks import machine

ABOUT = "CPU seconds (user and system, children included) of whole processes; median of 11 runs"
RUNS = 11


def main() -> list[dict[str, Any]]:
    """Measure, print and write the table."""
    from onnxplain import models

    digit = next(str(p) for p in models.samples("digits-cnn") if p.suffix == ".png")
    commands = {
        "onnxplain --help": ["--help"],
        "onnxplain explain digits-cnn DIGIT -m occlusion": ["explain", "digits-cnn", digit, "-m", "occlusion"],
    }
    rows = []
    for what, arguments in commands.items():
        cpu, wall = [], []
        for _ in range(RUNS):
            before, begun = os.times(), time.perf_counter()
            subprocess.run([sys.executable, "-m", "onnxplain.cli", *arguments], capture_output=True, check=True)
            after = os.times()
            wall.append(time.perf_counter() - begun)
            cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
        rows.append({"what": what, "cpu_seconds": statistics.median(cpu), "wall_seconds": statistics.median(wall)})
        print(f"{what:50} {rows[-1]['cpu_seconds']:.3f} s CPU, {rows[-1]['wall_seconds']:.3f} s wall")
    print("written:", machine.write("startup", rows, ABOUT))
    return rows


if __name__ == "__main__":
    main()
