"""The attributions on trial: by element, added up over features, and averaged over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CapabilityError, InputError, SettingError, printable
from ..internals.codes import codes_of
from ..marked_text import per_word
from ..rows import leading, native

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..explanation import Explanation
    from ..inputs.sample import Sample
    from ..masking.features import Features
    from ..masking.layout import MaskedInput
    from ..model import Model


@dataclass(frozen=True)
class Attributions:
    """An explanation's numbers, with the inputs that they are of.

    ``values`` holds them by input name, float64, batch axis first; ``labels`` the features of the explanation itself,
    likewise; the words of a string have an axis more.
    """

    values: Mapping[str, np.ndarray]
    inputs: Mapping[str, MaskedInput]
    labels: Mapping[str, np.ndarray]
    feature_values: np.ndarray | None

    @classmethod
    def of(
        cls, explanation: Explanation, inputs: Mapping[str, MaskedInput], model: Model, sample: Sample
    ) -> Attributions:
        """Read them; raises what ``values_of`` raises."""
        values = values_of(explanation, model, sample)
        found = {n: a for n, a in explanation.feature_labels.items() if n in values}
        if not found and not values.keys() >= explanation.values.keys():
            found = {name: labels for name, (_, labels) in _of_words(explanation, sample).items()}
        labels = {n: leading({n: a}, model.inputs)[n] if a.ndim <= values[n].ndim else a for n, a in found.items()}
        own = explanation.feature_values
        return cls(values, inputs, labels, None if own is None else np.asarray(own, dtype=np.float64))

    @cached_property
    def shares(self) -> dict[str, np.ndarray]:
        """The attributions of elements such that those of a feature add up to the feature's own value.

        A method that gives features one value each writes it to all elements of the feature; here each gets its part.
        Where all channels of an image carry the same number it is the pixel's, and each channel gets its part.
        """
        labels = {n: a for n, a in self.labels.items() if a.ndim == self.values[n].ndim}
        if labels:
            return self._parted(labels)
        return {name: self._per_channel(name, array) for name, array in self.values.items()}

    def summed(self, features: Features) -> np.ndarray:
        """Return the value of each feature (M,): the sum over its elements of their shares."""
        own = self._own(features)
        return _summed(features, self.shares) if own is None else own

    def averaged(self, features: Features) -> np.ndarray:
        """Return how high the attributions are on each feature (M,): the mean over its elements."""
        own = self._own(features)
        if own is not None:
            return own
        ones = {name: np.ones_like(array) for name, array in self.values.items()}
        found: np.ndarray = _summed(features, self.values) / np.maximum(_summed(features, ones), 1)
        return found

    def _own(self, features: Features) -> np.ndarray | None:
        """Return the explanation's own value of each feature (M,), where these are its own features."""
        found = self.feature_values
        if found is None or len(found) != features.size or self.labels.keys() != features.labels.keys():
            return None
        same = all(np.array_equal(self.labels[name], labels) for name, labels in features.labels.items())
        return found if same else None

    def _parted(self, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        whole = {n: np.broadcast_to(a, self.values[n].shape) for n, a in labels.items()}
        most = max(int(a.max()) for a in whole.values()) + 1
        counts = sum(np.bincount(a[a >= 0].ravel(), minlength=most) for a in whole.values())
        sizes = np.append(counts, 1)  # label -1, always present, has the value 0
        return {n: self.values[n] / sizes[whole[n]] if n in whole else a for n, a in self.values.items()}

    def _per_channel(self, name: str, array: np.ndarray) -> np.ndarray:
        axes = self.inputs[name].axes("C") if name in self.inputs and self.inputs[name].is_image else ()
        if not axes or array.shape[axes[0]] < 2:
            return array
        first = np.take(array, [0], axis=axes[0])
        return np.asarray(array / array.shape[axes[0]] if bool((array == first).all()) else array)


def values_of(explanation: Explanation, model: Model, sample: Sample) -> dict[str, np.ndarray]:
    """Return an explanation's values by input name, batch axis first.

    Values of an embedding are added up for each word of a text, as pictures show them; for each of other codes, where
    it has numbers of its own. Raises ``CapabilityError`` where it is of other tensors, ``InputError`` where shapes
    differ or numbers are not finite.
    """
    known = {i.name for i in model.inputs}
    values = explanation.values
    if not known.issuperset(values):
        values = {name: array for name, (array, _) in _of_words(explanation, sample).items()}
        values = values or _of_codes(explanation, model, sample)
    if not values:
        other = next((name for name in explanation.values if name not in known), "")
        raise CapabilityError(
            f"this explanation is of the tensor '{printable(other)}', not of the inputs",
            tip="metrics mask inputs: leave out --wrt, and upsample=false of class activation maps; of inputs of whole "
            "numbers, take a method without gradients",
        )
    found = {}
    for name, array in values.items():
        try:
            placed = leading({name: np.asarray(array, dtype=np.float64)}, model.inputs)[name]
        except (IndexError, ValueError):
            placed = np.asarray(array, dtype=np.float64)
        if placed.shape != sample.feeds[name].shape:
            raise InputError(
                f"the explanation has the shape {array.shape} for input '{printable(name)}', "
                f"which is {sample.feeds[name].shape}",
                tip="explanation and input must belong together",
            )
        if not np.isfinite(placed).all():
            raise InputError(f"the explanation of input '{printable(name)}' holds numbers that are not finite")
        found[name] = placed
    return found


def _of_words(explanation: Explanation, sample: Sample) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return values and labels of the inputs of texts: each token carries the value of its word.

    So it is with methods that remove words. What is no part of the text has 0. Empty where the explanation is of
    something else.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    words = 0
    for split in sample.texts:
        told, shape = per_word(explanation, split), sample.feeds[split.input].shape
        if told is None or len(told[0]) != math.prod(shape):
            return {}
        groups, values = np.array(told[0]), np.append(told[1], 0.0)  # the last is for -1
        found[split.input] = values[groups].reshape(shape), np.where(groups < 0, -1, groups + words).reshape(shape)
        words += len(told[1])
        for name in split.companions:
            zeros = np.zeros(sample.feeds[name].shape)
            found[name] = zeros, np.full(zeros.shape, -1)
    return found


def _of_codes(explanation: Explanation, model: Model, sample: Sample) -> dict[str, np.ndarray]:
    """Return the values of inputs of whole numbers: added up over what each number was looked up as.

    Those of other inputs stay as they are. Empty where a tensor does not stand for the numbers of an input one by one.
    """
    found: dict[str, np.ndarray] = {}
    known = {i.name for i in model.inputs}
    for name, array in explanation.values.items():
        source = name if name in known else codes_of(model.proto, name)
        shape = sample.feeds[source].shape if source else ()
        if not source or source in found or (source != name and array.shape[: len(shape)] != shape):
            return {}
        added = array if source == name else array.reshape(*shape, -1).sum(axis=-1, dtype=np.float64)
        found[source] = added if source == name else native(source, added, model.inputs)
    return found


def _summed(features: Features, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Add up arrays by input name over the elements of each feature (M,)."""
    total = np.zeros(features.size)
    missing = [n for n in features.labels if n not in arrays]
    if missing:
        raise SettingError(
            f"the explanation has no values for input '{printable(missing[0])}', which the features include",
            tip="give features of the inputs that were explained",
        )
    for name, labels in features.labels.items():
        array = arrays[name]
        if labels.ndim > array.ndim:
            raise CapabilityError(
                f"the parts of the string in input '{printable(name)}' are not those that were explained",
                tip="give the metric the features of the method, or attributions by word from a method of onnxplain",
            )
        where = np.broadcast_to(labels, array.shape).ravel()
        kept = where >= 0
        total += np.bincount(where[kept], weights=array.ravel()[kept], minlength=features.size)
    return total
