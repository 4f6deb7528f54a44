"""The scene of the demonstration that explains a series: a hand's motion, by a model that comes with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .demo import Scene

GUNPOINT = "gunpoint-cnn"


def series_scenes() -> list[Scene]:
    """Return the scene of a hand that points; nothing has to be fetched for it."""
    from ..models import catalogue
    from .demo import Scene

    series = next(str(file) for file in catalogue.samples(GUNPOINT) if file.stem.endswith("point"))
    text = (
        "The position of a hand over five seconds: it only points, and draws no gun. Each third of a second in turn is "
        "replaced by a straight line. An empty hand swings past its place of rest when it comes down; one that puts a "
        "gun into a holster does not."
    )
    return [Scene(GUNPOINT, series, "occlusion", {"window": 10, "stride": 2, "baseline": "interpolate"}, text)]
