"""The probability of an explained class: what many metrics measure, whatever number was explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..target import PROBABILITY, Target, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Model


@dataclass(frozen=True)
class SoftmaxTarget(Target):
    """The softmax over the classes of a classifier that gives logits."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return ``exp(z_k) / sum_j exp(z_j)`` (B,) of the tensor's values (B, classes)."""
        z = rows.astype(np.float64)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        found: np.ndarray = e[:, self.index[0]] / e.sum(axis=1)
        return found


def probability_target(target: Target, model: Model, feeds: Mapping[str, np.ndarray]) -> Target | None:
    """Return the probability of the target's class, None where the target is no class of a classifier.

    A model that ends in Softmax or Sigmoid gives it itself; of one whose spec says ``task = "classification"`` and
    whose output holds logits (rows, classes), the softmax is taken.
    """
    if target.space == "probability":
        return target
    index = [k for k in target.index if k is not None]
    activation = model.final_activation(model.default_output)
    if target.space == "logit" and activation is not None and activation[1] != "log-softmax":
        return resolve(f"{PROBABILITY}{index[-1] if index else 0}", model, feeds)
    is_class = target.tensor == model.default_output or target.space == "logit"
    row = model.rows(feeds, (target.tensor,))[0] if is_class and len(target.index) == 1 and index else None
    if row is None or row.ndim != 2 or row.shape[1] < 2:
        return None
    if target.space == "logit" or model.spec.task == "classification":
        return SoftmaxTarget(f"{PROBABILITY}{target.text}", target.tensor, target.index, target.label, "probability")
    return None
