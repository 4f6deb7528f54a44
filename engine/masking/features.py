"""Features: a partition of the inputs into named parts that can be present or absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import overload

import numpy as np

from ..errors import SettingError
from ..files import excerpt

TEXT_KINDS = frozenset({"tokens", "words", "sentences"})
KEPT = -1  # the label of elements that belong to no feature and are always present


class ElementNames(Sequence[str]):
    """Names of elements by their indices, such as ``pixels[0,3,7]``, spelled when they are looked at.

    ``shapes`` holds, by prefix, the shape of an array whose elements are numbered in C order, one array after the
    other. Equal to a tuple of the same names.

    >>> names = ElementNames({"x": (2, 3), "y": (2,)})
    >>> names[-3], names[4:], len(names)
    ('x[1,2]', ('x[1,1]', 'x[1,2]', 'y[0]', 'y[1]'), 8)
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._blocks = tuple(shapes.items())
        self._starts = (0, *accumulate(int(np.prod(shape)) for shape in shapes.values()))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        number = range(len(self))[index]
        block = int(np.searchsorted(self._starts, number, side="right")) - 1
        prefix, shape = self._blocks[block]
        place = np.unravel_index(number - self._starts[block], shape or (1,))
        return f"{prefix}[{','.join(str(int(k)) for k in place)}]"

    def __iter__(self) -> Iterator[str]:
        for prefix, shape in self._blocks:
            for place in np.ndindex(shape or (1,)):
                yield f"{prefix}[{','.join(map(str, place))}]"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ElementNames) and self._blocks == other._blocks:
            return True
        return isinstance(other, tuple | ElementNames) and len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"({shown}, ... {len(self)} names)" if len(self) > 3 else f"({shown})"


