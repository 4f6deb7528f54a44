"""Target: which number is being explained, as a string everywhere (command line, TOML, Python).

``285`` or ``tabby``        a class of the default output, before a final Softmax, LogSoftmax or Sigmoid
``top``                     the predicted class (the default); of equals the first
``probability:285``         the same class after the final activation
``logits:285``              a class of the output (or any tensor) called ``logits``
``boxes[0,4]``              an element of a tensor
``features[c,y,x]``         one hidden neuron;  ``features[c]`` a channel, mean over positions;
``features[:,:,c]``         the same where channels come last

Tensor names may hold colons, dots and slashes: the longest name that exists wins. A bare number and ``top`` always mean
a class, also where a tensor has that name. Indices leave out the batch axis; where a tensor has none, they index all of
it. Axes without an index are averaged over.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .errors import ModelError, SettingError, nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .model import Model

PROBABILITY = "probability:"
TOP = "top"
_CLASS_NUMBER = re.compile(r"-?[0-9]{1,12}")
_ELEMENT = re.compile(r"(.+)\[\s*((?:-?[0-9]{1,12}|:)(?:\s*,\s*(?:-?[0-9]{1,12}|:))*)\s*\]", flags=re.DOTALL)


@dataclass(frozen=True)
class Target:
    """A scalar of the model: ``tensor[index]`` of each row, averaged over the axes that have no index.

    ``index`` leaves out the batch axis; None stands for an axis that is averaged over.
    """

    text: str
    tensor: str
    index: tuple[int | None, ...] = ()
    label: str = ""
    space: str = "value"  # logit, probability, log-probability or value

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the target (B,) in float64 from the tensor's values (B, ...), batch axis first.

        Raises ``ModelError`` where a tensor whose shape depends on the input has no such element, or none at all.
        """
        try:
            chosen = rows[self._place]
        except IndexError:
            chosen = None
        if chosen is None or 0 in chosen.shape[1:]:
            raise ModelError(
                f"tensor '{printable(self.tensor)}' has no element {_written(self.index)} for this input",
                where=f"its shape without the batch axis is {list(rows.shape[1:])}",
                tip="its shape depends on the input; explain a tensor before the selection instead",
            )
        wide = chosen.astype(np.float64)
        return np.asarray(wide.mean(axis=tuple(range(1, wide.ndim)))) if wide.ndim > 1 else wide

    @cached_property
    def _place(self) -> tuple[slice | int, ...]:
        """Where the target is in the tensor's values of a batch."""
        return (slice(None), *(slice(None) if k is None else k for k in self.index))

    def finite(self, scores: np.ndarray, tip: str) -> np.ndarray:
        """Return the scores (B,) of a batch; ``ModelError`` with the first that is not finite, and the tip."""
        finite = np.isfinite(scores)
        if not finite.all():
            row = int(np.argmin(finite))
            raise ModelError(
                f"the score of target '{printable(self.text)}' is {scores[row]}",
                where=f"tensor '{printable(self.tensor)}', row {row} of a batch",
                tip=tip,
            )
        return scores

    def __str__(self) -> str:
        """Return the target as it was asked for, with the class's name where it has one."""
        return f"{self.text} ({self.label})" if self.label and self.label != self.text else self.text


def resolve(text: str | int | Target, model: Model, feeds: Mapping[str, np.ndarray]) -> Target:
    """Find the tensor and index that a target string means for this model and input; a Target is only checked.

    Runs the model once or twice on ``feeds``. Raises ``SettingError`` with the nearest class or tensor names.
    """
    if isinstance(text, Target):
        if text.tensor not in model.tensor_names:
            _refuse_unknown(text.tensor, model)
        return _checked(text, model, feeds)
    wanted = str(text).strip() or TOP
    usual = model.spec.target.strip() or TOP
    if wanted != TOP or usual == TOP:
        return _resolved(wanted, model, feeds)
    try:
        return _resolved(usual, model, feeds)
    except SettingError as error:
        raise SettingError(error.message, where=f"target in {printable(model.spec.source)}", tip=error.tip) from None


def _resolved(wanted: str, model: Model, feeds: Mapping[str, np.ndarray]) -> Target:
    is_class = wanted == TOP or _CLASS_NUMBER.fullmatch(wanted)
    named = None if is_class else _of_tensor(wanted, model, feeds)
    if named is not None:
        return named
    kept = wanted.startswith(PROBABILITY)
    choice = wanted.removeprefix(PROBABILITY).strip()
    if not is_class and not kept and not _places(choice, model.labels):
        _refuse_unknown_tensor(wanted, model)
    tensor, space, row = _default_row(model, feeds, kept=kept)
    return _class(wanted, choice, tensor, row, model, space)


