"""A ModelSpec as TOML: tables read field by field, with every unknown key and wrong type refused, and written back."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError, nearest, printable
from ..files import excerpt, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..spec import InputSpec, ModelSpec, Preprocessing

SPEC_LIMIT = 1 << 20  # bytes


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file of at most 1 MiB holds."""
    try:
        return tomllib.loads(read_text(path, SPEC_LIMIT))
    except (ValueError, RecursionError) as problem:
        raise SettingError(f"this file is not valid TOML: {excerpt(problem, 120)}", where=printable(path)) from None


class Fields:
    """One table of a TOML file. Each field is asked for by name and type; ``finish`` refuses those never asked for."""

    def __init__(self, table: Mapping[str, Any], file: str, at: str = "") -> None:
        self._table = table
        self._file = file
        self._at = at
        self._known: set[str] = set()

    def where(self, key: str = "") -> str:
        """Return the file and the dotted name of a field, for messages."""
        field = ".".join(part for part in (self._at, excerpt(key)) if part)
        return f"{self._file}, {field}" if field else self._file

    def is_text(self, key: str) -> bool:
        """Say whether the field is there and a string."""
        return isinstance(self._table.get(key), str)

    def text(self, key: str, default: str, allowed: Iterable[str] = ()) -> str:
        """Return a string, one of ``allowed`` if any are given."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        choices = tuple(allowed)
        if choices and key in self._table and value not in choices:
            known = ", ".join(f'"{choice}"' for choice in choices if choice)
            raise SettingError(
                f'{key} is "{excerpt(value)}", not one of {known}', where=self.where(key), tip=_close(value, choices)
            )
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def number(self, key: str, default: float) -> float:
        """Return a finite number."""
        value = self._get(key, default)
        if not _is_number(value):
            raise self._wrong(key, "a number", value)
        return float(value)

    def whole(self, key: str, default: int) -> int:
        """Return a whole number."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "a whole number", value)
        return value

    def pair(self, key: str, default: tuple[int, int]) -> tuple[int, int]:
        """Return two whole numbers; one number stands for twice itself."""
        value = self._get(key, default)
        values = [value, value] if isinstance(value, int) else value
        if not isinstance(values, list | tuple) or [type(v) for v in values] != [int, int]:
            raise self._wrong(key, "two whole numbers, [height, width]", value)
        return (values[0], values[1])

    def numbers(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Return a list of finite numbers; one number stands for a list of one."""
        value = self._get(key, default)
        values = [value] if _is_number(value) else value
        if not isinstance(values, list | tuple) or not all(_is_number(v) for v in values):
            raise self._wrong(key, "a number or a list of numbers", value)
        return tuple(float(v) for v in values)

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty if the field is not there."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self._wrong(key, "a list of strings", value)
        return tuple(value)

    def lists_of_names(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return a table of lists of strings, empty if the field is not there."""
        table = self.table(key)
        return {name: table.names(name) for name in table.listed()} if table else {}

    def table(self, key: str) -> Fields | None:
        """Return a table inside this one, None if it is not there."""
        if key not in self._table:
            self._known.add(key)
            return None
        value = self._get(key, None)
        if not isinstance(value, dict):
            raise self._wrong(key, "a table", value)
        return Fields(value, self._file, ".".join(part for part in (self._at, excerpt(key)) if part))

    def listed(self) -> tuple[str, ...]:
        """Return the keys of the table."""
        return tuple(self._table)

    def finish(self) -> None:
        """Refuse the first key that nobody asked for."""
        for key in self._table:
            if key not in self._known:
                tip = _close(key, self._known)
                raise SettingError(f"unknown key '{excerpt(key)}'", where=self.where(), tip=tip)

    def _get(self, key: str, default: Any) -> Any:
        self._known.add(key)
        return self._table.get(key, default)

    def _wrong(self, key: str, wanted: str, value: Any) -> SettingError:
        return SettingError(f"{excerpt(key)} must be {wanted}, not {excerpt(repr(value))}", where=self.where(key))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _close(value: str, known: Iterable[str]) -> str:
    return nearest(value[:200], [k for k in known if k])


def quote(text: str) -> str:
    """Return ``text`` as a basic string of TOML, with every invisible character escaped."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise SettingError(f"'{excerpt(text)}' is not valid Unicode and cannot be written to a TOML file")
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def to_toml(spec: ModelSpec) -> str:
    """Return the spec as commented TOML that ``read_spec`` reads back to an equal spec.

    >>> from onnxplain.engine.spec import ModelSpec
    >>> print(to_toml(ModelSpec(task="classification", labels=("cat", "dog"))).splitlines()[2])
    task = "classification"
    """
    lines = ["# What the ONNX file does not say about the model beside it. Read by onnxplain.", ""]
    task = f"task = {quote(spec.task)}" if spec.task else '# task = "classification"  # or "regression"'
    lines += [task, f"target = {quote(spec.target)}  # what is explained unless --target says otherwise"]
    if spec.output:
        lines.append(f"output = {quote(spec.output)}  # the output that targets refer to")
    if spec.background:
        lines.append(f"background = {quote(spec.background)}  # rows that stand for typical data")
    if spec.unit:
        lines.append(f"unit = {quote(spec.unit)}  # of the numbers that the model gives")
    if spec.labels:
        lines += ["# Names of the classes, in the order of the outputs.", *_list("labels", spec.labels)]
    else:
        lines.append('# labels = "labels.txt"  # a name per line, in the order of the outputs')
    for name, entry in spec.inputs.items():
        lines += ["", *_input_lines(name, entry)]
    return "\n".join(lines) + "\n"


def _input_lines(name: str, entry: InputSpec) -> list[str]:
    header = f"inputs.{quote(name)}"
    lines = [
        f"[{header}]",
        f"modality = {quote(entry.modality)}  # image, table, text, series, array or state",
        f"layout = {quote(entry.layout)}  # N rows, C channels, H height, W width, T time, F features",
    ]
    if entry.problem:
        lines.append(f"problem = {quote(entry.problem)}  # why image files cannot be prepared for this input")
    lines += _series_lines(entry)
    if entry.tokenizer:
        lines.append(f"tokenizer = {quote(entry.tokenizer)}  # turns a text into codes of tokens")
    if entry.codes:
        lines.append(f"codes = {quote(entry.codes)}  # what its numbers stand for: bytes, or a vocabulary")
    if entry.length:
        lines.append(f"length = {entry.length}  # most tokens of a text")
    if entry.columns:
        lines += _list("columns", entry.columns)
    for field, lists in (("categories", entry.categories), ("groups", entry.groups)):
        if lists:
            lines += ["", f"[{header}.{field}]"]
            lines += [line for key, names in lists.items() for line in _list(quote(key), names)]
    if entry.preprocessing is not None:
        lines += ["", *_preprocessing_lines(header, entry.preprocessing)]
    if entry.scaling is not None or entry.modality == "series":
        lines += ["", *_scaling_lines(header, entry)]
    return lines


def _series_lines(entry: InputSpec) -> list[str]:
    lines = []
    if entry.rate or entry.modality == "series":
        lines.append(f"rate = {entry.rate!r}  # samples per second; 0: not known")
    if entry.channels:
        lines += _list("channels", entry.channels)
    if entry.time:
        lines.append(f"time = {quote(entry.time)}  # the column of a CSV file that holds the seconds")
    if entry.fill is not None:
        lines.append(f"fill = {entry.fill!r}  # what this input holds where a file does not fill it")
    return lines


def _preprocessing_lines(header: str, preprocessing: Preprocessing) -> list[str]:
    p = preprocessing
    return [
        "# How an image file becomes this input: (pixels * scale - mean) / std per channel, pixels from 0 to 255.",
        "# An ONNX file does not say this: check it against the code that the model was trained with.",
        f"[{header}.preprocessing]",
        f"size = [{p.size[0]}, {p.size[1]}]  # height, width; [0, 0]: as the model or else the image has it",
        f"resize = {p.resize}  # short side before the crop; 0: straight to size",
        f"stretch = {_bool(p.stretch)}  # resize both sides, not only the short one",
        f"interpolation = {quote(p.interpolation)}  # nearest, bilinear, bicubic, lanczos, box or hamming",
        f"crop = {_bool(p.crop)}  # the centre, to size",
        f"colour = {quote(p.colour)}  # RGB, BGR or L (grey); mean and std are in this order",
        f"scale = {p.scale!r}{'  # 1/255' if p.scale == 1 / 255 else ''}",
        f"mean = {_numbers(p.mean)}",
        f"std = {_numbers(p.std)}",
    ]


def _scaling_lines(header: str, entry: InputSpec) -> list[str]:
    """Return what is done to the numbers of a file, as a remark where nothing is."""
    p, mark = entry.scaling, "" if entry.scaling is not None else "# "
    return [
        "# What the model was trained on: (x * scale - mean) / std of the numbers in a file, sound from -1 to 1.",
        f"{mark}[{header}.preprocessing]",
        f"{mark}scale = {1.0 if p is None else p.scale!r}",
        f"{mark}mean = {_numbers((0.0,) if p is None else p.mean)}  # one number, or one per channel",
        f"{mark}std = {_numbers((1.0,) if p is None else p.std)}",
    ]


def _numbers(values: tuple[float, ...]) -> str:
    return f"[{', '.join(repr(float(value)) for value in values)}]"


def _bool(value: object) -> str:
    return "true" if value else "false"


def _list(key: str, names: tuple[str, ...]) -> list[str]:
    quoted = [quote(name) for name in names]
    line = f"{key} = [{', '.join(quoted)}]"
    return [line] if len(line) <= 100 else [f"{key} = [", *(f"  {name}," for name in quoted), "]"]


def write_spec(spec: ModelSpec, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the spec as TOML, whole or not at all; an existing file is kept unless ``overwrite`` is set."""
    path = Path(path)
    text = to_toml(spec)
    if path.exists() and not overwrite:
        raise SettingError(
            "this file exists and may have been edited",
            where=printable(path),
            tip="write elsewhere, or overwrite it (--force)",
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise SettingError(f"cannot write this file: {problem.strerror}", where=printable(path)) from None
    return path
