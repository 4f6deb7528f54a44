"""What a figure was measured on: machine, versions and date, to stand beside every result."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RUNTIMES = ("onnxruntime-gpu", "onnxruntime", "onnxruntime-openvino")
PACKAGES = ("onnxplain", *RUNTIMES, "onnx", "numpy", "torch", "captum", "shap", "dianna")


def describe() -> dict[str, Any]:
    """Return machine, versions and date."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": found,
    }


def write(name: str, rows: list[dict[str, Any]], about: str) -> Path:
    """Write a result as JSON and return where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"about": about, **describe(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return path


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
