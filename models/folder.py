"""What every recipe writes into a model's folder: the ONNX file, the spec beside it, labels and tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

TomlValue = str | float | bool | Sequence[str] | Sequence[int] | Sequence[float]


@dataclass(frozen=True)
class Spec:
    """The spec of a model: top-level keys, the first input's keys and its preprocessing if any.

    ``others`` holds the keys of further inputs by name, ``categories`` the values of text columns by input and column.
    """

    input: str
    top: Mapping[str, TomlValue]
    fields: Mapping[str, TomlValue]
    preprocessing: Mapping[str, TomlValue] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, TomlValue]] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, TomlValue]] = field(default_factory=dict)

    def toml(self) -> str:
        """Return the text of the TOML file."""
        table = f"inputs.{json.dumps(self.input)}"
        parts = [_lines(self.top), f"\n[{table}]\n{_lines(self.fields)}"]
        if self.preprocessing:
            parts.append(f"\n[{table}.preprocessing]\n{_lines(self.preprocessing)}")
        parts += [f"\n[inputs.{json.dumps(name)}]\n{_lines(keys)}" for name, keys in self.others.items()]
        parts += [f"\n[inputs.{json.dumps(n)}.categories]\n{_lines(lists)}" for n, lists in self.categories.items()]
        return "".join(parts)


def _lines(values: Mapping[str, TomlValue]) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def write_model(folder: Path, name: str, model: onnx.ModelProto, spec: Spec) -> None:
    """Write ``name``.onnx, the same bytes for the same graph, and ``name``.toml beside it."""
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (folder / f"{name}.toml").write_text(spec.toml(), encoding="utf-8", newline="\n")


def write_lines(file: Path, lines: Iterable[str]) -> None:
    """Write one entry a line."""
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[float | str]]) -> None:
    """Write a CSV file with a header; a float is written with all its digits."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
