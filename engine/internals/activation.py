"""Activation: the values of an inner tensor for one input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CapabilityError, printable
from ..explanation import Explanation
from ..registry import ACTIVATIONS, register
from ..rows import has_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..model import Model
    from ..problem import Problem

AT_TENSORS = frozenset({"activation", "conductance", "gradient-x-activation", "internal-influence"})  # need --wrt


@register("explainer", "activation", needs=ACTIVATIONS, source="the model itself")
@dataclass(frozen=True)
class Activation:
    """The values that a tensor has for this input, as the model computes them.

    ``wrt`` names the tensor. Values are signed and in the tensor's own unit, not in the target's; whole numbers and
    truth values become floats. Runs on ONNX Runtime alone.
    """

    def explain(self, problem: Problem) -> Explanation:
        """Tap the tensor."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Tap the tensor for several inputs at once; they share model and ``wrt``."""
        model, tensor = problems[0].model, problems[0].layer()
        together = joined(model, [p.sample.feeds for p in problems])
        if together is None:
            return [self.explain(problem) for problem in problems]
        names = tuple(dict.fromkeys((tensor, *(p.target.tensor for p in problems))))
        found = dict(zip(names, model.rows(together, names), strict=True))
        values = found[tensor]
        if values.dtype.kind not in "fiub":
            raise CapabilityError(f"tensor '{printable(tensor)}' holds text, not numbers")
        return [
            Explanation(
                values={tensor: values[k : k + 1].astype(np.float64)},
                method=problem.method,
                settings={},
                target=problem.target.text,
                label=problem.target.label,
                score=float(problem.target.scores(found[problem.target.tensor][k : k + 1])[0]),
                evaluations=1,
                sample=problem.sample,
            )
            for k, problem in enumerate(problems)
        ]


def joined(model: Model, feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray] | None:
    """Put rows together; None where inputs without rows differ from instance to instance."""
    joined = {}
    for name, feed in feeds[0].items():
        given = [one[name] for one in feeds]
        if has_rows(name, model.inputs):
            joined[name] = feed if len(feeds) == 1 else np.concatenate(given)
        elif all(np.array_equal(feed, other) for other in given):
            joined[name] = feed
        else:
            return None
    return joined
