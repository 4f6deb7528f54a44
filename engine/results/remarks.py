"""Remarks: what a reader of any result should know of the input, the baseline and the names of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import printable
from ..masking.baselines import Baseline

if TYPE_CHECKING:
    from ..problem import Problem


def remarks(problem: Problem) -> tuple[str, ...]:
    """Return notes on a problem that do not depend on the method; those on the baseline where it was looked at."""
    used = vars(problem).get("baseline")
    baseline = used.note if isinstance(used, Baseline) else ""
    found = [
        *problem.sample.notes,
        baseline,
        _labels(problem),
        _chance(problem),
        _precision(problem),
        _spelling(problem),
    ]
    return tuple(note for note in found if note)


def _labels(problem: Problem) -> str:
    """Say where the spec names classes that the target cannot have for their number."""
    labels, target = problem.model.spec.labels, problem.target
    is_class = target.text.removeprefix("probability:").strip().lstrip("-").isdigit() or "top" in target.text
    if not labels or target.label or not is_class or len(target.index) != 1:
        return ""
    return f"the spec names {len(labels)} classes, which is not how many the output has: they have numbers only"


def _chance(problem: Problem) -> str:
    """Say where the model itself draws random numbers: then no seed makes two runs agree."""
    node = problem.model.random_node
    if node is None:
        return ""
    return f"the model draws random numbers ({printable(node)}): scores, and so these values, differ from run to run"


def _precision(problem: Problem) -> str:
    """Say where a model computes in numbers that ONNX Runtime does not compute in."""
    return "the model computes in bfloat16; here it is computed in float32" if problem.model.is_widened else ""


def _spelling(problem: Problem) -> str:
    """Say where a model holds an operator that ONNX Runtime does not have."""
    if not problem.model.is_respelled:
        return ""
    return "the model holds ConstantFill, which ONNX Runtime does not have; here it is computed by Expand"
