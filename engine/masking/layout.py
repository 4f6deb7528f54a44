"""The inputs that can be masked, and what the axes of their feeds mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingError, nearest, printable
from ..files import excerpt
from ..token_inputs import companion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..inputs.sample import Sample, SplitText
    from ..layout import InputInfo
    from ..model import Model
    from ..spec import InputSpec, ModelSpec


@dataclass(frozen=True)
class MaskedInput:
    """One input of a sample that can be masked.

    ``letters`` has a letter per axis of the feed, whose batch axis comes first: C, H, W, T or F as in a spec's layout,
    a point where nothing is known. ``columns`` are the names of a table's columns, empty if they have none.
    """

    name: str
    feed: np.ndarray
    letters: str
    spec: InputSpec
    batch_axis: int | None = 0  # where the model has it; None if no input of the model has one
    columns: tuple[str, ...] = ()
    rate: float = 0.0  # steps of a series per second, 0 if that is not known
    channels: tuple[str, ...] = ()
    text: SplitText | None = None  # the text that went in, None where none did

    @property
    def inner(self) -> tuple[int, ...]:
        """The feed's shape without the batch axis."""
        return self.feed.shape[1:]

    @property
    def is_image(self) -> bool:
        """True if the feed has an axis of height and one of width."""
        return "H" in self.letters and "W" in self.letters

    @property
    def is_series(self) -> bool:
        """True if the feed has an axis of time and holds no text."""
        return "T" in self.letters and self.spec.modality != "text"

    @property
    def is_table(self) -> bool:
        """True if the feed is a row of a table."""
        return self.spec.modality == "table"

    @property
    def holds_text(self) -> bool:
        """True if the elements are strings."""
        return self.feed.dtype.kind in "OUS"

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.feed.shape[self.letters.index("H")], self.feed.shape[self.letters.index("W")]

    def axes(self, letters: str) -> tuple[int, ...]:
        """Return the axes of the feed that have one of the letters."""
        return tuple(axis for axis, letter in enumerate(self.letters) if letter in letters)

    def on_grid(self, array: np.ndarray) -> np.ndarray:
        """Give an array (height, width) the axes of the feed, of size one where it has none."""
        height, width = self.letters.index("H"), self.letters.index("W")
        shape = [1] * self.feed.ndim
        shape[height], shape[width] = array.shape
        return (array if height < width else array.T).reshape(shape)

    def place(self, array: np.ndarray) -> np.ndarray | None:
        """Give an array from outside the axes of the feed, or return None if it does not fit.

        It may have the shape of the feed, or that without the batch axis, with any number of rows and with ones where
        it is the same along an axis; leading axes may be left out, and an image may have just (height, width).
        """
        if array.ndim == self.feed.ndim:
            placed = np.moveaxis(array, self.batch_axis or 0, 0)
        elif self.is_image and array.shape == self.grid:
            placed = self.on_grid(array)
        elif array.ndim < self.feed.ndim:
            placed = array.reshape((1,) * (self.feed.ndim - array.ndim) + array.shape)
        else:
            return None
        fits = all(given in (1, size) for given, size in zip(placed.shape[1:], self.inner, strict=True))
        return placed if fits and len(placed) else None

    @property
    def wanted(self) -> str:
        """The shapes that ``place`` takes, in words."""
        full = list(self.feed.shape)
        full.insert(self.batch_axis or 0, full.pop(0))
        shapes = [self.inner, tuple(full)] if self.inner else [tuple(full)]
        return " or ".join(dict.fromkeys(map(str, [self.grid, *shapes] if self.is_image else shapes)))

    def __str__(self) -> str:
        """Return name, dtype, shape and layout, for messages."""
        dtype = "string" if self.holds_text else self.feed.dtype.name
        known = self.letters.replace(".", "")
        return f"'{excerpt(self.name)}': {dtype} {self.feed.shape}{f' ({known})' if known else ''}"


