"""Attention flow: attention as a network of pipes, and how much of each token can reach the explained one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ..errors import CapabilityError, SettingError, printable
from ..registry import ACTIVATIONS, register
from ..settings import Range
from .attention import by_target, chosen_rows, explained_rows
from .maps import scores_of
from .rollout import fused, sizes_of
from .token_maps import TokenRelevance, explanation_of_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..explanation import Explanation
    from ..graph.attention import Attention
    from ..problem import Problem
    from .attention import AttentionLayers

UNIT = 1 << 26  # capacities are whole numbers of this: 1.5e-8 of the largest
MOST_EDGES = 1 << 27  # over all flows: some minutes


@register("explainer", "attention-flow", needs=ACTIVATIONS, source="Abnar & Zuidema 2020, arXiv:2005.00928")
@dataclass(frozen=True)
class AttentionFlow:
    """How much of each token can reach the explained one, if attention weights are the widths of pipes.

    Nodes are the tokens before and after each layer; the pipe from token j before layer l to token i behind it has the
    capacity ``0.5 A_l[i, j] + 0.5 I[i, j]``, rows divided by their sum, heads put together as in attention rollout. The
    value of an input token is the maximum flow from it to the explained token, by itself, at most 1; values do not add
    up to 1. For self-attention of one kind of tokens. One maximum flow per token: slow for many tokens.

    Source: Abnar and Zuidema 2020, Quantifying attention flow in transformers, arXiv:2005.00928, section 3.
    """

    heads: Annotated[Literal["mean", "max", "min"], "how the heads of a layer become one matrix"] = "mean"
    residual: Annotated[float, "share of the residual connection", Range(0, 1)] = 0.5
    token: Annotated[int | None, "token that is explained; none finds those that the target is made from"] = None

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Find the flows, for several samples of one model."""
        return by_target(problems, self._explained)

    def _explained(self, problems: list[Problem], found: AttentionLayers) -> Iterator[Explanation]:
        for layer in found.layers:
            if layer.query_inputs != found.layers[0].key_inputs or not layer.is_self:
                raise CapabilityError(
                    f"attention-flow is for self-attention of one kind of tokens, and '{printable(layer.weights)}' "
                    "is of another",
                    tip="use attention-rollout or generic-attention",
                )
        for problem, weights in zip(problems, found.weights(problems, found.layers), strict=True):
            yield self._of_sample(problem, found, {layer: weights[layer.weights] for layer in found.layers})

    def _of_sample(
        self, problem: Problem, found: AttentionLayers, by_layer: dict[Attention, np.ndarray]
    ) -> Explanation:
        (count,) = sizes_of(by_layer).values()
        rows = chosen_rows(self.token, count, problem.method)
        rows = explained_rows(problem, found, found.last[-1], count) if rows is None else rows
        if len(rows) * count**3 * len(by_layer) > MOST_EDGES:
            raise SettingError(
                f"attention-flow of {len(rows)} of {count} tokens through {len(by_layer)} layers takes too long",
                tip="choose one token (attention-flow.token), or use attention-rollout",
            )
        capacities = []
        for A in by_layer.values():
            wide = (1 - self.residual) * fused(A, self.heads, 0.0) + self.residual * np.eye(count)
            capacities.append(wide / wide.sum(axis=1, keepdims=True))
        matrix = np.full((count, count), np.nan)
        problem.progress.start(problem.method, len(rows))
        for row in rows.tolist():
            matrix[row] = flows(capacities, row)
            problem.progress.advance(1)
        matrix = np.where(np.isnan(matrix), 0.0, matrix)
        last = found.last[-1]
        shown, met = matrix[rows].mean(axis=0), found.layers[0].weights
        relevance = TokenRelevance(last.key_inputs, shown, matrix, rows, met, last.query_inputs)
        score = scores_of(problem, problem.model.rows(problem.sample.feeds, (problem.target.tensor,))[0])
        note = f"{len(found.layers)} attention layers; rows of tokens that are not explained are left at 0"
        return explanation_of_tokens(problem, [relevance], score=score, notes=(note,))


def flows(capacities: Sequence[np.ndarray], row: int) -> np.ndarray:
    """Return the maximum flow (tokens,) from each token before the first layer to token ``row`` behind the last.

    ``capacities`` are matrices (tokens behind a layer, tokens before it), the first layer first.
    """
    from scipy.sparse import coo_matrix, csr_matrix
    from scipy.sparse.csgraph import maximum_flow

    count, depth = len(capacities[0]), len(capacities)
    before, behind = np.meshgrid(np.arange(count), np.arange(count))
    starts = np.concatenate([layer * count + before.ravel() for layer in range(depth)])
    ends = np.concatenate([(layer + 1) * count + behind.ravel() for layer in range(depth)])
    sizes = np.concatenate([np.rint(C * UNIT).astype(np.int32).ravel() for C in capacities])
    kept = sizes > 0
    nodes = (depth + 1) * count
    pipes = csr_matrix(coo_matrix((sizes[kept], (starts[kept], ends[kept])), shape=(nodes, nodes)), dtype=np.int32)
    sink = depth * count + row
    return np.array([maximum_flow(pipes, source, sink).flow_value / UNIT for source in range(count)])
