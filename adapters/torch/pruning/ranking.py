"""The channels of hidden layers, and how much each matters by relevance and by simpler criteria."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from ....engine import graph
from ....engine.errors import CapabilityError, SettingError, nearest, printable
from ....engine.graph.attention import AttentionGraph
from ....engine.graph.rebuild import read_in
from ....engine.graph.structure import constants
from ....engine.inputs.sample import Sample
from ....engine.problem import Problem
from ....engine.rows import first_row
from ....engine.target import Target, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.analyses.study import Study
    from ....engine.effects.scores import Judge
    from ....engine.graph import Channels
    from ..rules import RuleSet
    from .lrp_pruning import LrpPruning

AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Ranking:
    """All channels (M,): their names, what layer they are of, and what each criterion says of them.

    ``relevance`` and the other ``criteria`` are as channels are ordered by them, ``weight`` and ``activation`` as they
    were found; ``notes`` tell of rules that no node has.
    """

    names: np.ndarray
    layers: np.ndarray
    relevance: np.ndarray
    weight: np.ndarray
    activation: np.ndarray
    criteria: dict[str, np.ndarray]
    manifest: dict[str, Any]
    notes: tuple[str, ...]


def chosen_layers(study: Study, judge: Judge, patterns: Sequence[str]) -> tuple[Channels, ...]:
    """Return the hidden layers that patterns name; ``auto``: all before the study's outputs."""
    found = graph.hidden_channels(study.model.proto, judge.outputs.tensor)
    if not found:
        raise CapabilityError(
            "the model has no hidden convolution or dense layer with stored weights: there is no channel to take away",
            tip="layers are Conv, ConvTranspose, Gemm and MatMul nodes that another such node stands behind",
        )
    if AUTO in patterns:
        return found
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for layer in found for name in layer.names):
            names = [name for layer in found for name in dict.fromkeys(layer.names)]
            raise SettingError(
                f"no hidden layer is called '{printable(pattern)}'",
                tip=nearest(pattern, names) or f"layers are {', '.join(layer.layer for layer in found[:6])}",
            )
    return tuple(
        layer for layer in found if any(fnmatchcase(name, pattern) for pattern in patterns for name in layer.names)
    )


def ranked(study: Study, judge: Judge, layers: Sequence[Channels], settings: LrpPruning) -> Ranking:
    """Return what each channel of the layers counts for over the rows."""
    from ..gradient.slopes import Slopes
    from ..relevance.method import spelled, unused
    from ..rules import Flow
    from .shares import shares

    problems, signs = _problems(study, judge)
    problems = [spelled(problem) for problem in problems]
    rules = _rules(settings, problems[0])
    sizes, done = [layer.count for layer in layers], 0
    relevance, activation = np.zeros((2, sum(sizes)))
    for of_rows, values in shares(problems, layers, rules):
        part = of_rows * signs[done : done + len(of_rows), None]
        relevance += (part if settings.signed else np.abs(part)).sum(axis=0)
        activation += values.sum(axis=0)
        done += len(of_rows)
        study.progress.advance(len(of_rows))
    relevance, activation = relevance / done, activation / done
    weight = _norms(study, layers)
    criteria = {
        "relevance": _scaled(relevance, sizes, 1) if settings.scale == "layer" else relevance,
        "weight": _scaled(weight, sizes, 2),
        "activation": _scaled(np.abs(activation), sizes, 2),
    }
    return Ranking(
        names=np.array([f"{layer.tensor}[{k}]" for layer in layers for k in range(layer.count)]),
        layers=np.array([layer.layer for layer in layers for _ in range(layer.count)]),
        relevance=criteria["relevance"],
        weight=weight,
        activation=activation,
        criteria=criteria,
        manifest=_manifest(problems[0]),
        notes=unused(Flow(Slopes.of(problems[:1], rules=rules))),
    )


def _rules(settings: LrpPruning, problem: Problem) -> RuleSet:
    """Return the rules, which start from 1."""
    from ..attention.attn_lrp import AttnLrp
    from ..relevance.lrp import Lrp

    preset = settings.preset
    if preset == "auto":
        attention = AttentionGraph(problem.model.proto).leading_to(problem.target.tensor)
        preset = "attn-lrp" if attention and not settings.rules else "uniform"
    if preset != "attn-lrp":
        made = Lrp(rules=settings.rules, preset=preset, bias=settings.bias).rule_set(problem)
    elif settings.rules:
        raise SettingError(
            f"{problem.method} takes rules, or preset=attn-lrp, which has its own", tip="leave out one of them"
        )
    else:
        made = AttnLrp().rule_set(problem)
    return dataclasses.replace(made, name=problem.method, seed="one")


def _problems(study: Study, judge: Judge) -> tuple[list[Problem], np.ndarray]:
    """Return a problem per row, of its true class or of the target that was asked for, and the sign of each.

    Where a model gives the second class's score only, that of the first is its negative.
    """
    one = first_row(study.rows, study.model.inputs)
    count, known = study.count, {}
    signs = np.ones(count)
    wanted: list[str] = [study.target] * count
    if study.target in {AUTO, "all"}:
        wanted = ["0"] * count
        if judge.score.is_of_classes and judge.outputs.count > 1:
            wanted = [str(label) for label in judge.labels.tolist()]
        elif judge.score.is_of_classes:
            signs = np.where(judge.labels == 1, 1.0, -1.0)
    made = []
    for row, text in enumerate(wanted):
        if text not in known:
            known[text] = resolve(text, study.model, one)
        made.append(_problem(study, row, known[text]))
    return made, signs


def _problem(study: Study, row: int, target: Target) -> Problem:
    return Problem(study.model, Sample(study.part(slice(row, row + 1))), target, study.name, seed=study.seed)


def _norms(study: Study, layers: Sequence[Channels]) -> np.ndarray:
    """Return the length of the weights of each channel."""
    whole = read_in(graph.tap(study.model.proto, [layer.made for layer in layers]), study.model.folder)
    stored = constants(whole.graph.node, whole.graph)
    return np.concatenate([layer.norms(numpy_helper.to_array(stored[layer.weight])) for layer in layers])


def _scaled(values: np.ndarray, sizes: Sequence[int], order: int) -> np.ndarray:
    """Divide the values of each layer by their sum of sizes (order 1) or their Euclidean length (order 2)."""
    parts = np.split(values, np.cumsum(sizes)[:-1])
    lengths = (float(np.linalg.norm(part, order)) for part in parts)
    return np.concatenate([part / length if length else part for part, length in zip(parts, lengths, strict=True)])


def _manifest(problem: Problem) -> dict[str, Any]:
    import torch

    from ..twin import twin

    return {"twin_difference": twin(problem.model, problem.sample.feeds).difference, "torch": torch.__version__}