def class_of(name: str, labels: tuple[str, ...]) -> int:
    """Return the index of a class by its label: exact, then whatever the case, then one of its comma-parted names."""
    if not labels:
        raise SettingError(
            f"unknown target '{printable(name)}': no labels are known for this model, and no tensor has that name",
            tip="give the class number, or labels in a spec (onnxplain inspect MODEL --write-spec)",
        )
    places = _places(name, labels)
    if not places:
        parts = dict.fromkeys(part.strip() for label in labels for part in label.split(","))
        raise SettingError(f"there is no class '{printable(name)}'", tip=nearest(name, parts))
    if len(places) > 1:
        raise SettingError(
            f"{len(places)} classes are called '{printable(name)}': {', '.join(map(str, places[:6]))}",
            tip="give the number",
        )
    return places[0]


def _places(name: str, labels: tuple[str, ...]) -> list[int]:
    """Return the classes with this name by the first rule that finds any."""
    plain = name.strip().lower()
    rules = (
        lambda label: label == name,
        lambda label: label.lower() == plain,
        lambda label: plain in {part.strip().lower() for part in label.split(",")},
    )
    found = ([k for k, label in enumerate(labels) if rule(label)] for rule in rules)
    return next((places for places in found if places), [])


def _default_row(model: Model, feeds: Mapping[str, np.ndarray], *, kept: bool) -> tuple[str, str, np.ndarray]:
    """Return the tensor that a class means, the space of its scores, and its values for this input."""
    output = model.default_output
    activation = model.final_activation(output)
    if activation is not None and not kept:
        return activation[0], "logit", _row(model, feeds, activation[0])
    row = _row(model, feeds, output)
    if activation is not None:
        return output, "log-probability" if activation[1] == "log-softmax" else "probability", row
    if _sums_to_one(row, model):
        return output, "probability", row
    if kept:
        raise SettingError(
            f"output '{printable(output)}' has no final Softmax or Sigmoid: it gives scores, not probabilities",
            tip="leave out 'probability:'",
        )
    return output, "value", row


def _sums_to_one(row: np.ndarray, model: Model) -> bool:
    axis = _class_axis(row, model, "")
    if axis is None or row.shape[axis] < 2:
        return False
    wide = row.astype(np.float64)
    return bool(wide.min() >= 0 and np.allclose(wide.sum(axis=axis), 1, atol=1e-3))


def _class(wanted: str, choice: str, tensor: str, row: np.ndarray, model: Model, space: str = "value") -> Target:
    """Return the target of a class of ``tensor``, given the tensor's values for one row."""
    axis = _class_axis(row, model, tensor)
    classes = row.shape[axis] if axis is not None else 1
    wide = row.astype(np.float64)
    if axis is not None and row.ndim > 2:
        wide = np.moveaxis(wide[0], axis - 1, 0).reshape(classes, -1).mean(axis=1)
    labels = fitting_labels(model.labels, classes)
    place = _place(choice, wide.reshape(classes), model.labels)
    index = () if axis is None or classes == 1 else (*[None] * (axis - 1), place)
    return Target(wanted, tensor, index, labels[place] if labels else "", space)


def _place(choice: str, scores: np.ndarray, labels: tuple[str, ...]) -> int:
    """Return the class that ``choice`` means, of those with these scores (classes,)."""
    classes = len(scores)
    if choice in {TOP, ""}:
        if not np.isfinite(scores).any():
            raise ModelError("the model's output holds no finite number for this input", where=f"{classes} classes")
        return int(np.where(np.isnan(scores), -np.inf, scores).argmax())
    if _CLASS_NUMBER.fullmatch(choice):
        place = int(choice)
        if not 0 <= place < classes:
            numbered = f"{classes}, numbered from 0 to {classes - 1}" if classes > 1 else "a single one, number 0"
            raise SettingError(
                f"there is no class {place}: the output has {numbered}",
                tip=nearest(choice, labels) if labels else "",
            )
        return place
    place = class_of(choice, labels)
    fitting = fitting_labels(labels, classes)
    if fitting == labels:
        return place
    if not fitting:
        raise SettingError(
            f"'{printable(choice)}' is one of {len(labels)} labels, but the output has {classes} classes",
            tip="give the class number, or labels that fit in a spec",
        )
    if place == 0:
        raise SettingError(
            f"the model gives a single score, that of class '{printable(fitting[0])}'",
            tip=f"explain that one: what speaks against it speaks for '{printable(labels[0])}'",
        )
    return 0


