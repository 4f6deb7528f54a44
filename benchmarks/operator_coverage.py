"""Which ONNX operators the torch twin gets right: onnx's own tests, and whole models from torch's exporters."""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine

ABOUT = "onnx's node tests through the torch twin's converter, and networks exported by torch against the original"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the cases are shared with the tests


def main() -> list[dict[str, Any]]:
    """Run all cases, print the table and what fails, and write it."""
    rows = [*operators(), *whole_models()]
    print("written:", machine.write("operator-coverage", rows, ABOUT))
    return rows


def operators() -> list[dict[str, Any]]:
    """Run onnx's tests of single operators."""
    import backend_cases

    table: dict[tuple[bool, str], dict[str, Any]] = {}
    failures = []
    for case in backend_cases.cases():
        row = table.setdefault(
            (not case.is_float, case.operator),
            {"operator": case.operator, "float": case.is_float, "tests": 0, "right": 0},
        )
        found = backend_cases.verdict(case)
        row["tests"] += 1
        row["right"] += not found
        if found:
            failures.append((case, found))
    rows = [table[key] for key in sorted(table)]
    for is_float, title in ((True, "float operators with a gradient"), (False, "all others")):
        print(f"\n{title}\n{'operator':40} tests right")
        chosen = [row for row in rows if row["float"] is is_float]
        for row in chosen:
            print(f"{row['operator']:40} {row['tests']:5} {row['right']:5}")
        print(f"{'all':40} {sum(r['tests'] for r in chosen):5} {sum(r['right'] for r in chosen):5}")
        kinds = collections.Counter(f.split(":")[0] for c, f in failures if c.is_float is is_float)
        print(f"wrong: {kinds['wrong']}, refused: {kinds['refused']}")
    print("\nwhat fails and why")
    for case, found in failures:
        print(f"{case.name:60} {found[:120]}")
    return rows


def whole_models() -> list[dict[str, Any]]:
    """Export every network by both exporters at every opset and compare outputs and gradients with the original."""
    import torch

    import whole_models
    from onnxplain.adapters.torch import convert

    torch.set_num_threads(1)
    rows = []
    print(f"\n{'whole model':16} exporter opset  outputs gradients")
    for name, exporter, opset in whole_models.CASES:
        original = whole_models.network(name)
        module = convert(whole_models.exported(name, exporter, opset, original))
        apart = [whole_models.difference(original, module, whole_models.MODELS[name].draw(k)) for k in (1, 4)]
        outputs, gradients = (max(pair[k] for pair in apart) for k in (0, 1))
        rows.append({"model": name, "exporter": exporter, "opset": opset, "outputs": outputs, "gradients": gradients})
        print(f"{name:16} {exporter:8} {opset:5} {outputs:8.1e} {gradients:9.1e}")
    good = sum(row["outputs"] < 1e-5 and row["gradients"] < 1e-4 for row in rows)
    print(f"{good} of {len(rows)} whole models equal the original")
    return rows


if __name__ == "__main__":
    main()
