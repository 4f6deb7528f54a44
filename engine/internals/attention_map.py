"""Attention map: the weights of one layer of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ..errors import SettingError
from ..registry import ACTIVATIONS, register
from .attention import by_target, chosen_rows, explained_rows
from .maps import scores_of
from .token_maps import TokenRelevance, explanation_of_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from ..explanation import Explanation
    from ..graph.attention import Attention
    from ..problem import Problem
    from .attention import AttentionLayers


@register("explainer", "attention-map", needs=ACTIVATIONS, source="Bahdanau et al. 2015, arXiv:1409.0473")
@dataclass(frozen=True)
class AttentionMap:
    """What tokens attend to in one layer: the attention weights themselves.

    ``A = softmax(Q K^T / sqrt(d) + mask)`` (queries, keys) of one head, or its mean over the heads; the values are the
    row of the explained token: a word for each decoder step, a patch for a class token. Rows add up to 1. The target
    only says which layers come before it and which token is read: the weights are not those of a class.

    Layers are counted from 0 in the order of the graph, self- and cross-attention alike; -1 is the last before the
    target, in a decoder its last cross-attention. Where ``token`` is left out, the tokens that the target is made from
    are found, and the mean of their rows is taken; in a layer whose tokens the target is not made from, all of them.

    Source: Bahdanau, Cho and Bengio 2015, Neural machine translation by jointly learning to align and translate,
    arXiv:1409.0473, section 5.2; Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
    """

    layer: Annotated[int, "which attention layer, from 0, or from the end: -1"] = -1
    head: Annotated[int | None, "which head, from 0; none is the mean over heads"] = None
    token: Annotated[int | None, "query token whose row is shown; none finds those that the target is made from"] = None

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Tap the weights for several samples of one model at once."""
        return by_target(problems, self._explained)

    def _explained(self, problems: list[Problem], found: AttentionLayers) -> Iterator[Explanation]:
        layer = found[self.layer]
        for problem, weights in zip(problems, found.weights(problems, [layer]), strict=True):
            yield self._of_sample(problem, found, layer, weights[layer.weights])

    def _of_sample(self, problem: Problem, found: AttentionLayers, layer: Attention, A: np.ndarray) -> Explanation:
        heads, queries, _ = A.shape
        if self.head is not None and not -heads <= self.head < heads:
            raise SettingError(
                f"{problem.method}.head must be from 0 to {heads - 1}, not {self.head}",
                tip=f"layer {found.number(layer)} has {heads} heads; none is their mean",
            )
        matrix = A.mean(axis=0) if self.head is None else A[self.head]
        rows = chosen_rows(self.token, queries, problem.method)
        if rows is None:
            last = next((one for one in found.last if one.query_inputs == layer.query_inputs), layer)
            rows = explained_rows(problem, found, last, queries)
        shown = matrix[rows].mean(axis=0)
        relevance = TokenRelevance(layer.key_inputs, shown, matrix, rows, layer.weights, layer.query_inputs)
        kind = "self" if layer.is_self else "cross"
        which = f"head {self.head % heads} of {heads}" if self.head is not None else f"mean of {heads} heads"
        return explanation_of_tokens(
            problem,
            [relevance],
            score=scores_of(problem, problem.model.rows(problem.sample.feeds, (problem.target.tensor,))[0]),
            notes=(f"layer {found.number(layer)} of {len(found.layers)}, {kind}-attention, {which}",),
        )
