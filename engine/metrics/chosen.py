"""Which metrics are measured: their names and settings checked, and the reading of one taken with its cost."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import registry, settings
from ..errors import SettingError, blaming, printable
from ..linear_algebra import one_thread
from .score import UNDEFINED, Reading, Score, gathered
from .trial import Ledger

if TYPE_CHECKING:
    from .trial import Trial

Metrics = Sequence[str | tuple[str, Mapping[str, Any]]] | Mapping[str, Mapping[str, Any]] | str


WRITTEN = "such as ['deletion', ('insertion', {'baseline': 'blur'})]"


@dataclass(frozen=True)
class Chosen:
    """A metric with its settings, ready to run."""

    name: str
    metric: Any
    settings: dict[str, Any]

    @property
    def better(self) -> str | None:
        """Which end is good: ``higher``, ``lower``, or None."""
        better: str | None = getattr(self.metric, "direction", getattr(self.metric, "better", None))
        return better

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest value there can be."""
        everything = (-math.inf, math.inf)
        limits: tuple[float, float] = getattr(self.metric, "limits", getattr(self.metric, "range", everything))
        return limits

    def gathered(self, method: str, readings: Sequence[Reading]) -> Score:
        """Put the readings of a method over samples together."""
        return gathered(
            self.name,
            method,
            readings,
            better=self.better,
            limits=self.limits,
            is_share=getattr(self.metric, "is_share", False),
            settings=self.settings,
        )


def chosen_metrics(metrics: Metrics) -> list[Chosen]:
    """Return the metrics with their settings checked; ``SettingError`` for unknown names, settings and repeats."""
    listed: Any = list(metrics.items()) if isinstance(metrics, Mapping) else metrics
    pairs = [_pair(one) for one in ([listed] if isinstance(listed, str) else _listed(listed))]
    if not pairs:
        raise SettingError(
            "no metric was asked for", tip="name one, such as 'deletion' (onnxplain methods --kind metric)"
        )
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise SettingError("a metric was asked for twice", tip="evaluate the two settings in two calls")
    return [
        Chosen(name, settings.build(registry.find(name, "metric").factory, given, name), given) for name, given in pairs
    ]


def _listed(metrics: Any) -> list[Any]:
    if not isinstance(metrics, Iterable):
        raise SettingError(f"metrics are a list of names, not {printable(repr(metrics))[:60]}", tip=WRITTEN)
    return list(metrics)


def _pair(one: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(one, str):
        return one, {}
    if isinstance(one, list | tuple) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], Mapping):
        return one[0], dict(one[1])
    raise SettingError(f"a metric is a name, or a pair of a name and settings, not {printable(one)[:60]}", tip=WRITTEN)


def measured(trial: Trial, chosen: Chosen) -> Reading:
    """Return what a metric says of the trial's explanation, with its cost."""
    mine = dataclasses.replace(trial, metric=chosen.name, ledger=Ledger())
    _share_what_is_known(trial, mine)
    begun = time.perf_counter()
    with one_thread(), blaming(chosen.name, chosen.metric):
        reading: Reading = _finite(chosen.metric.score(mine))
    return dataclasses.replace(reading, evaluations=mine.ledger.evaluations, seconds=time.perf_counter() - begun)


def _finite(reading: Reading) -> Reading:
    """Return a reading that says so where it has no value; also where its metric did not."""
    if math.isfinite(reading.value) or any(note.startswith(UNDEFINED) for note in reading.notes):
        return reading
    note = f"{UNDEFINED}the metric gives {reading.value:g}, which is no finite number"
    return dataclasses.replace(reading, value=math.nan, notes=(*reading.notes, note))


def _share_what_is_known(trial: Trial, other: Trial) -> None:
    """Hand over what does not depend on the metric and was computed once."""
    for name in ("inputs", "attributed", "map", "pictured"):
        other.__dict__[name] = getattr(trial, name)
