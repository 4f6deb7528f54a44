"""Gates: thresholds on scores, judged by the interval: passed, failed, or not established."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, nearest, printable
from ..registry import find
from .intervals import mean_interval, share_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .score import Interval, Score

PASSED, FAILED, OPEN = "passed", "failed", "not established"
_NAME = r"[a-z0-9][a-z0-9+-]*"
_GATE = re.compile(rf"\s*({_NAME})\s*(?:\(\s*({_NAME})\s*\))?\s*(<=|>=|<|>)\s*(.+?)\s*")


@dataclass(frozen=True)
class Gate:
    """A metric that must be below or above a number, or another method's score on the same samples.

    ``method`` is empty where the gate is for every method of the run that is no control.
    """

    text: str
    metric: str
    method: str
    operator: str
    limit: float | None
    against: str


@dataclass(frozen=True)
class Verdict:
    """How a gate came out for one method, and why; ``difference`` is what was compared with 0, with its interval."""

    gate: str
    method: str
    outcome: str
    why: str
    difference: float
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document."""
        return {
            "gate": self.gate,
            "method": self.method,
            "outcome": self.outcome,
            "why": self.why,
            "difference": self.difference if math.isfinite(self.difference) else None,
            "interval": None if self.interval is None else list(self.interval),
        }


def read_gate(text: str) -> Gate:
    """Read ``METRIC<NUMBER``, ``METRIC(METHOD)>=NUMBER`` or ``METRIC<METHOD``; ``SettingError`` says what is wrong.

    >>> gate = read_gate("insertion(rise)>0.5")
    >>> gate.metric, gate.method, gate.operator, gate.limit
    ('insertion', 'rise', '>', 0.5)
    >>> read_gate("deletion<random").against
    'random'
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise SettingError(
            f"this is no gate: '{printable(text)[:100]}'",
            tip='write METRIC<NUMBER, METRIC(METHOD)>NUMBER or METRIC<METHOD, such as "deletion<random"',
        )
    metric, method, operator, right = found.groups()
    try:
        limit: float | None = float(right)
    except ValueError:
        limit = None
    if limit is not None and not math.isfinite(limit):
        raise SettingError(f"the limit of a gate is a number, not {printable(right)}")
    if limit is None and not re.fullmatch(_NAME, right):
        raise SettingError(f"the right side of a gate is a number or a method, not '{printable(right)[:100]}'")
    return Gate(text.strip(), metric, method or "", operator, limit, "" if limit is not None else right)


def check_gate(gate: Gate, metrics: Sequence[str], methods: Sequence[str]) -> None:
    """Refuse a gate that speaks of a metric or method that is not in the run, or compares a method with itself."""
    if gate.metric not in metrics:
        find(gate.metric, "metric")  # which tells the nearest name where there is no such metric
        raise SettingError(
            f"the gate '{printable(gate.text)}' is about {gate.metric}, which is not evaluated",
            tip=f"add --metric {gate.metric}; evaluated: {', '.join(metrics)}",
        )
    if gate.method and gate.method == gate.against:
        raise SettingError(f"the gate '{printable(gate.text)}' compares {gate.method} with itself")
    for name in filter(None, (gate.method, gate.against)):
        if name not in methods:
            raise SettingError(
                f"the gate '{printable(gate.text)}' is about {printable(name)}, which is not evaluated",
                tip=nearest(name, methods),
            )


def judged(gate: Gate, scores: Sequence[Score], controls: Sequence[str] = ()) -> list[Verdict]:
    """Judge a gate for its method, or for each method that is no control.

    It passes where the whole 95 % interval is on the right side, and fails where the whole of it is on the wrong one;
    otherwise, or with fewer than two samples, it is not established. Against another method the interval is that of
    the differences sample by sample; for shares of samples it is Newcombe's, which has a width also where all agree.
    """
    mine = [s for s in scores if s.metric == gate.metric]
    named = [s for s in mine if s.method == gate.method] if gate.method else []
    chosen = named or [s for s in mine if not gate.method and s.method not in {*controls, gate.against}]
    if not chosen:
        return [Verdict(gate.text, gate.method, OPEN, f"{gate.metric} gave no score", math.nan, None)]
    other = next((s for s in mine if s.method == gate.against), None)
    return [_verdict(gate, one, other) for one in chosen]


def _verdict(gate: Gate, score: Score, other: Score | None) -> Verdict:
    if gate.against and other is None:
        return Verdict(gate.text, score.method, OPEN, f"{gate.against} gave no score", math.nan, None)
    differences = _differences(gate, score, other)
    interval = _interval(gate, score, other, differences)
    if interval is None:
        count = len(differences)
        why = f"{count} sample{'' if count == 1 else 's'} with a value; an interval needs 2"
        return Verdict(gate.text, score.method, OPEN, why, float(differences.mean()) if count else math.nan, None)
    middle = float(differences.mean())
    low, high = interval if gate.operator[0] == ">" else (-interval[1], -interval[0])
    is_right = low > 0 or (low == 0 and gate.operator.endswith("="))
    is_wrong = high < 0 or (high == 0 and not gate.operator.endswith("="))
    outcome = PASSED if is_right else FAILED if is_wrong else OPEN
    beside = gate.against or f"{gate.limit:g}"
    why = f"{score.method} less {beside}: {middle:.4g} ({interval[0]:.4g} to {interval[1]:.4g})"
    return Verdict(gate.text, score.method, outcome, why, middle, interval)


def _differences(gate: Gate, score: Score, other: Score | None) -> np.ndarray:
    values = np.array(score.samples)
    beside = np.full(len(values), gate.limit) if other is None else np.array(other.samples)
    found: np.ndarray = (values - beside)[np.isfinite(values) & np.isfinite(beside)]
    return found


def _interval(gate: Gate, score: Score, other: Score | None, differences: np.ndarray) -> Interval | None:
    if not score.is_share:
        return mean_interval(differences)
    values = np.array(score.samples)
    mine = share_interval(values[np.isfinite(values)])
    if mine is None or other is None:
        return None if mine is None or gate.limit is None else (mine[0] - gate.limit, mine[1] - gate.limit)
    beside = np.array(other.samples)
    theirs = share_interval(beside[np.isfinite(beside)])
    if theirs is None:
        return None
    a, b = score.value, other.value
    return a - b - math.hypot(a - mine[0], theirs[1] - b), a - b + math.hypot(mine[1] - a, b - theirs[0])
