"""Names of classes from label files: a line each, or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError, printable
from ..files import excerpt, read_json, read_text

if TYPE_CHECKING:
    import os

LABEL_FILE_LIMIT = 8 << 20  # bytes; the 21,843 names of ImageNet take under 1 MiB


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the classes, in the order of the model's outputs.

    A ``.json`` file holds a list of names, ``{"0": "tench", ...}`` or ``{"0": ["n01440764", "tench"], ...}``
    (Keras' form, whose last entry is the name); any other file a name per line.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return labels_from(read_json(path, LABEL_FILE_LIMIT), printable(path))
    lines = read_text(path, LABEL_FILE_LIMIT).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return _checked([line.strip() for line in lines], printable(path))


def labels_from(content: Any, where: str) -> tuple[str, ...]:
    """Return the names in a list, or in a mapping from the class's number to its name."""
    if isinstance(content, list):
        return _checked(content, where)
    if not isinstance(content, dict):
        raise SettingError('labels must be a list of names or {"0": "name", ...}', where=where)
    numbered = {int(key): name for key, name in content.items() if key.isascii() and key.isdigit() and len(key) < 10}
    if len(numbered) != len(content) or sorted(numbered) != list(range(len(numbered))):
        raise SettingError(f"labels must be numbered 0 to {len(content) - 1} without a gap", where=where)
    names = [numbered[number] for number in range(len(numbered))]
    return _checked([name[-1] if isinstance(name, list) and name else name for name in names], where)


def _checked(names: list[Any], where: str) -> tuple[str, ...]:
    if not names:
        raise SettingError("there are no labels in this file", where=where)
    for number, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise SettingError(f"label {number} is {excerpt(repr(name))}, not a name", where=where)
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise SettingError(f"label {number} is not valid Unicode", where=where)
    return tuple(names)
