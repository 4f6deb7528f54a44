"""Generic attention explainability: attention weighed by its gradients, for encoders, decoders and pairs of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.graph.attention import Attention
    from ....engine.internals.rollout import Relevance
    from ....engine.problem import Problem
    from .weighed import Weighed


@register("explainer", "generic-attention", needs=GRADIENT, source="Chefer et al. 2021, arXiv:2103.15679")
@dataclass(frozen=True)
class GenericAttention:
    """Which tokens speak for the target: attention weighed by its gradients, gathered over all layers.

    ``C = mean over heads of max(0, dy/dA * A)`` for each layer, first to last. Self-attention of tokens s:
    ``R[s, t] += C R[s, t]`` for all kinds of tokens t, with ``R[s, s] = I`` at first and R[s, t] = 0. Cross-attention
    of s to q: ``R[s, q] += N(R[s, s])^T C N(R[q, q])`` and ``R[s, s] += C R[q, s]``, where N divides the rows of
    R - I by their sum and adds I again. The values are the row of R of the token that the target is made from, or the
    mean of these rows where there are several, without the I of the beginning, which only says which token that is.

    Source: Chefer, Gur and Wolf 2021, Generic attention-model explainability for interpreting bi-modal and
    encoder-decoder transformers, ICCV, arXiv:2103.15679, eq. 5 to 11.
    """

    token: Annotated[int | None, "token that is explained; none finds those that the target is made from"] = None

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .weighed import explained

        return explained(problems, rolled, self.token)


def rolled(one: Weighed) -> Relevance:
    """Return R after the last layer."""
    R = one.start()
    for layer in one.found.layers:
        C = np.maximum(one.G[layer] * one.A[layer], 0).mean(axis=0)
        if layer.is_self:
            s = layer.query_inputs
            for t in R.sizes:
                R[s, t] = R[s, t] + C @ R[s, t]
        else:
            _cross(R, layer, C)
    return R


def _cross(R: Relevance, layer: Attention, C: np.ndarray) -> None:
    s, q = layer.query_inputs, layer.key_inputs
    added = {t: C @ R[q, t] for t in R.sizes if t != q}  # eq. 11; of further kinds of tokens by the same rule
    added[q] = normalised(R[s, s]).T @ C @ normalised(R[q, q])  # eq. 10
    for t, more in added.items():
        R[s, t] = R[s, t] + more


def normalised(R: np.ndarray) -> np.ndarray:
    """Return ``(R - I) / its row sums + I`` (eq. 8 and 9); a row of zeros stays one."""
    rest = R - np.eye(len(R))
    total = rest.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(rest, total, out=np.zeros_like(rest), where=total != 0)
    return shares + np.eye(len(R))
