"""Taylor: the difference to a reference, times the gradient at the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ....engine.registry import GRADIENT, register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....engine.explanation import Explanation
    from ....engine.problem import Problem
    from .slopes import Slopes


@register("explainer", "taylor", needs=GRADIENT, source="Bach et al. 2015, doi:10.1371/journal.pone.0130140")
@dataclass(frozen=True)
class Taylor:
    """First-order expansion of the score around a reference.

    ``S_i = (x_i - x0_i) df(x0) / dx_i`` for the reference x0 (``baseline``), so that
    ``f(x) = f(x0) + sum_i S_i + higher orders``; several references are averaged. The method does not promise that
    the values add up: the difference to ``score - baseline score`` is told in a note.

    Source: Bach, Binder, Montavon, Klauschen, Müller and Samek 2015, On Pixel-Wise Explanations for Non-Linear
    Classifier Decisions by Layer-Wise Relevance Propagation, eq. 12 (Taylor decomposition), with the root point given.
    """

    baseline: Annotated[Any, "the reference x0: a number, array or name (see docs); several are averaged"] = "auto"

    at_tensors: ClassVar[bool] = True  # takes problems whose explained tensors are shifted

    def explain(self, problem: Problem) -> Explanation:
        """Explain one sample."""
        return self.explain_many([problem])[0]

    def explain_many(self, problems: Sequence[Problem]) -> list[Explanation]:
        """Explain several samples of one model at once."""
        from .slopes import together

        return together(problems, _explained, references=True)


def _explained(slopes: Slopes) -> list[Explanation]:
    from .slopes import broad

    references = slopes.references
    counts = references.counts
    values = slopes.sums()
    for rows in slopes.chunks(len(references.owners), "taylor"):
        owners = references.owners[rows]
        gradients = slopes.run({n: v[rows] for n, v in references.values.items()}, owners).gradients
        for name, sums in values.items():
            change = slopes.values[name][owners].double() - references.values[name][rows]
            sums.index_add_(0, owners, change * gradients[name] / broad(counts[owners], change))
    bases = references.mean_scores()
    totals = [sum(float(v[k].sum()) for v in values.values()) for k in range(len(bases))]
    left = [float(s) - b - t for s, b, t in zip(slopes.scores, bases, totals, strict=True)]
    notes = [(f"higher orders make up {rest:.6g} of score minus baseline score",) for rest in left]
    return slopes.explanations(values, evaluations=1 + int(counts.max()), baseline_scores=bases, notes=notes)
