"""Pruning by relevance: channels ranked by layer-wise relevance propagation, and how well the model does without."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ....engine.effects.scores import Judge
from ....engine.errors import SettingError
from ....engine.registry import DATA, GRADIENT, register
from ....engine.settings import Range
from ..relevance.lrp import Preset as OfLrp
from ..relevance.lrp import Rules

if TYPE_CHECKING:
    from ....engine.analyses.analysis import Analysis
    from ....engine.analyses.study import Study

Other = Literal["weight", "activation", "random"]
Preset = Literal[OfLrp, "attn-lrp"]
RELEVANCE = "relevance"
SPLITTING, SHUFFLING = 1, 2  # streams of random numbers


@register("analysis", "lrp-pruning", needs=GRADIENT | DATA, source="Yeom et al. 2021, arXiv:1912.08881")
@dataclass(frozen=True)
class LrpPruning:
    """Which channels the predictions do not rest on: ranked by relevance, and taken away from the lowest on.

    ``R_c = mean over rows of |sum over positions of R_cp|``: 1 at the score of each row's true class is handed back by
    the rules of layer-wise relevance propagation (those of ``lrp``, unless told otherwise the epsilon rule in all
    layers, or in graphs with attention those of ``attn-lrp``), and what comes to a channel behind its normalisation and
    activation is added up. Relevance against the class counts as much as relevance for it, as in the authors' code;
    ``signed`` keeps the sign. What the layers hand back adds up to the same, so all channels are ranked together;
    ``scale='layer'`` divides them by the sum of their layer first. Then the lowest are taken away, some percent of them
    at a time: what they make is set to zero in the ONNX graph, and the score of the data is measured on ONNX Runtime,
    without any training afterwards.

    Rules that only see positive contributions (z-plus, as in the preset epsilon-plus) rank channels low that hold
    others back; where those are taken away, deep networks break down.

    Other orders beside it show whether relevance beats them: the length of a channel's weights and the size of its mean
    activation, each divided by the length of the layer's (Molchanov et al. 2017, arXiv:1611.06440), and random ones.
    Where the score is measured on the rows that relevance was taken from it flatters both relevance and activation;
    ``held_out`` keeps rows apart.

    LRP is reported to be patented for commercial use. Source: Yeom, Seegerer, Lapuschkin, Binder, Wiedemann, Mueller
    and Samek 2021, Pruning by explaining: a novel criterion for deep neural network pruning, arXiv:1912.08881,
    section 3.
    """

    layers: Annotated[tuple[str, ...], "names or patterns of layers or their tensors; auto: all hidden ones"] = (
        "auto",
    )
    percent: Annotated[
        tuple[float, ...] | float, "how many of all channels are taken away, in percent", Range(0, 100)
    ] = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
    counts: Annotated[tuple[int, ...] | int, "how many are taken away, in the place of percent", Range(0)] = ()
    compare: Annotated[tuple[Other, ...] | Other, "other orders: weight, activation, random; [] for none"] = (
        "weight",
        "activation",
        "random",
    )
    repeats: Annotated[int, "random orders, of which the mean is shown", Range(1, 100)] = 5
    score: Annotated[str, "accuracy, auc, log-loss, r2, mae, mse; auto: accuracy of classifiers, r2 of all else"] = (
        "auto"
    )
    rules: Annotated[Rules, "rules by layer: KEY=RULE, ...; as those of lrp"] = ""
    preset: Annotated[
        Preset, "rules for what 'rules' leaves open; auto: uniform, or attn-lrp if there is attention"
    ] = "auto"
    bias: Annotated[bool, "let biases keep their share of relevance"] = True
    signed: Annotated[bool, "count relevance against the class below zero"] = False
    scale: Annotated[Literal["none", "layer"], "divide relevance by that of the whole layer, or leave it"] = "none"
    rows: Annotated[int, "most rows that are used; of more, so many are drawn", Range(1)] = 1000
    held_out: Annotated[float, "share of the rows that the score is measured on, and relevance not", Range(0, 0.9)] = (
        0.0
    )

    def analyse(self, study: Study) -> Analysis:
        """Rank the channels, and score the data without the lowest."""
        from ....engine.effects.channel_removal import Removal
        from .ranking import chosen_layers, ranked
        from .telling import told

        used = study.at_most(self.rows)
        whole = Judge.choose(self.score, used)
        layers = chosen_layers(used, whole, self.layers)
        fit, test = self._split(used)
        fitted, judged = (used, used) if fit is test else (used.some(fit), used.some(test))
        counts = self._counts(sum(layer.count for layer in layers))
        others = self.compare if isinstance(self.compare, tuple) else (self.compare,)
        several = {name: self.repeats if name == "random" else 1 for name in others}
        points = 1 + sum(1 for count in counts if count) * (1 + sum(several.values()))
        used.progress.start(used.name, fitted.count + points * judged.count)
        ranking = ranked(fitted, dataclasses.replace(whole, labels=whole.labels[fit]), layers, self)
        orders = {RELEVANCE: [np.argsort(ranking.relevance, kind="stable")]}
        for name in others:
            orders[name] = self._orders(name, ranking.criteria, used)
        removal = Removal(judged, Judge.choose(self.score, judged), layers)
        curves, evaluations = removal.curves(orders, counts)
        made = told(removal, ranking, curves, counts)
        notes = [f"{fitted.count:,} rows for relevance, {judged.count:,} others for the {whole.score.words}"]
        if fitted is judged:
            notes = [f"{used.count:,} rows, both for relevance and for the {whole.score.words}"]
        if used.count < study.count:
            notes.append(f"{used.count:,} of {study.count:,} rows were drawn")
        return dataclasses.replace(
            made,
            notes=(*notes, *ranking.notes, *made.notes),
            evaluations=evaluations + fitted.count,
            manifest=ranking.manifest,
        )

    def _split(self, study: Study) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the rows for relevance and of those for the score: the same, or parts of the data."""
        count, every = round(self.held_out * study.count), np.arange(study.count)
        if not self.held_out:
            return every, every
        if not 0 < count < study.count:
            raise SettingError(
                f"lrp-pruning.held_out={self.held_out:g} leaves one of two parts of {study.count} rows empty",
                tip="give more rows, or held_out=0",
            )
        order = study.rng(SPLITTING).permutation(every)
        return np.sort(order[count:]), np.sort(order[:count])

    def _counts(self, total: int) -> list[int]:
        given = self.counts if isinstance(self.counts, Sequence) else (self.counts,)
        shares = self.percent if isinstance(self.percent, Sequence) else (self.percent,)
        found = sorted({0, *(given or (round(share * total / 100) for share in shares))})
        if found[-1] > total:
            raise SettingError(
                f"lrp-pruning.counts names {found[-1]:,} channels, and the layers have {total:,}",
                tip="name fewer, or more layers",
            )
        return found

    def _orders(self, name: str, criteria: dict[str, np.ndarray], study: Study) -> list[np.ndarray]:
        if name == "random":
            rng, total = study.rng(SHUFFLING), len(criteria[RELEVANCE])
            return [rng.permutation(total) for _ in range(self.repeats)]
        return [np.argsort(criteria[name], kind="stable")]