@dataclass(frozen=True)
class Features:
    """A partition of the inputs into M features.

    ``labels`` holds, by input name, integers that broadcast to the input's feed (a leading axis of one included): the
    feature 0..M-1 that an element belongs to, or -1 where the element is always present. One feature may span
    several inputs. Inputs without labels are always present. The labels of an input of strings may have an axis more,
    for the words of its string.
    """

    names: Sequence[str]
    labels: dict[str, np.ndarray]
    kind: str = "labels"  # or pixels, elements, grid, superpixels, columns, groups, channels, windows, words, inputs
    _slices: dict[str, slice | None] = field(init=False, repr=False, default_factory=dict)
    _places: dict[str, np.ndarray] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check the partition: labels from -1 to M-1, each used."""
        if not len(self.names):
            raise SettingError("there is no feature that can be present or absent")
        used = np.zeros(len(self.names), dtype=bool)
        for name, labels in self.labels.items():
            if labels.dtype.kind not in "iu":
                raise SettingError(
                    f"feature labels of input '{excerpt(name)}' are {labels.dtype}", tip="give whole numbers"
                )
            if labels.size and (labels.min() < KEPT or labels.max() >= len(self.names)):
                raise SettingError(
                    f"feature labels of input '{excerpt(name)}' run from {labels.min()} to {labels.max()}",
                    tip=f"number the {len(self.names)} features from 0; -1 marks what is always present",
                )
            span = _run(labels)
            self._slices[name] = span
            self._places[name] = np.where(labels < 0, len(self.names), labels).reshape(-1).astype(np.intp)
            used[labels[labels >= 0] if span is None else span] = True
        if not used.all():
            raise SettingError(
                f"feature {int(np.argmin(used))} covers no element", tip="number the features without gaps"
            )

    def __str__(self) -> str:
        """Return kind and number; the labels themselves would be spelled out one by one."""
        return f"Features('{self.kind}', {self.size} feature{'' if self.size == 1 else 's'})"

    @property
    def size(self) -> int:
        """The number of features, M."""
        return len(self.names)

    def expand(self, coalitions: np.ndarray) -> dict[str, np.ndarray]:
        """Turn coalitions (B, M) into masks by input name that broadcast to B rows of the input.

        The masks keep the coalitions' dtype and have the shape (B, *labels.shape[1:]).
        """
        padded: np.ndarray | None = None
        masks = {}
        for name, labels in self.labels.items():
            span = self._slices[name]
            if span is not None:
                masks[name] = coalitions[:, span].reshape(len(coalitions), *labels.shape[1:])
                continue
            if padded is None:
                kept = np.ones((len(coalitions), 1), dtype=coalitions.dtype)
                padded = np.concatenate([coalitions, kept], axis=1)
            # labels are within bounds, which "clip" need not check: several times faster than indexing
            taken = np.take(padded, self._places[name], axis=1, mode="clip")
            masks[name] = taken.reshape(len(coalitions), *labels.shape[1:])
        return masks

    def scatter(self, values: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Spread a value per feature (M,) over the elements: by input name, arrays of the given shapes.

        Every element carries the value of its feature (as in Captum's ablation); what is always present gets zero.
        An element that holds several features, a string of words, gets their sum.
        """
        padded = np.zeros(self.size + 1)
        padded[:-1] = values
        return {
            name: self._spread(padded, self.labels[name], shape)
            if name in self.labels
            else np.zeros(shape, dtype=np.float64)
            for name, shape in shapes.items()
        }

    @staticmethod
    def _spread(padded: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if labels.ndim == len(shape) + 1:
            return np.full(shape, padded[np.unique(labels[labels >= 0])].sum())
        spread: np.ndarray = padded[labels]  # a copy of its own
        return spread if spread.shape == shape else np.broadcast_to(spread, shape).copy()


def _run(labels: np.ndarray) -> slice | None:
    """Return the slice of features if the labels are consecutive numbers in C order, else None."""
    flat = labels.reshape(-1)
    if not flat.size or flat[0] < 0 or int(flat[-1]) - int(flat[0]) != flat.size - 1:
        return None
    first = int(flat[0])
    return slice(first, first + flat.size) if np.array_equal(flat, np.arange(first, first + flat.size)) else None


def from_labels(labels: Mapping[str, np.ndarray], names: Sequence[str] = (), kind: str = "labels") -> Features:
    """Make features from label arrays; labels may be any integers per feature and are renumbered from 0 in order.

    Labels below zero stay "always present". The same number in two inputs is the same feature.
    """
    whole = {name: _whole(name, np.asarray(array)) for name, array in labels.items()}
    found = np.unique(np.concatenate([a[a >= 0] for a in whole.values()]) if whole else np.empty(0))
    if not found.size:
        raise SettingError("there is no feature: every label is negative" if whole else "there are no feature labels")
    renumbered = {name: np.where(array >= 0, np.searchsorted(found, array), KEPT) for name, array in whole.items()}
    if names and len(names) != found.size:
        raise SettingError(f"{len(names)} feature names for {found.size} features")
    return Features(names or tuple(f"feature {n}" for n in found), renumbered, kind)


def _whole(name: str, array: np.ndarray) -> np.ndarray:
    """Return labels as int64; SettingError unless all are whole numbers that it can hold."""
    if array.dtype.kind == "f":
        bad = ~(np.abs(array) < 2.0**63) | (array != np.round(array))  # true of NaN too
    elif array.dtype.kind in "iub":
        bad = array > np.iinfo(np.int64).max if array.dtype.kind == "u" else np.zeros((), dtype=bool)
    else:
        raise SettingError(f"feature labels of input '{excerpt(name)}' are {array.dtype}", tip="give whole numbers")
    if bad.any():
        shown = array.reshape(-1)[int(np.argmax(bad))]
        raise SettingError(f"{shown} is a feature label of input '{excerpt(name)}'", tip="give whole numbers")
    return array.astype(np.int64)


def elements(shapes: Mapping[str, tuple[int, ...]], shared: Mapping[str, int | None] | None = None) -> Features:
    """Make every element of every input a feature of its own; ``shared`` names an axis per input that shares them.

    Names are indices without the batch axis and the shared one: ``[3,7]``, or ``input[3,7]`` if there are several.
    """
    labels: dict[str, np.ndarray] = {}
    spelled: dict[str, tuple[int, ...]] = {}
    first = 0
    for name, shape in shapes.items():
        axis = (shared or {}).get(name)
        kept = tuple(1 if k == axis else n for k, n in enumerate(shape))
        count = int(np.prod(kept))
        labels[name] = np.arange(first, first + count, dtype=np.int64).reshape(kept)
        spelled[name if len(shapes) > 1 else ""] = tuple(n for k, n in enumerate(shape) if k not in (0, axis))
        first += count
    is_shared = shared is not None and any(axis is not None for axis in shared.values())
    return Features(ElementNames(spelled), labels, "pixels" if is_shared else "elements")


def join(parts: Sequence[Features]) -> Features:
    """Put partitions of different inputs together, one part's features after the other's.

    Names that occur twice get the name of their input. Parts of different kinds become ``labels``, or ``elements``
    where some are elements or pixels and none is of a text, whose words have names in any company.
    """
    if len(parts) == 1:
        return parts[0]
    labels: dict[str, np.ndarray] = {}
    first = 0
    for part in parts:
        labels |= {name: np.where(a >= 0, a + first, KEPT) for name, a in part.labels.items()}
        first += part.size
    names = [(", ".join(part.labels), name) for part in parts for name in part.names]
    kinds = {part.kind for part in parts}
    mixed = "elements" if kinds & {"pixels", "elements"} and not kinds & TEXT_KINDS else "labels"
    return Features(
        qualified(names),
        labels,
        kinds.pop() if len(kinds) == 1 else mixed,
    )


def qualified(names: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the names in pairs of an input and a name; with the input's name before them where one occurs twice."""
    if len({name for _, name in names}) == len(names):
        return tuple(name for _, name in names)
    return tuple(f"{of}{name}" if name.startswith("[") else f"{of}: {name}" for of, name in names)
