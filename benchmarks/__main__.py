"""Run every benchmark, or those that are named: ``python -m benchmarks overhead memory``."""

from __future__ import annotations

import importlib
import sys

ALL = ("startup", "memory", "overhead", "metrics", "shapley_error", "lime_errors", "twin", "rules")


def main() -> None:
    """Run the benchmarks whose names were given, or all of them."""
    wanted = sys.argv[1:] or ALL
    unknown = set(wanted) - set(ALL)
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
    for name in wanted:
        print(f"\n== {name}")
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