def masked_inputs(model: Model, sample: Sample) -> dict[str, MaskedInput]:
    """Return the inputs that can be masked, by name, in the model's order.

    These have a row per instance and at least one axis, and are no states of a recurrent network: those stay as they
    are. SettingError if the spec contradicts the model, or if there is no such input.
    """
    spec = model.spec
    batched = any(info.batch_axis is not None for info in model.inputs)
    columns = _columns(model, spec, sample)
    found = {
        info.name: MaskedInput(
            info.name,
            sample.feeds[info.name],
            _letters(info, spec.inputs[info.name].layout, sample.feeds[info.name].ndim, batched=batched),
            spec.inputs[info.name],
            info.batch_axis,
            columns.get(info.name, ()),
            *_of_series(spec.inputs[info.name], sample),
            text=sample.text_in(info.name),
        )
        for info in model.inputs
        if sample.feeds[info.name].ndim and (info.batch_axis is not None or not batched)
        if spec.inputs[info.name].modality != "state"
    }
    if not found:
        raise SettingError("no input of this model can be masked: all are scalars or the same for all rows")
    return found


def _letters(info: InputInfo, layout: str, rank: int, *, batched: bool) -> str:
    if not layout:
        return "." * rank
    if len(layout) != (rank if batched else rank - 1):
        raise SettingError(
            f"the layout '{layout}' of input '{excerpt(info.name)}' has {len(layout)} axes, "
            f"the input has {rank if batched else rank - 1}",
            where=f"inputs.{excerpt(info.name)}.layout of the spec",
        )
    at = info.batch_axis if batched and info.batch_axis is not None else None
    inner = layout if at is None else layout[:at] + layout[at + 1 :]
    return "." + inner.replace("N", ".")


def blendable(inputs: Mapping[str, MaskedInput]) -> dict[str, MaskedInput]:
    """Return the inputs without the masks, types and positions that go with codes of tokens.

    These describe the tokens: a stand-in of their own would contradict what stands in the places of the tokens.
    """
    texts = [name for name, e in inputs.items() if e.spec.modality == "text" or e.text is not None]
    has_codes = any(not companion(name) for name in texts)
    return {name: entry for name, entry in inputs.items() if not (has_codes and companion(name))}


def _of_series(entry: InputSpec, sample: Sample) -> tuple[float, tuple[str, ...]]:
    """Return the rate and the names of the channels of a series: those of the file, else those of the spec."""
    if sample.series_input != entry.name:
        return entry.rate, entry.channels
    return sample.rate or entry.rate, sample.channels or entry.channels


def _columns(model: Model, spec: ModelSpec, sample: Sample) -> dict[str, tuple[str, ...]]:
    """Return the names of columns by input: the spec's, else the sample's, else the name of an input of one value."""
    filled = {name for text in sample.texts for name in (text.input, *text.companions)}
    sizes = {info.name: sample.feeds[info.name].size for info in model.inputs if info.name not in filled}
    are_named = len(sample.columns) == sum(sizes.values())
    names: dict[str, tuple[str, ...]] = {}
    start = 0
    for name, size in sizes.items():
        if spec.inputs[name].columns:
            names[name] = spec.inputs[name].columns
        elif are_named:
            names[name] = sample.columns[start : start + size]
        elif size == 1 and len(model.inputs) > 1:
            names[name] = (name,)
        start += size
    return names


def chosen(inputs: Mapping[str, MaskedInput], name: str, model_inputs: Iterable[InputInfo]) -> MaskedInput:
    """Return the input of that name; SettingError if there is none or it cannot be masked."""
    if name in inputs:
        return inputs[name]
    known = [info.name for info in model_inputs]
    if name in known:
        raise SettingError(
            f"input '{excerpt(name)}' cannot be masked: it is a scalar, a state, or the same for all rows",
            tip="inputs that can be: " + ", ".join(f"'{excerpt(n)}'" for n in inputs),
        )
    raise SettingError(f"the model has no input '{printable(name)[:60]}'", tip=nearest(name[:200], known))
