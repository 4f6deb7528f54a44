"""How well predictions fit labels: accuracy, AUC, log-loss, R², mean absolute and squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, SettingError, nearest, printable
from ..files import excerpt
from .outputs import Outputs, all_outputs, outputs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..analyses.study import Study

TINY = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Score:
    """A number for predictions (N, K) against labels (N,): classes by number, or values of a single output.

    ``best`` is what perfect predictions get; where it is 0, less is better: the score is a loss.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray], float]
    best: float
    is_of_classes: bool
    words: str

    def loss(self, score: float) -> float:
        """Return how far a score is from the best one; 0 or more."""
        return self.best - score if self.best else score

    def drop(self, before: float, after: float) -> float:
        """Return how much worse ``after`` is than ``before``."""
        return self.loss(after) - self.loss(before)


def accuracy(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the share of rows whose largest output is that of their class."""
    return float((outputs.argmax(axis=1) == labels).mean())


def log_loss(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the mean of -log p of the rows' classes; p is at least the machine precision, as in scikit-learn."""
    chosen = outputs[np.arange(len(labels)), labels] / outputs.sum(axis=1)
    return float(-np.log(np.clip(chosen, TINY, 1 - TINY)).mean())


def auc(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the chance that a row of a class has a larger output for it than a row of the others, ties half.

    The mean over the classes that are among the labels (one against the rest); for two classes that of the second.
    """
    present = np.unique(labels)
    classes = [1] if outputs.shape[1] == 2 else [k for k in range(outputs.shape[1]) if k in present]
    if outputs.shape[1] == 2:
        outputs = outputs[:, [0, 1]] - outputs[:, [1, 0]]
    return float(np.mean([_ranked(labels == k, outputs[:, k]) for k in classes]))


def _ranked(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve by the rank sum of Mann and Whitney, with mean ranks for ties."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = ((ends - counts + 1 + ends) / 2)[inverse]
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def r2(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return one minus the squared error over that of the labels' mean."""
    spread = float(((labels - labels.mean()) ** 2).sum())
    return 1 - float(((labels - outputs[:, 0]) ** 2).sum()) / spread


def mae(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the mean absolute error."""
    return float(np.abs(labels - outputs[:, 0]).mean())


def mse(labels: np.ndarray, outputs: np.ndarray) -> float:
    """Return the mean squared error."""
    return float(((labels - outputs[:, 0]) ** 2).mean())


SCORES = {
    score.name: score
    for score in (
        Score("accuracy", accuracy, 1.0, is_of_classes=True, words="accuracy"),
        Score("auc", auc, 1.0, is_of_classes=True, words="AUC"),
        Score("log-loss", log_loss, 0.0, is_of_classes=True, words="log-loss"),
        Score("r2", r2, 1.0, is_of_classes=False, words="R²"),
        Score("mae", mae, 0.0, is_of_classes=False, words="mean absolute error"),
        Score("mse", mse, 0.0, is_of_classes=False, words="mean squared error"),
    )
}


@dataclass(frozen=True)
class Judge:
    """A score, what of the model it looks at, and the labels in the form that it takes."""

    score: Score
    outputs: Outputs
    labels: np.ndarray

    def __call__(self, predictions: np.ndarray) -> float:
        """Return the score of predictions (N, K)."""
        whole = _two_columns(predictions, self.outputs) if self.score.is_of_classes else predictions
        return self.score.of(self.labels, whole)

    def own(self, predictions: np.ndarray) -> np.ndarray:
        """Return each row's output (N,) for its own class; of a model of one value, that value."""
        if not self.score.is_of_classes:
            return predictions[:, 0]
        chosen: np.ndarray = _two_columns(predictions, self.outputs)[np.arange(len(self.labels)), self.labels]
        return chosen

    @classmethod
    def choose(cls, name: str, study: Study) -> Judge:
        """Return the score by its name; ``auto`` is accuracy for classifiers and r2 for all else.

        SettingError for an unknown score, or one that the model cannot have; InputError for labels that do not fit.
        """
        if study.labels is None:
            raise InputError(
                "the score needs the true classes or values of the rows, and no labels were given",
                where=study.source,
                tip="--labels COLUMN or FILE; in Python labels=",
            )
        outputs = _classes_or_value(study)
        is_classifier = _is_classifier(study, outputs)
        chosen = ("accuracy" if is_classifier else "r2") if name == "auto" else name
        if chosen not in SCORES:
            raise SettingError(f"there is no score '{printable(name)}'", tip=nearest(name, SCORES))
        score = SCORES[chosen]
        if score.is_of_classes and not is_classifier:
            raise SettingError(f"{chosen} is for classifiers, and this model gives a value", tip="use r2, mae or mse")
        if not score.is_of_classes:
            if outputs.count != 1:
                raise SettingError(
                    f"{chosen} is for models of one value, and this one gives {outputs.count}",
                    tip="use accuracy, auc or log-loss, or name the value: --target 0",
                )
            return cls(score, outputs, _values(score, study))
        if chosen == "log-loss" and outputs.space != "probability":
            raise SettingError(
                "log-loss needs probabilities, and this model gives scores without a final Softmax or Sigmoid",
                tip="use auc or accuracy",
            )
        return cls(score, outputs, _classes(score, study, outputs))


def _classes_or_value(study: Study) -> Outputs:
    """Return the target that was asked for, or all classes: as probabilities where the model has them."""
    if study.target not in {"auto", "all"}:
        return outputs_of(study, 1)
    try:
        return all_outputs(study, probability=True)
    except SettingError:
        return all_outputs(study)


def _is_classifier(study: Study, outputs: Outputs) -> bool:
    if study.model.spec.task:
        return study.model.spec.task == "classification"
    return (
        outputs.count > 1 or outputs.space in {"probability", "logit", "log-probability"} or len(study.model.labels) > 1
    )


def _two_columns(predictions: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Return a column per class also where the model gives the second class's score only."""
    if predictions.shape[1] > 1:
        return np.exp(predictions) if outputs.space == "log-probability" else predictions
    other = 1 - predictions if outputs.space == "probability" else -predictions
    return np.concatenate([other, predictions], axis=1)


def _classes(score: Score, study: Study, outputs: Outputs) -> np.ndarray:
    """Return labels as class numbers; they are given as the classes' names, or as numbers from 0."""
    labels = study.labels if study.labels is not None else np.empty(0)
    count = max(outputs.count, 2)
    names = study.model.labels if len(study.model.labels) == count else ()
    found = _by_name(labels, names)
    if found is None:
        found = _by_number(labels, count, names)
    present = np.unique(found)
    if score.name == "auc" and len(present) < 2:
        raise InputError(f"auc needs rows of two classes; all {len(found)} labels are the same", where=study.source)
    return found


def _by_name(labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray | None:
    """Return the classes' places by name; None where no label is a name."""
    spelled = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in labels.tolist()]
    place = {name: k for k, name in enumerate(names)}
    lowered = {name.lower(): k for name, k in place.items()}
    found = [place.get(text, lowered.get(text.lower())) for text in spelled]
    if all(k is None for k in found):
        return None
    unknown = next((text for text, k in zip(spelled, found, strict=True) if k is None), None)
    if unknown is not None:
        raise InputError(f"the label '{excerpt(unknown)}' is no class of this model", tip=nearest(unknown[:200], names))
    return np.array(found, dtype=np.intp)


def _by_number(labels: np.ndarray, count: int, names: tuple[str, ...]) -> np.ndarray:
    text = str(labels[0])
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        tip = nearest(text[:200], names) if names else "give class numbers, or labels in a spec"
        raise InputError(f"the label '{excerpt(text)}' is no class of this model", tip=tip) from None
    bad = np.flatnonzero((numbers != np.round(numbers)) | ~((numbers >= 0) & (numbers < count)))
    if bad.size:
        raise InputError(
            f"the label {numbers[bad[0]]:g} in row {bad[0]} is no class: they are numbered from 0 to {count - 1}",
            tip="are these values? Then the score is r2, mae or mse" if (numbers != np.round(numbers)).any() else "",
        )
    return numbers.astype(np.intp)


def _values(score: Score, study: Study) -> np.ndarray:
    values = study.numbers(study.labels, "labels")
    if score.name == "r2" and np.ptp(values) == 0:
        raise InputError("r2 needs labels that differ, and all are the same", where=study.source, tip="use mae or mse")
    return values
