"""Attention rollout: attention followed through all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from ..registry import ACTIVATIONS, register
from ..settings import Range
from .attention import by_target, chosen_rows, explained_rows
from .maps import scores_of
from .rollout import Relevance, fused, relevance_of, sizes_of
from .token_maps import explanation_of_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from ..explanation import Explanation
    from ..graph.attention import Attention
    from ..problem import Problem
    from .attention import AttentionLayers, Tokens
    from .token_maps import TokenRelevance


@register("explainer", "attention-rollout", needs=ACTIVATIONS, source="Abnar & Zuidema 2020, arXiv:2005.00928")
@dataclass(frozen=True)
class AttentionRollout:
    """What a token is made from, as far as attention and residual connections tell, through all layers.

    ``R <- (0.5 A_l + 0.5 I) R`` from the first layer to the last, A_l the weights of layer l put together over its
    heads, rows divided by their sum; the values are the row of the explained token. In cross-attention A_l multiplies
    the rows of the other tokens, so that a decoder is followed into its encoder. No gradient is needed and the target
    says no more than which tokens are read.

    Source: Abnar and Zuidema 2020, Quantifying attention flow in transformers, arXiv:2005.00928, section 3.
    """

    heads: Annotated[Literal["mean", "max", "min"], "how the heads of a layer become one matrix"] = "mean"
    residual: Annotated[float, "share of the residual connection", Range(0, 1)] = 0.5
    discard: Annotated[float, "share of the smallest weights of each layer that are set to zero", Range(0, 1)] = 0.0
    token: Annotated[int | None, "token that is explained; none finds those that the target is made from"] = None

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Multiply the layers, for several samples of one model at once."""
        return by_target(problems, self._explained)

    def _explained(self, problems: list[Problem], found: AttentionLayers) -> Iterator[Explanation]:
        for problem, weights in zip(problems, found.weights(problems, found.layers), strict=True):
            yield self._of_sample(problem, found, {layer: weights[layer.weights] for layer in found.layers})

    def _of_sample(
        self, problem: Problem, found: AttentionLayers, by_layer: dict[Attention, np.ndarray]
    ) -> Explanation:
        R = Relevance(sizes_of(by_layer))
        for layer, A in by_layer.items():
            R.roll(layer, fused(A, self.heads, self.discard), self.residual)
        relevances: dict[Tokens, TokenRelevance] = {}
        for last in found.last:
            now = last.query_inputs
            queries = R.sizes[now]
            rows = chosen_rows(self.token, queries, problem.method)
            if rows is None:
                rows = explained_rows(problem, found, last, queries)
            for t in R.start_kinds(now):
                relevances.setdefault(t, relevance_of(R, now, t, rows, found.layers))
        return explanation_of_tokens(
            problem,
            list(relevances.values()),
            score=scores_of(problem, problem.model.rows(problem.sample.feeds, (problem.target.tensor,))[0]),
            notes=(f"{len(found.layers)} attention layers",),
        )