def fitting_labels(labels: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """Return the labels of the classes; none if they are of another number. A single score is that of the second."""
    if classes == 1 and len(labels) == 2:
        return labels[1:]
    return labels if len(labels) == classes else ()


def _class_axis(row: np.ndarray, model: Model, tensor: str) -> int | None:
    """Return the axis of the classes in the values of one row (1, ...), None if there is one number only.

    That of the Softmax that takes ``tensor``; the only axis longer than one; that with as many elements as there are
    labels; else the first after the batch axis.
    """
    if row.ndim < 3:
        return 1 if row.ndim == 2 else None
    axis = _softmax_axis(model, tensor, row.ndim)
    if axis is not None:
        return axis
    for sizes in ([n > 1 for n in row.shape[1:]], [n == len(model.labels) for n in row.shape[1:]]):
        if sum(sizes) == 1:
            return 1 + sizes.index(True)
    return 1


def _softmax_axis(model: Model, tensor: str, rank: int) -> int | None:
    """Return the axis over which a Softmax normalises ``tensor``; None if none does, or if that cannot be told."""
    rows_first = model.opsets.get("ai.onnx", 13) >= 13 and all(i.batch_axis == 0 for i in model.inputs)
    for node in model.proto.graph.node if rows_first else ():
        if node.op_type in {"Softmax", "LogSoftmax"} and not node.domain and tensor in {node.input[0], node.output[0]}:
            axis = next((a.i for a in node.attribute if a.name == "axis"), -1) % rank
            return axis or None
    return None


def _of_tensor(wanted: str, model: Model, feeds: Mapping[str, np.ndarray]) -> Target | None:
    """Read ``tensor``, ``tensor[i,j]`` or ``tensor:class``; None where the text names no tensor."""
    known = model.tensor_names
    if wanted in known:
        return _checked(Target(wanted, wanted), model, feeds)
    bracket = _ELEMENT.fullmatch(wanted)
    if bracket and bracket.group(1) in known:
        parts = [part.strip() for part in bracket.group(2).split(",")]
        index = tuple(None if part == ":" else int(part) for part in parts)
        return _checked(Target(wanted, bracket.group(1), index), model, feeds)
    for head, tail in _splits(wanted):
        if head in known:
            return _class(wanted, tail.strip(), head, _row(model, feeds, head), model)
    return None


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text before and after each colon, the longest first part first."""
    end = text.rfind(":")
    while end > 0:
        yield text[:end], text[end + 1 :]
        end = text.rfind(":", 0, end)


def _refuse_unknown_tensor(wanted: str, model: Model) -> None:
    """Raise ``SettingError`` where a text that names neither a class nor a tensor is written like a tensor's."""
    bracket = _ELEMENT.fullmatch(wanted)
    head = bracket.group(1) if bracket else wanted.rpartition(":")[0]
    if head:
        _refuse_unknown(head, model)
    tensor = wanted.partition("[")[0]
    if tensor in model.tensor_names:
        raise SettingError(
            f"the index in '{printable(wanted)}' cannot be read",
            tip=f"whole numbers or ':', without the batch axis, such as {printable(tensor)}[0,4]",
        )
    if not _is_near(wanted, model.labels) and _is_near(wanted, model.tensor_names):
        _refuse_unknown(wanted, model)


def _is_near(name: str, known: Iterable[str]) -> bool:
    return nearest(name, known).startswith("did you mean")


def _refuse_unknown(tensor: str, model: Model) -> None:
    word = PROBABILITY.rstrip(":")
    is_close = bool(difflib.get_close_matches(tensor.lower(), [word], cutoff=0.6))
    tip = nearest(tensor, [*model.tensor_names, *([word] if is_close else [])])
    raise SettingError(f"there is no tensor '{printable(tensor)}' in this model", tip=tip)


def _checked(target: Target, model: Model, feeds: Mapping[str, np.ndarray]) -> Target:
    """Check the index against the tensor's shape for this input."""
    shape = _row(model, feeds, target.tensor).shape[1:]
    places = zip(target.index, shape, strict=False)
    if len(target.index) > len(shape) or any(k is not None and not -n <= k < n for k, n in places):
        raise SettingError(
            f"index {_written(target.index)} is outside tensor '{printable(target.tensor)}'",
            where=f"its shape without the batch axis is {list(shape)}",
        )
    return target


def _row(model: Model, feeds: Mapping[str, np.ndarray], tensor: str) -> np.ndarray:
    """Return the values of a tensor for the first row (1, ...); ``SettingError`` where they are no numbers."""
    row = model.rows(feeds, (tensor,))[0][:1]
    if row.dtype.kind not in "fiub":
        kind = "text" if row.dtype.kind in "OUS" else str(row.dtype)
        raise SettingError(f"tensor '{printable(tensor)}' holds {kind}, not numbers")
    return row


def _written(index: tuple[int | None, ...]) -> str:
    return f"[{', '.join(':' if k is None else str(k) for k in index)}]"
