"""What pruning found as an Analysis: the scores beside each other, the ranked channels, and the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....engine.analyses.analysis import Analysis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ....engine.effects.channel_removal import Curve, Removal
    from .ranking import Ranking

NAMES = {
    "relevance": "relevance",
    "weight": "weight norm",
    "activation": "mean activation",
    "random": "random",
}


def told(removal: Removal, ranking: Ranking, curves: Mapping[str, Curve], counts: Sequence[int]) -> Analysis:
    """Return the result; its table has a line per number of channels taken away."""
    total, judge = removal.total, removal.judge
    percent = np.array(counts) / total * 100
    called = judge.score.words
    score = {NAMES[name]: curve.scores.mean(axis=0) for name, curve in curves.items()}
    mean = {NAMES[name]: curve.means.mean(axis=0) for name, curve in curves.items()}
    several = curves["random"].scores if "random" in curves else np.zeros((0, len(counts)))
    spread = {"random ±": (several - several[0]).std(axis=0, ddof=1)} if len(several) > 1 else {}
    columns = {"removed %": percent, "channels": np.array(counts), **score, **spread}
    rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    order = np.argsort(-ranking.relevance, kind="stable")
    arrays = {
        "channel": ranking.names[order],
        "layer": ranking.layers[order],
        "relevance": ranking.relevance[order],
        "weight norm": ranking.weight[order],
        "mean activation": ranking.activation[order],
        "panels": np.array([called, _own(removal)]),
        "series": np.array(list(score)),
        "grid/0": percent,
        "grid/1": percent,
        "mean/0": np.stack(list(score.values())),
        "mean/1": np.stack(list(mean.values())),
        "removed": np.array(counts),
    }
    if len(several) > 1:
        arrays |= {"single/0": several, "single/1": curves["random"].means}
    base = float(score[NAMES["relevance"]][0])
    words = {
        "title": f"pruning by relevance: {called} without the lowest channels",
        "below": f"{total:,} channels of {len(removal.layers)} layers  ·  {called} {base:.4g} with all of them, on "
        f"{removal.study.count:,} rows",
        "value": "",
        "across": "channels taken away, %",
        "scale": "own",
        "listing": "channels by relevance, the highest first",
        "notes": "Thin lines: single random orders." if len(several) > 1 else "",
    }
    return Analysis(
        "",
        tuple(columns),
        tuple(rows),
        arrays,
        listing=("channel", "layer", "relevance", "weight norm", "mean activation"),
        picture="curves",
        words=words,
        notes=(_told_area(score, percent, called), *_nothing(ranking)),
    )


def _own(removal: Removal) -> str:
    """Name the mean output: of the true class, or of a model of one value."""
    if not removal.judge.score.is_of_classes:
        return "mean output"
    space = removal.judge.outputs.space
    return f"{space if space in {'probability', 'logit'} else 'score'} of true class"


def _told_area(score: Mapping[str, np.ndarray], percent: np.ndarray, called: str) -> str:
    """Say how the orders compare over the whole curve."""
    if len(percent) < 2:
        return f"{called} with all channels: {next(iter(score.values()))[0]:.4g}"
    width = float(percent[-1] - percent[0])
    means = {name: float(np.trapezoid(values, percent)) / width for name, values in score.items()}
    listed = ", ".join(f"{name} {value:.4g}" for name, value in means.items())
    return f"average {called} over 0 to {percent[-1]:.3g} %: {listed}"


def _nothing(ranking: Ranking) -> list[str]:
    """Say how many channels get nothing at all."""
    count = int((ranking.relevance == 0).sum())
    return [f"{count:,} of {len(ranking.relevance):,} channels have no relevance at all"] if count else []
