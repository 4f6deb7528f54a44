"""The words for features (``slic:50``, ``grid:8x10``, ``columns``) and the partitions that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SettingError
from ..files import excerpt
from . import partitions, superpixels
from .features import Features, elements, join
from .groups import grouped, spec_groups
from .texts import text_features
from .windows import windows
from .words import Word, count_of, number_of, pair_of, read_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from ..inputs.sample import Sample
    from .layout import MaskedInput

    Inputs = Mapping[str, MaskedInput]
    Cut = Callable[[Word, Inputs, Sample], Features]

DEFAULT_CELLS = 7
DEFAULT_WINDOWS = 20
DEFAULT_SEGMENTS = 50
DEFAULT_KERNEL = 4.0
DEFAULT_SCALE = 100.0
LARGEST_KERNEL = 50.0  # pixels; time grows with its square


def cut(text: str, inputs: Inputs, sample: Sample) -> Features:
    """Return the features that a word means for these inputs.

    ``auto`` cuts images into superpixels where the picture is known and into a grid otherwise, tables into columns,
    series whose axis of time is known into windows, and everything else into elements. SettingError if the word is
    unknown or the inputs are of another kind.
    """
    word = read_word(text, FEATURES, "features")
    return FEATURES[word.name](word, inputs, sample)


def _auto(word: Word, inputs: Inputs, sample: Sample) -> Features:
    if not any(e.is_image or e.is_table or e.is_series or e.text is not None for e in inputs.values()):
        return _elements(word, inputs, sample)
    return join([_auto_one(entry, sample) for entry in inputs.values()])


def _auto_one(entry: MaskedInput, sample: Sample) -> Features:
    if entry.text is not None:
        return text_features(entry, "words")
    if entry.is_image:
        if sample.image is not None and sample.image_input in ("", entry.name):
            return _slic(Word("slic"), {entry.name: entry}, sample)
        return _grid(Word("grid"), {entry.name: entry}, sample)
    if entry.is_series and not entry.holds_text:
        return _windows(Word("windows"), {entry.name: entry}, sample)
    return partitions.columns(entry) if entry.is_table else elements({entry.name: entry.feed.shape})


def _elements(_: Word, inputs: Inputs, __: Sample) -> Features:
    return elements({name: entry.feed.shape for name, entry in inputs.items()})


def _whole(_: Word, inputs: Inputs, __: Sample) -> Features:
    return join([partitions.whole(entry) for entry in inputs.values()])


def _pixels(word: Word, inputs: Inputs, _: Sample) -> Features:
    found = _those(inputs, word, lambda e: e.is_image or e.is_series, "an image or a series of known layout")
    return join([partitions.pixels(entry) for entry in found])


def _channels(word: Word, inputs: Inputs, _: Sample) -> Features:
    found = _those(inputs, word, lambda e: bool(e.axes("C")), "an input with channels")
    return join([partitions.channels(entry) for entry in found])


def _windows(word: Word, inputs: Inputs, _: Sample) -> Features:
    found = _those(inputs, word, lambda e: e.is_series, "a series of known layout")
    return join([_windows_of(entry, word) for entry in found])


def _windows_of(entry: MaskedInput, word: Word) -> Features:
    steps = entry.feed.shape[entry.axes("T")[0]]
    count = count_of(word, min(DEFAULT_WINDOWS, steps), 1_000_000)
    return windows(entry, count, by_channel=word.name == "windows-by-channel")


def _text(word: Word, inputs: Inputs, _: Sample) -> Features:
    found = [entry for entry in inputs.values() if entry.text is not None]
    return join([text_features(entry, word.name) for entry in found or _those(inputs, word, _is_text, "a text")])


def _is_text(entry: MaskedInput) -> bool:
    return entry.text is not None or entry.spec.modality == "text"


def _columns(word: Word, inputs: Inputs, _: Sample) -> Features:
    tables = any(entry.is_table for entry in inputs.values())
    found = _those(inputs, word, lambda e: e.is_table or (not tables and e.feed.ndim <= 2), "a table")
    return join([partitions.columns(entry) for entry in found])


def _grid(word: Word, inputs: Inputs, _: Sample) -> Features:
    sides = pair_of(word) if word.argument else None
    found = _those(inputs, word, lambda e: e.is_image, "an image")
    return join(
        [partitions.grid(entry, *(sides or (min(DEFAULT_CELLS, side) for side in entry.grid))) for entry in found]
    )


def _slic(word: Word, inputs: Inputs, sample: Sample) -> Features:
    entry, picture = _picture(word, inputs, sample)
    return _superpixels(entry, superpixels.slic(picture, count_of(word, DEFAULT_SEGMENTS, picture[..., 0].size)))


def _quickshift(word: Word, inputs: Inputs, sample: Sample) -> Features:
    entry, picture = _picture(word, inputs, sample)
    return _superpixels(entry, superpixels.quickshift(picture, number_of(word, DEFAULT_KERNEL, LARGEST_KERNEL)))


def _felzenszwalb(word: Word, inputs: Inputs, sample: Sample) -> Features:
    entry, picture = _picture(word, inputs, sample)
    return _superpixels(entry, superpixels.felzenszwalb(picture, number_of(word, DEFAULT_SCALE, 1e9)))


def _superpixels(entry: MaskedInput, labels: np.ndarray) -> Features:
    names = tuple(f"superpixel {number}" for number in range(int(labels.max()) + 1))
    return Features(names, {entry.name: entry.on_grid(labels)}, "superpixels")


def _those(inputs: Inputs, word: Word, test: Callable[[MaskedInput], bool], wanted: str) -> list[MaskedInput]:
    found = [entry for entry in inputs.values() if test(entry)]
    if not found:
        raise SettingError(
            f"features '{word}' need {wanted}",
            where="; ".join(map(str, list(inputs.values())[:4])),
            tip="say so in the spec (modality, layout), or use 'elements', 'inputs' or a label map",
        )
    return found


def _picture(word: Word, inputs: Inputs, sample: Sample) -> tuple[MaskedInput, np.ndarray]:
    """Return the image input that superpixels are cut from and its picture, uint8 (height, width, 3)."""
    images = _those(inputs, word, lambda e: e.is_image, "an image")
    entry = next((e for e in images if e.name == sample.image_input), images[0])
    picture = sample.image if sample.image_input in ("", entry.name) else None
    if picture is None:
        picture = superpixels.picture_of(entry)
    if picture is None:
        raise SettingError(
            f"features '{word}' need the picture in input '{excerpt(entry.name)}', which only an array was given for",
            tip="give an image file, write the preprocessing into the spec, or use 'grid'",
        )
    if picture.shape != (*entry.grid, 3):
        raise SettingError(
            f"the picture has the shape {picture.shape}, input '{excerpt(entry.name)}' has the grid {entry.grid}",
            tip="the picture must show what the model sees, after resizing and cropping",
        )
    return entry, picture


def _groups(word: Word, inputs: Inputs, _: Sample) -> Features:
    """Take the groups of the spec; those that background data show are found where the model is known."""
    groups = spec_groups(inputs)
    if not groups:
        raise SettingError(
            f"features '{word}' of this input are not in the spec", tip="name them for all inputs at once"
        )
    return grouped(groups, inputs)


FEATURES: Mapping[str, Cut] = {
    "auto": _auto,
    "pixels": _pixels,
    "elements": _elements,
    "grid": _grid,
    "slic": _slic,
    "quickshift": _quickshift,
    "felzenszwalb": _felzenszwalb,
    "columns": _columns,
    "groups": _groups,
    "channels": _channels,
    "windows": _windows,
    "windows-by-channel": _windows,
    "inputs": _whole,
    "tokens": _text,
    "words": _text,
    "sentences": _text,
}
