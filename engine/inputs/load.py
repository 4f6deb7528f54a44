"""From what a user names on the command line (files, rows of files, folders, patterns) to Samples."""

from __future__ import annotations

import dataclasses
import glob
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, printable
from ..files import IMAGE_KINDS, excerpt, existing_file, looks_like
from ..layout import describe, infer_layout, sizes_by_letter
from ..specs.inference import complete_spec, infer_preprocessing
from .array import InputInfo, check_feeds, load_arrays
from .image import FORMATS, load_image
from .rows import LINE_SUFFIXES, Refused, split_source
from .sample import Sample
from .series import AUDIO_SUFFIXES, load_series, takes_series
from .table import load_rows
from .text_file import load_text_file
from .text_table import holds_codes, load_texts, takes_rows_of_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..spec import InputSpec, ModelSpec, Preprocessing
    from .text import Place

__all__ = ["InputInfo", "expand_sources", "load_samples"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp")
TABLE_SUFFIXES = (".csv", ".tsv")
ARRAY_SUFFIXES = (".npy", ".npz")
OTHERS = dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save the sheet as CSV") | dict.fromkeys(
    (".parquet", ".feather", ".arrow", ".json", ".jsonl"), "write the table as CSV, with the names of its columns first"
)
READABLE = (
    f"images ({', '.join(FORMATS)}), tables and series (.csv, .tsv), sound (.wav), texts (.txt) and arrays (.npy, .npz)"
)


def load_samples(
    source: str,
    inputs: Sequence[InputInfo],
    spec: ModelSpec | None = None,
    place: Place | None = None,
    refused: Refused | None = None,
) -> Iterator[Sample]:
    """Return the Samples in one file, or in the rows that ``file.csv:3``, ``file.npy:3-7`` or ``file.txt:3-`` name.

    The file is read before this returns. What the spec leaves open is inferred from the model's inputs; where that is
    the preprocessing of an image, ``Sample.preprocessing["assumed"]`` is True. ``place`` says where the tokenizer of a
    text would be. InputError says what is wrong with the file, or that the model does not take its kind; with
    ``refused`` it is told of rows that cannot be used, and the others are returned.
    """
    path, _ = split_source(source)
    existing_file(path, InputError)
    complete = complete_spec(spec, inputs)
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES or (suffix in TABLE_SUFFIXES and takes_series(inputs, complete)):
        return iter([load_series(source, inputs, complete)])
    if suffix in TABLE_SUFFIXES and takes_rows_of_texts(inputs, complete) and not holds_codes(path, inputs):
        return iter(load_texts(source, inputs, complete, place, refused))
    if suffix in TABLE_SUFFIXES:
        return iter(load_rows(source, inputs, complete, refused=refused))
    if suffix in ARRAY_SUFFIXES:
        return iter(load_arrays(source, inputs, complete))
    if suffix in LINE_SUFFIXES:
        return iter(load_text_file(source, inputs, complete, place, refused))
    if suffix in IMAGE_SUFFIXES or looks_like(path) in IMAGE_KINDS:
        return iter([_load_picture(path, inputs, complete)])
    found = looks_like(path)
    raise InputError(
        f"this file cannot be read{f': it looks like {found}' if found else ''}",
        where=printable(path),
        tip=OTHERS.get(suffix, f"what can be read: {READABLE}"),
    )


def expand_sources(args: Sequence[str]) -> list[str]:
    """Return a source per file: folders give the files in them that can be read, patterns the files that match.

    Within each, names are sorted; folders inside folders are left out. InputError if an argument gives nothing.
    """
    return [source for arg in args for source in _expand(arg)]


def _expand(arg: str) -> list[str]:
    path = Path(arg)
    if not arg:
        raise InputError("the name of an input file is empty")
    if _is(path.is_dir):
        return _in_folder(path)
    if not _is(path.exists) and glob.has_magic(arg):
        found = sorted(name for name in glob.glob(arg) if not Path(name).is_dir())  # noqa: PTH207  # arg may be absolute
        if not found:
            raise InputError("no file matches this pattern", where=printable(arg))
        return found
    existing_file(split_source(arg)[0], InputError)
    return [arg]


