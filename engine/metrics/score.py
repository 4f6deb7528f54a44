"""Score: a metric's value over samples, with an interval; Reading: its value for one sample."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..settings import plain
from .intervals import mean_interval, share_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNDEFINED = "undefined: "  # begins the note that says why there is no value
Interval = tuple[float, float]
Curve = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a metric says of one explanation.

    ``value`` is NaN where it is undefined; ``notes`` then say why. ``curve`` holds x and y (K,). ``standard_error``
    is that of the metric's own sampling, where it samples. ``parts`` holds other numbers by name. ``limits`` are the
    least and the largest value there can be, where these are narrower than the metric's range.
    """

    value: float
    curve: Curve | None = None
    standard_error: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    evaluations: int = 0
    seconds: float = 0.0
    limits: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON holds them; numbers that are not finite as text, so that ``from_json`` is exact."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        document: dict[str, Any] = _spelled(plain(fields))
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Reading:
        """Undo ``to_json``. Raises ``KeyError``, ``TypeError`` or ``ValueError`` where the document is no reading."""
        curve, error, limits = document["curve"], document["standard_error"], document["limits"]
        return cls(
            value=float(document["value"]),
            curve=None if curve is None else (np.array(curve[0], dtype=float), np.array(curve[1], dtype=float)),
            standard_error=None if error is None else float(error),
            parts={str(name): float(number) for name, number in document["parts"].items()},
            notes=tuple(map(str, document["notes"])),
            evaluations=int(document["evaluations"]),
            seconds=float(document["seconds"]),
            limits=None if limits is None else (float(limits[0]), float(limits[1])),
        )


def undefined(why: str, **fields: Any) -> Reading:
    """Return a reading without a value, and the reason."""
    return Reading(math.nan, notes=(f"{UNDEFINED}{why}",), **fields)


@dataclass(frozen=True, eq=False)
class Score:
    """A metric's value for a method, the mean over samples.

    ``interval`` is the 95 % confidence interval of the mean over samples: Student's t, or Wilson's for metrics that are
    0 or 1 per sample; None where fewer than two samples have a value. ``standard_error`` is that of the mean over
    samples; of a single sample, that of the metric's own sampling, where it samples. ``samples`` holds the values one
    by one, NaN where undefined; ``curve`` x and the mean y over samples, ``curve_interval`` their 95 % limits.
    ``higher_is_better`` is None where neither end is good in itself; ``is_share`` where samples are 0 or 1.
    ``evaluations`` counts model rows. ``controls`` holds, by name, what the metric says of a random map and (of images)
    of an edge detector for the same inputs, where these were evaluated beside the method.
    """

    metric: str
    value: float
    interval: Interval | None = None
    standard_error: float | None = None
    evaluations: int = 0
    seconds: float = 0.0
    curve: Curve | None = None
    curve_interval: Curve | None = None
    samples: tuple[float, ...] = ()
    method: str = ""
    higher_is_better: bool | None = None
    range: Interval = (-math.inf, math.inf)
    is_share: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    controls: dict[str, Score] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document; numbers that are not finite are null, and controls are there where there are any."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "controls"}
        document: dict[str, Any] = _finite(plain(fields))
        controls = {name: control.to_json() for name, control in self.controls.items()}
        return document | ({"controls": controls} if controls else {})

    def __repr__(self) -> str:
        """One line: metric, method, value and interval, number of samples, and the values of the controls."""
        spread = "" if self.interval is None else f" ({self.interval[0]:.4g} to {self.interval[1]:.4g})"
        count = f"{len(self.samples)} sample{'' if len(self.samples) == 1 else 's'}"
        beside = "".join(f", {name} {control.value:.4g}" for name, control in self.controls.items())
        return f"<Score {self.metric} of {self.method}: {self.value:.4g}{spread}, {count}{beside}>"


def gathered(
    metric: str,
    method: str,
    readings: Sequence[Reading],
    *,
    better: str | None,
    limits: Interval,
    is_share: bool,
    settings: Mapping[str, Any],
) -> Score:
    """Put the readings of one metric and method over samples together; the notes of samples come once each.

    ``limits`` are those of the metric; narrower ones that all readings agree on take their place.
    """
    told = {r.limits for r in readings if math.isfinite(r.value)}
    limits = told.pop() or limits if len(told) == 1 else limits
    values = np.array([r.value for r in readings])
    known = values[np.isfinite(values)]
    interval = (share_interval if is_share else mean_interval)(known)
    if interval is not None:
        interval = max(limits[0], interval[0]), min(limits[1], interval[1])
    notes = list(dict.fromkeys(note for r in readings for note in r.notes))
    if 0 < len(known) < len(readings):
        notes.insert(0, f"{len(readings) - len(known)} of {len(readings)} samples have no value and are left out")
    curve, limits_of_curve = _mean_curve([r.curve for r in readings if r.curve is not None], limits)
    names = dict.fromkeys(name for r in readings for name in r.parts)
    return Score(
        metric=metric,
        method=method,
        value=float(known.mean()) if known.size else math.nan,
        interval=interval,
        standard_error=_standard_error(known, readings),
        evaluations=sum(r.evaluations for r in readings),
        seconds=sum(r.seconds for r in readings),
        curve=curve,
        curve_interval=limits_of_curve,
        samples=tuple(values.tolist()),
        higher_is_better={"higher": True, "lower": False}.get(better or ""),
        range=limits,
        is_share=is_share,
        settings=dict(settings),
        parts={name: _mean([r.parts[name] for r in readings if name in r.parts]) for name in names},
        notes=tuple(notes),
    )


def _standard_error(known: np.ndarray, readings: Sequence[Reading]) -> float | None:
    if known.size > 1:
        return float(known.std(ddof=1) / math.sqrt(known.size))
    return readings[0].standard_error if len(readings) == 1 else None


def _mean(numbers: Sequence[float]) -> float:
    known = [n for n in numbers if math.isfinite(n)]
    return sum(known) / len(known) if known else math.nan


def _mean_curve(curves: Sequence[Curve], limits: Interval) -> tuple[Curve | None, Curve | None]:
    """Return the mean curve and its intervals; curves of other places are interpolated at those of the longest.

    ``limits`` are those of the metric; where all curves keep to them, the intervals do too.
    """
    if not curves:
        return None, None
    x = max((c[0] for c in curves), key=len)
    rows = np.stack([y if np.array_equal(x, at) else np.interp(x, at, y) for at, y in curves])
    if len(rows) < 2:
        return (x, rows[0]), None
    ends = np.array([mean_interval(column) or (math.nan, math.nan) for column in rows.T])
    if limits[0] <= rows.min() and rows.max() <= limits[1]:
        ends = np.clip(ends, *limits)
    return (x, rows.mean(axis=0)), (ends[:, 0], ends[:, 1])


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list) else value


def _spelled(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {name: _spelled(v) for name, v in value.items()}
    return [_spelled(v) for v in value] if isinstance(value, list) else value
