"""From what a user writes (``slic:50``, ``blur``, an array, a file) to Features and a Baseline."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, nearest
from ..files import excerpt
from ..inputs.acceptance import check_missing
from ..inputs.rows import names_rows, split_source
from .background import Background, converted, drawn_note, read_rows
from .baseline_words import BASELINES, OF_NUMBERS, constant, stand_in
from .baselines import Baseline, together
from .feature_words import FEATURES, cut
from .features import Features, from_labels, join
from .groups import grouped, is_grouping, one_hot_blocks, spec_groups
from .label_maps import as_array, fitting, placed_labels, read_labels
from .layout import MaskedInput, blendable, chosen, masked_inputs
from .texts import text_baseline

if TYPE_CHECKING:
    from ..inputs.sample import Sample
    from ..model import Model

Inputs = Mapping[str, MaskedInput]

LABEL_SUFFIXES = (".npy", ".png")
TABLE_SUFFIXES = (".csv", ".tsv")
ROW_SUFFIXES = (".npy", ".npz", *TABLE_SUFFIXES)
MOST_FILE_ROWS = 100
GROUPS = "groups"


def resolve_features(setting: Any, model: Model, sample: Sample, only: str | None = None) -> Features:
    """Return the features that a setting means for this model and sample, of one input where ``only`` names it.

    ``setting`` is a word (``auto``, ``pixels``, ``elements``, ``grid:8x10``, ``slic:50``, ``quickshift:4``,
    ``felzenszwalb:100``, ``columns``, ``groups``, ``channels``, ``inputs``, for a text ``words``, ``tokens`` and
    ``sentences``), a label map (an array, nested lists, or a .npy or .png file), a dict of these by input name, or a
    dict of lists of column names by the name of a group; Features are taken as they are. ``groups`` are those of the
    spec, and blocks of one-hot columns (``colour_red`` and ``colour_blue``, or ``colour=red``) of which exactly one is
    1 in every background row.

    A label map has the shape of the input, with or without the batch axis, with ones where labels are the same along an
    axis, or (height, width) for an image; negative labels are always present. In a dict of label maps, the same label
    in two inputs is the same feature; an input that it leaves out is always present. SettingError says what would do.
    """
    inputs = masked_inputs(model, sample)
    if only is not None:
        inputs = {only: chosen(inputs, only, model.inputs)}
    if isinstance(setting, Features):
        return _checked_features(setting, inputs, model)
    if isinstance(setting, Mapping):
        return grouped(setting, inputs) if is_grouping(setting) else _cut_by_input(setting, inputs, model, sample)
    if isinstance(setting, str) and setting.strip() == GROUPS:
        return _groups(inputs, model)
    inputs = blendable(inputs)
    found = _cut(setting, inputs, sample)
    if isinstance(found, Features):
        return found
    entry = fitting(found, inputs, "a label map")
    return from_labels({entry.name: placed_labels(found, entry, _source(setting))})


def _groups(inputs: Inputs, model: Model) -> Features:
    """Return the groups of the spec and the one-hot blocks that the background data show."""
    groups = spec_groups(inputs)
    background = Background(model, inputs, 0)
    blocks = one_hot_blocks(inputs, background.rows) if background.is_known else {}
    taken = {column for members in groups.values() for column in members}
    groups |= {n: members for n, members in blocks.items() if n not in groups and not taken.intersection(members)}
    if groups:
        return grouped(groups, inputs)
    raise SettingError(
        "there are no groups of columns: the spec names none, and "
        + ("no one-hot columns were found in the background data" if background.is_known else "no background data"),
        tip="name them in the spec, or as features={'size': ['width', 'height']}",
    )


def _cut(setting: Any, inputs: Inputs, sample: Sample) -> Features | np.ndarray:
    """Return the features that a word means, or the label map that anything else is."""
    if isinstance(setting, os.PathLike) or (isinstance(setting, str) and setting.lower().endswith(LABEL_SUFFIXES)):
        return read_labels(Path(setting))
    if isinstance(setting, str):
        return cut(setting, inputs, sample)
    _refuse_other(setting, "features", FEATURES)
    array = as_array(setting, "a label map")
    if array.ndim == 0:
        raise SettingError(f"features cannot be {excerpt(setting)}", tip="write a word, such as 'slic:50' or 'grid:8'")
    return array


def _cut_by_input(setting: Mapping[Any, Any], inputs: Inputs, model: Model, sample: Sample) -> Features:
    maps: dict[str, np.ndarray] = {}
    parts: list[Features] = []
    for name, value in setting.items():
        entry = chosen(inputs, str(name), model.inputs)
        found = _cut(value, {entry.name: entry}, sample)
        if isinstance(found, Features):
            parts.append(found)
        else:
            maps[entry.name] = placed_labels(found, entry, _source(value))
    if not setting:
        raise SettingError("features are an empty dict", tip="name an input, or " + nearest("", FEATURES))
    if maps:
        parts.append(from_labels(maps))
    return join(parts)


def _checked_features(features: Features, inputs: Inputs, model: Model) -> Features:
    for name, labels in features.labels.items():
        entry = chosen(inputs, name, model.inputs)
        fits = labels.ndim == entry.feed.ndim and all(
            given in (1, size) for given, size in zip(labels.shape, (1, *entry.inner), strict=True)
        )
        words = len(entry.text.spans) if entry.text is not None and entry.holds_text else 0
        is_by_word = words > 0 and labels.shape == (*entry.feed.shape, words)
        if not fits and not is_by_word:
            raise SettingError(
                f"labels of shape {labels.shape} do not fit input '{excerpt(name)}'",
                tip=f"they must broadcast to {(1, *entry.inner)}",
            )
    return features


def resolve_baseline(setting: Any, model: Model, sample: Sample, *, seed: int) -> Baseline:
    """Return the baseline that a setting means for this model and sample.

    ``setting`` is a number in the model's own units, a word (``auto``, ``zero``, ``mean``, ``median``, ``blur:10``,
    ``inpaint``, ``noise:0.1``, ``background:100``, ``kmeans:10``, ``missing``, ``quantiles``), an array, a .npy, .npz
    or .csv file of rows, of which at most 100 are drawn, some rows of one (``rows.csv:0-9``), all of which are used, or
    a dict of these by input name, where a text stands for itself in an input of strings. A Baseline is taken as it is.
    An array that broadcasts to the input is one reference; with more than one row it is several. Inputs of a dict must
    have the same number of references, or one. ``seed`` decides what is drawn.

    SettingError if the setting does not fit the model, InputError if references hold NaN or what the dtype cannot.
    """
    inputs = masked_inputs(model, sample)
    if isinstance(setting, Baseline):
        found = _checked_baseline(setting, inputs, model)
    elif isinstance(setting, Mapping):
        found = _stand_in_by_input(setting, inputs, Background(model, inputs, seed))
    else:
        inputs = blendable(inputs)
        found = _stand_in(setting, inputs, Background(model, inputs, seed))
    _check_gaps(found, model, sample)
    return found


def _check_gaps(baseline: Baseline, model: Model, sample: Sample) -> None:
    """Raise InputError where references lack values that the model cannot do without."""
    if any(array.dtype.kind == "f" and np.isnan(array).any() for array in baseline.references.values()):
        whole = {n: np.repeat(f, baseline.count, axis=0) if f.ndim else f for n, f in sample.feeds.items()}
        check_missing({**whole, **baseline.references}, model, source=f"baseline {excerpt(baseline.name)}")


def _stand_in(setting: Any, inputs: Inputs, background: Background) -> Baseline:
    texts = {name: text_baseline(entry, entry.text) for name, entry in inputs.items() if entry.text is not None}
    rest = {name: entry for name, entry in inputs.items() if name not in texts}
    if texts and rest and _is_of_others(setting, background):  # texts beside them get what suits a text
        own = _stand_in(setting, rest, dataclasses.replace(background, inputs=rest))
        return together(texts | {", ".join(rest): own})
    if isinstance(setting, int | float | np.integer | np.floating) and not isinstance(setting, bool):
        return constant(setting if isinstance(setting, int | float) else setting.item(), inputs)
    if isinstance(setting, os.PathLike) or (isinstance(setting, str) and _is_file_of_rows(setting)):
        found = read_rows(setting, inputs, background.model)
        total = len(next(iter(found.values())))
        rows = found if _chosen_rows(setting) else background.draw(found, MOST_FILE_ROWS)
        used = len(next(iter(rows.values())))
        return Baseline(excerpt(Path(setting).name), rows, note=drawn_note(total, used))
    if isinstance(setting, str):
        return stand_in(setting, inputs, background)
    _refuse_other(setting, "the baseline", BASELINES)
    array = as_array(setting, "a baseline")
    if array.ndim == 0 and array.dtype.kind in "iuf":
        return constant(array.item(), inputs)
    entry = fitting(array, inputs, "a baseline", rows=True)
    return Baseline("array", {entry.name: converted(array, entry)})


def _is_of_others(setting: Any, background: Background) -> bool:
    """Say whether a setting is about pictures, series and tables only: a word for these, or rows of a CSV file."""
    if not isinstance(setting, str | os.PathLike):
        return False
    text = os.fspath(setting)
    rows = background.model.spec.background if text.partition(":")[0].strip() == "background" else text
    return text.partition(":")[0].strip() in OF_NUMBERS or split_source(rows)[0].suffix.lower() in TABLE_SUFFIXES


def _is_file_of_rows(text: str) -> bool:
    return split_source(text)[0].suffix.lower() in ROW_SUFFIXES


def _chosen_rows(setting: str | os.PathLike[str]) -> bool:
    """Say whether a source names rows of its file."""
    return names_rows(os.fspath(setting))


def _stand_in_by_input(setting: Mapping[Any, Any], inputs: Inputs, background: Background) -> Baseline:
    parts: dict[str, Baseline] = {}
    for name, value in setting.items():
        entry = chosen(inputs, str(name), background.model.inputs)
        is_text = isinstance(value, str) and entry.holds_text and not _is_file_of_rows(value)
        if is_text and value.partition(":")[0] not in BASELINES:
            parts[entry.name] = Baseline("text", {entry.name: converted(np.array(value, dtype=object), entry)})
        else:
            parts[entry.name] = _stand_in(value, {entry.name: entry}, background)
    if not parts:
        raise SettingError("the baseline is an empty dict", tip="name an input, or " + nearest("", BASELINES))
    return together(parts)


def _checked_baseline(baseline: Baseline, inputs: Inputs, model: Model) -> Baseline:
    checked = {}
    for name, array in baseline.references.items():
        entry = chosen(inputs, name, model.inputs)
        if array.ndim != entry.feed.ndim or array.shape[1:] != entry.inner:
            raise SettingError(
                f"references of shape {array.shape} do not fit input '{excerpt(name)}'",
                tip=f"they must have the shape (references, {', '.join(map(str, entry.inner))})",
            )
        checked[name] = converted(array, entry, placed=True)
    if len({len(array) for array in checked.values()}) > 1:
        raise SettingError("the inputs have different numbers of references")
    is_same = baseline.weights is None and all(a is baseline.references[name] for name, a in checked.items())
    return baseline if is_same else dataclasses.replace(baseline, references=checked)


def _refuse_other(setting: Any, what: str, words: Mapping[str, Any]) -> None:
    if setting is None or isinstance(setting, bool | Features | Baseline | Mapping | bytes):
        raise SettingError(f"{what} cannot be {excerpt(repr(setting))}", tip=nearest("", words))


def _source(setting: Any) -> str:
    return excerpt(setting, 200) if isinstance(setting, str | os.PathLike) else ""