def _is(test: Callable[[], bool]) -> bool:
    """Ask a question of a path; a name that no file can have is not there."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def _in_folder(folder: Path) -> list[str]:
    suffixes = (*IMAGE_SUFFIXES, *TABLE_SUFFIXES, *ARRAY_SUFFIXES, *AUDIO_SUFFIXES)
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_file()]
    found = [str(path) for path in files if path.suffix.lower() in suffixes]
    # Texts beside anything else are rather its labels or its description.
    found = found or [str(path) for path in files if path.suffix.lower() in LINE_SUFFIXES]
    if not found:
        raise InputError(
            "there are no files in this folder that can be read",
            where=printable(folder),
            tip=f"what can be: {READABLE}",
        )
    return found


def _load_picture(path: Path, inputs: Sequence[InputInfo], spec: ModelSpec) -> Sample:
    info = _image_input(path, inputs, spec)
    entry = spec.inputs[info.name]
    where = printable(spec.source)
    if entry.problem:
        raise InputError(entry.problem, where=where, tip="write the preprocessing into a TOML spec (--write-spec)")
    layout = entry.layout or infer_layout(info)[1]
    if len(layout) != len(info.shape) or not set("HW") <= set(layout):
        raise InputError(
            f"the layout '{excerpt(layout)}' does not fit the input {describe(info)}",
            where=where,
            tip='give its axes in the spec, such as layout = "NCHW"',
        )
    preprocessing = _preprocessing(entry, info, layout)
    array, view = load_image(path, preprocessing, layout, info.dtype)
    _check_fit(array.shape, info, layout, where)
    return Sample(
        check_feeds({info.name: array}, [info]),
        modality="image",
        source=str(path),
        image=view,
        image_input=info.name,
        preprocessing={
            "assumed": entry.preprocessing is None,
            "layout": layout,
            **dataclasses.asdict(preprocessing),
        },
    )


def _image_input(path: Path, inputs: Sequence[InputInfo], spec: ModelSpec) -> InputInfo:
    """Return the only input, if that takes images."""
    images = [info for info in inputs if spec.inputs[info.name].modality == "image"]
    takes = "the model takes " + ", ".join(describe(info) for info in inputs[:4])
    if not images:
        raise InputError(
            "this is an image, but no input of the model is known to take one",
            where=f"{printable(path)}; {takes}",
            tip='if one does, say so in a spec: [inputs."NAME"] with modality = "image" and layout = "NCHW"',
        )
    if len(inputs) > 1:
        raise InputError(
            "an image fills one input, and this model has more",
            where=f"{printable(path)}; {takes}",
            tip="give an .npz file with an array for each input, by name",
        )
    return images[0]


def _preprocessing(entry: InputSpec, info: InputInfo, layout: str) -> Preprocessing:
    """Return the spec's preprocessing or the first guess, with the model's size where none is set."""
    chosen = entry.preprocessing or infer_preprocessing(info, layout)
    if chosen is None:
        raise InputError(
            f"image files have one or three channels, which do not fit {describe(info)} in the layout {layout}",
            tip="correct the layout in the spec if its C is another axis; else give a .npy file",
        )
    sizes = sizes_by_letter(layout, info.shape)
    takes_own_size = any(chosen.size) or (chosen.resize and not chosen.crop)
    if takes_own_size or not {"H", "W"} <= set(sizes):
        return chosen
    return dataclasses.replace(chosen, size=(sizes["H"], sizes["W"]))


def _check_fit(shape: tuple[int, ...], info: InputInfo, layout: str, where: str) -> None:
    """Refuse an array that the input does not take, with the field of the spec to change."""
    wanted = sizes_by_letter(layout, info.shape)
    given = dict(zip(layout, shape, strict=True))
    wrong = [letter for letter in "CHW" if letter in wanted and wanted[letter] != given[letter]]
    if wrong:
        sides = f"size = [{wanted.get('H', given['H'])}, {wanted.get('W', given['W'])}]"
        tip = 'check "colour" and "layout"' if wrong[0] == "C" else f"set {sides}, or change the layout '{layout}'"
        raise InputError(
            f"the preprocessing gives an array of shape {shape}, the model takes {describe(info)}",
            where=where,
            tip=f"in the spec, {tip}",
        )
