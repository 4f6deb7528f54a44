"""Permutation importance: how much worse a model predicts when a column is shuffled over the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from ..analyses.analysis import Analysis
from ..errors import InputError, SettingError
from ..masking.features import elements, from_labels, join
from ..masking.groups import grouped
from ..registry import DATA, PREDICT, register
from ..settings import Range
from ..token_inputs import companions_of
from .columns import groups_of
from .scores import Judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..analyses.study import Study
    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..scorer import Scorer

NEGLIGIBLE = 1e-12  # a loss that is perfect but for rounding


@register(
    "analysis",
    "permutation-importance",
    needs=PREDICT | DATA,
    source="Breiman 2001; Fisher, Rudin & Dominici 2019, arXiv:1801.01489",
)
@dataclass(frozen=True)
class PermutationImportance:
    """How much worse the model predicts when a column, group, token position or channel is shuffled over the data.

    ``importance_j = loss(y, f(X with column j permuted)) - loss(y, f(X))``, averaged over the repeats; the loss of
    accuracy, auc and r2 is one minus the score, so that an importance is the drop of the score. The form ``ratio`` is
    ``loss(permuted) / loss(original)`` instead: 1 is of no importance. Both are model reliance as estimated by Fisher,
    Rudin and Dominici (2019, section 3), who take it over all pairs of rows instead of some permutations.

    The spread is the standard deviation over the repeats, with the divisor repeats - 1 (scikit-learn has repeats). All
    features of a repeat are shuffled by the same permutation. Columns that carry the same information stand in for
    each other: each alone then seems to matter little.

    Source: Breiman 2001, Random forests; Fisher, Rudin and Dominici 2019, All models are wrong, but many are useful,
    arXiv:1801.01489.
    """

    score: Annotated[str, "accuracy, auc, log-loss, r2, mae, mse; auto: accuracy of classifiers, r2 of all else"] = (
        "auto"
    )
    form: Annotated[Literal["difference", "ratio"], "how much worse: loss minus loss, or loss over loss"] = "difference"
    features: Annotated[
        Any, "what is shuffled; auto: columns, channels of images (cells of grey ones), else positions"
    ] = "auto"
    repeats: Annotated[int, "permutations of each feature", Range(1, 1000)] = 10
    rows: Annotated[int, "most rows that are used; of more, so many are drawn", Range(2)] = 5000
    permutations: Annotated[
        np.ndarray | None, "permutations to use instead of drawn ones (repeats, rows); row i gets that of place i"
    ] = None

    def analyse(self, study: Study) -> Analysis:
        """Score the data as they are, and with each feature shuffled."""
        used = study.at_most(self.rows)
        if used.count < 2:
            raise InputError("permutation-importance shuffles rows, and there is one only", where=study.source)
        judge = Judge.choose(self.score, used)
        features = _features(self.features, used)
        orders = self._orders(used)
        expected = used.count * (1 + features.size * len(orders))
        used.progress.start(used.name, expected)
        scorer = used.scorer(judge.outputs, expected)
        places = [_places(features, k, used) for k in range(features.size)]
        found = self._scored(used, scorer, judge, places, orders)
        base, shuffled = found[0], np.array(found[1:]).reshape(features.size, len(orders))
        values = self._values(judge, base, shuffled)
        return self._told(study, used, judge, features, (base, shuffled, values), scorer.evaluations)

    def _orders(self, study: Study) -> np.ndarray:
        if self.permutations is None:
            rng = study.rng()
            return np.array([rng.permutation(study.count) for _ in range(self.repeats)])
        orders = np.atleast_2d(self.permutations)
        if orders.shape[1:] != (study.count,) or (np.sort(orders, axis=1) != np.arange(study.count)).any():
            raise SettingError(
                f"permutation-importance.permutations must hold the numbers 0 to {study.count - 1}, once in each row",
                tip=f"its shape is {orders.shape}, for {study.count} rows of data",
            )
        return orders.astype(np.intp)

    def _scored(
        self, study: Study, scorer: Scorer, judge: Judge, places: list[dict[str, np.ndarray]], orders: np.ndarray
    ) -> list[float]:
        """Return the score of the data as they are and then of each feature and order, put together as they come."""
        count, length = study.count, scorer.batch
        found: list[float] = []
        waiting: list[np.ndarray] = []

        def batches() -> Iterator[tuple[dict[str, np.ndarray], bool]]:
            for place, order in [(None, None), *((p, o) for p in places for o in orders)]:
                for start in range(0, count, length):
                    at = slice(start, start + length)
                    feeds = study.part(at)
                    if place is not None and order is not None:
                        feeds = feeds | {n: _shuffled(study.rows[n], at, order[at], p) for n, p in place.items()}
                    yield feeds, start + length >= count

        for scores, is_last in scorer.stream(batches()):
            waiting.append(scores)
            if is_last:
                found.append(judge(np.concatenate(waiting)))
                waiting = []
        return found

    def _values(self, judge: Judge, base: float, shuffled: np.ndarray) -> np.ndarray:
        """Return the importances (M, repeats)."""
        loss = judge.score.loss(base)
        losses = np.vectorize(judge.score.loss, otypes=[float])(shuffled)
        if self.form == "difference":
            difference: np.ndarray = losses - loss
            return difference
        if loss <= NEGLIGIBLE:
            raise InputError(
                f"the {judge.score.name} of the data as they are is perfect: there is no ratio to a loss of 0",
                tip="use form=difference, or another score",
            )
        ratio: np.ndarray = losses / loss
        return ratio

    def _told(
        self,
        study: Study,
        used: Study,
        judge: Judge,
        features: Features,
        numbers: tuple[float, np.ndarray, np.ndarray],
        evaluations: int,
    ) -> Analysis:
        base, shuffled, values = numbers
        name = judge.score.name
        mean = values.mean(axis=1)
        several = values.shape[1] > 1
        spread = values.std(axis=1, ddof=1) if several else np.full(len(mean), np.nan)
        order = np.argsort(-mean, kind="stable")
        rows = tuple(
            (features.names[k], float(mean[k]), float(spread[k]) if several else None, float(shuffled[k].mean()))
            for k in order.tolist()
        )
        still = [features.names[k] for k in range(features.size) if _is_still(features, k, used)]
        notes = [f"{name} {base:.4g} on {used.count:,} rows as they are"]
        if used.count < study.count:
            notes.append(f"{used.count:,} of {study.count:,} rows were drawn")
        if still:
            shown = ", ".join(still[:5]) + (f" and {len(still) - 5} more" if len(still) > 5 else "")
            notes.append(f"the same in all rows, so that shuffling changes nothing: {shown}")
        called = judge.score.words
        worse = f"drop of the {called}" if judge.score.best else f"rise of the {called}"
        loss = f"1 − {called}" if judge.score.best else called
        value = f"{worse} when shuffled" if self.form == "difference" else f"{loss} when shuffled / before"
        arrays = {
            "names": np.array([features.names[k] for k in order.tolist()]),
            "values": mean[order],
            "samples": values[order],
            "scores": shuffled[order],
            "score": np.array(base),
        }
        if several:
            arrays["spread"] = spread[order]
        bars = "Whiskers: one standard deviation over the repeats each way." if several else ""
        zero = "1 is a feature that does not matter." if self.form == "ratio" else ""
        words = {
            "title": f"permutation importance: {value}",
            "below": f"{called} {base:.4g} on {used.count:,} rows  ·  {len(values[0])} permutation"
            f"{'s' if several else ''} of each feature",
            "value": value,
            "notes": " ".join(part for part in (bars, zero) if part),
            "origin": "1" if self.form == "ratio" else "0",
        }
        head = ("feature", "importance", "spread", f"{name} when shuffled")
        return Analysis(
            "", head, rows, arrays, picture="bars", words=words, notes=tuple(notes), evaluations=evaluations
        )


def _features(setting: Any, study: Study) -> Features:
    """Return what is shuffled; ``auto``: columns of tables, channels of images or cells of grey ones, else elements."""
    if not isinstance(setting, str) or setting != "auto":
        return study.features(setting)
    entries = study.inputs.values()
    if any(entry.is_image for entry in entries):
        several = all(entry.axes("C") and entry.feed.shape[entry.axes("C")[0]] > 1 for entry in entries)
        return study.features("channels" if several else "grid")
    if any(entry.is_table for entry in entries):
        groups = groups_of(study)
        columns = grouped(groups, study.inputs) if groups else study.features("columns")
        texts = [study.inputs[text.input] for text in study.first.texts if text.input in study.inputs]
        return join([columns, *map(_of_text, texts)])
    found = study.features("elements")
    return found if found.size > 1 else study.features("inputs")


def _of_text(entry: MaskedInput) -> Features:
    """Return a text beside a table as what is shuffled: a string as a whole, codes place by place."""
    if entry.holds_text:
        return from_labels({entry.name: np.zeros(entry.feed.shape, dtype=np.int64)}, (entry.name,))
    return elements({entry.name: entry.feed.shape})


def _places(features: Features, k: int, study: Study) -> dict[str, np.ndarray]:
    """Return, by input, which numbers of a row belong to feature k, as indices into the flattened row.

    A token takes along whether it is there and which text it is of: rows may be filled up with padding.
    """
    found = {}
    for name, labels in features.labels.items():
        here = np.flatnonzero(np.broadcast_to(labels == k, (1, *study.rows[name].shape[1:])))
        if here.size:
            found[name] = here
    codes = [name for name in features.labels if study.rows[name].dtype.kind in "iu"]
    for code, companions in companions_of(codes, study.rows).items():
        alike = [n for n, role in companions.items() if role != "positions" and n not in features.labels]
        if code in found:
            found |= {n: found[code] for n in alike if study.rows[n].shape == study.rows[code].shape}
    return found


def _shuffled(feed: np.ndarray, at: slice, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return rows ``at`` of a feed with some numbers of each taken from the rows in ``order``."""
    flat = feed.reshape(len(feed), -1)
    rows = flat[at].copy()
    rows[:, places] = flat[order[:, None], places]
    return rows.reshape(len(rows), *feed.shape[1:])


def _is_still(features: Features, k: int, study: Study) -> bool:
    """Say whether a feature is the same in all rows."""
    for name, places in _places(features, k, study).items():
        flat = study.rows[name].reshape(study.count, -1)[:, places]
        if not all(np.array_equal(flat[0], row, equal_nan=flat.dtype.kind == "f") for row in flat):
            return False
    return True
