"""Attention weights and the gradients of targets at them, for several samples at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ....engine.internals.attention import AT_ONCE, attention_of, chosen_rows, in_heads
from ....engine.internals.rollout import Relevance, relevance_of, sizes_of
from ....engine.internals.token_maps import explanation_of_tokens
from ..gradient.slopes import Slopes, together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ....engine.explanation import Explanation
    from ....engine.graph.attention import Attention
    from ....engine.internals.attention import AttentionLayers, Tokens
    from ....engine.internals.token_maps import TokenRelevance
    from ....engine.problem import Problem
    from ..rules import RuleSet

UNREAD = 1e-6  # relative to the strongest: a token whose attention has smaller gradients is not read by the target


@dataclass(frozen=True)
class Weighed:
    """The attention of one sample: by layer, weights ``A`` and gradients ``G`` (heads, queries, keys) in float64.

    ``S`` holds what another way back (``rules``) gives in the place of gradients, where it was asked for.
    """

    found: AttentionLayers
    A: Mapping[Attention, np.ndarray]
    G: Mapping[Attention, np.ndarray]
    S: Mapping[Attention, np.ndarray]

    def start(self) -> Relevance:
        """Return relevance before the first layer: each token is made from itself."""
        return Relevance(sizes_of(self.A))

    def read(self, last: Attention) -> np.ndarray:
        """Return the tokens of a last layer that the target is made from: those whose attention has a gradient."""
        slopes = np.abs(self.G[last]).sum(axis=(0, 2))
        rows = np.flatnonzero(slopes > UNREAD * slopes.max(initial=0.0))
        return rows if len(rows) else np.arange(len(slopes))


def explained(
    problems: Sequence[Problem],
    roll: Callable[[Weighed], Relevance],
    token: int | None,
    rules: Callable[[Problem], RuleSet] | None = None,
) -> list[Explanation]:
    """Return an explanation for each problem; ``roll`` makes the relevance of tokens from weights and gradients.

    ``token`` is the row that is explained; None finds those that the target is made from. Problems of equal shapes and
    one target tensor go through the twin together, under ``rules`` one by one.
    """
    found = {p.target.tensor: attention_of(p) for p in {p.target.tensor: p for p in problems}.values()}
    inner = [dataclasses.replace(p, model=found[p.target.tensor].model, wrt=None) for p in problems]
    original = {id(one): problem for one, problem in zip(inner, problems, strict=True)}

    def solved(slopes: Slopes) -> list[Explanation]:
        layers = found[slopes.problems[0].target.tensor]
        chosen = rules and rules(slopes.problems[0])
        made = []
        for start in range(0, len(slopes.problems), AT_ONCE):
            own = slopes.problems[start : start + AT_ONCE]
            made += _solved(own, layers, [original[id(p)] for p in own], roll, token, chosen)
        return made

    return together(inner, solved)


def _solved(
    inner: Sequence[Problem],
    found: AttentionLayers,
    problems: Sequence[Problem],
    roll: Callable[[Weighed], Relevance],
    token: int | None,
    rules: RuleSet | None,
) -> list[Explanation]:
    names = tuple(dict.fromkeys(layer.weights for layer in found.layers))
    slopes = Slopes.of(inner, taps=names)
    step = slopes.at_samples()
    A, G = (_by_layer(found, values) for values in (step.activations, step.gradients))
    S = G if rules is None else _ruled(slopes, found, names, rules)
    made = []
    for k, problem in enumerate(problems):
        one = Weighed(found, *({layer: values[layer][k] for layer in found.layers} for values in (A, G, S)))
        made.append(
            explanation_of_tokens(
                problem,
                _relevances(problem, one, roll(one), token),
                score=float(step.scores[k]),
                notes=(f"{len(found.layers)} attention layers",),
                manifest={"twin_difference": slopes.twin.difference, "torch": torch.__version__},
            )
        )
    return made


def _ruled(
    slopes: Slopes, found: AttentionLayers, names: tuple[str, ...], rules: RuleSet
) -> dict[Attention, np.ndarray]:
    """Return what comes back to the weights under rules, for one problem after the other."""
    parts = []
    for problem in slopes.problems:
        alone = Slopes.of([problem], taps=names, rules=rules)
        parts.append(_by_layer(found, alone.at_samples().gradients))  # from 1 at the target, as the rules say
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in found.layers}


def _relevances(problem: Problem, one: Weighed, R: Relevance, token: int | None) -> list[TokenRelevance]:
    kept: dict[Tokens, TokenRelevance] = {}
    for last in one.found.last:
        now = last.query_inputs
        rows = chosen_rows(token, R.sizes[now], problem.method)
        rows = one.read(last) if rows is None else rows
        for t in R.start_kinds(now):
            kept.setdefault(t, relevance_of(R, now, t, rows, one.found.layers, itself=False))
    return list(kept.values())


def _by_layer(found: AttentionLayers, values: Mapping[str, torch.Tensor]) -> dict[Attention, np.ndarray]:
    return {layer: in_heads(values[layer.weights].cpu().numpy(), layer.weights) for layer in found.layers}
