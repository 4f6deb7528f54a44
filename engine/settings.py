"""Settings of a plug-in: one description per dataclass field, used for validation, CLI options, help and docs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import re
import tomllib
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SettingError, nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator


_NUMBERS = re.compile(r"[-+0-9.,eE\s()\[\]]+")


@dataclass(frozen=True)
class Range:
    """Bounds of a numeric setting, both included unless ``open_low``; ``None`` is no bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False

    def __str__(self) -> str:
        """Bounds as a person writes them."""
        if self.low is not None and self.high is not None:
            return f"{'above ' if self.open_low else ''}{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.high is not None else "any number"

    def holds(self, value: float) -> bool:
        """Say whether ``value`` is finite and within the bounds."""
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        return abs(value) < math.inf and above and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Setting:
    """One field of a plug-in: name, type, default, help text and bounds."""

    name: str
    annotation: Any
    default: Any
    help: str
    bounds: Range | None
    choices: tuple[Any, ...]

    @property
    def type_name(self) -> str:
        """The type as a person reads it."""
        return _spell(self.annotation)

    def to_json(self) -> dict[str, Any]:
        """Return what ``methods --json`` lists."""
        return {
            "name": self.name,
            "type": self.type_name,
            "default": plain(self.default),
            "help": self.help,
            "bounds": str(self.bounds) if self.bounds else None,
            "choices": list(self.choices) or None,
        }


@functools.cache
def settings_of(plugin: type) -> tuple[Setting, ...]:
    """Describe the fields of a plug-in's dataclass.

    A field is annotated ``Annotated[type, "help text"]``, with a ``Range`` after the text where it has bounds;
    ``Literal`` types list choices.
    """
    hints = typing.get_type_hints(plugin, include_extras=True)
    return tuple(_describe(f, hints[f.name]) for f in dataclasses.fields(plugin) if f.init)


def build(plugin: type, given: dict[str, Any], method: str) -> Any:
    """Make the plug-in from settings after checking names, types and bounds.

    Raises ``SettingError`` that names the method, the setting, what was given and what is taken.
    """
    known = {s.name: s for s in settings_of(plugin)}
    for name in given:
        if name not in known:
            raise SettingError(
                f"{method} has no setting '{printable(name)}'", tip=nearest(name, known) or f"{method} has no settings"
            )
    for field in dataclasses.fields(plugin):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.init and required and field.name not in given:
            raise SettingError(f"{method} needs the setting '{field.name}'", tip=known[field.name].help)
    return plugin(**{name: checked_value(known[name], value, f"{method}.{name}") for name, value in given.items()})


def checked_value(setting: Setting, value: Any, where: str) -> Any:
    """Return ``value`` in the setting's type, or raise ``SettingError``."""
    try:
        result = _convert(value, setting.annotation)
    except (TypeError, ValueError, OverflowError):
        wanted = f"one of {', '.join(map(str, setting.choices))}" if setting.choices else setting.type_name
        tip = nearest(str(value)[:100], map(str, setting.choices)) if setting.choices else setting.help
        raise SettingError(f"{where} takes {wanted}, not {_shown(value)}", tip=tip) from None
    bounds = setting.bounds
    for number in _numbers(result) if bounds else ():
        if bounds and not bounds.holds(number):
            raise SettingError(f"{where} must be {bounds}, not {_shown(number)}", tip=setting.help)
    return result


def parse_value(text: str) -> Any:
    """Read a setting from the command line: a number, true/false, none, a list such as ``2,3``, or else text.

    Brackets make a list of anything, ``[a,b]`` with quotes around text; quotes make text of anything. Braces make a
    dict, written as TOML or as JSON, for settings by input name: ``{x = 3, "y:0" = [1, 2]}``.

    >>> parse_value("2,3"), parse_value("0.5"), parse_value("blur:10"), parse_value("true"), parse_value("'7'")
    ((2, 3), 0.5, 'blur:10', True, '7')
    >>> parse_value('{x = 3, "y:0" = [1, 2]}'), parse_value('{"x": "blur"}')
    ({'x': 3, 'y:0': (1, 2)}, {'x': 'blur'})
    """
    stripped = text.strip()
    word = stripped.lower()
    if word in {"none", "null"}:
        return None
    if word in {"true", "false"}:
        return word == "true"
    source = _with_zeros(stripped) if _NUMBERS.fullmatch(stripped) else stripped
    if stripped.startswith("(") and stripped.endswith(")"):
        source = f"[{source[1:-1]}]"
    elif "," in stripped and not stripped.startswith("["):
        source = f"[{source}]"
    if stripped.startswith("{"):
        return _dict(stripped)
    if "\n" in stripped or "#" in stripped:
        return text
    try:
        return _tuples(tomllib.loads(f"value = {source}")["value"])
    except (ValueError, RecursionError):  # ValueError: no TOML, a date or a number of thousands of digits
        return text


def _dict(text: str) -> Any:
    """Read a dict from TOML or JSON; SettingError where it is neither."""
    with contextlib.suppress(ValueError, RecursionError):
        return _tuples(tomllib.loads(f"value = {text}")["value"])
    with contextlib.suppress(ValueError, RecursionError):
        return _tuples(json.loads(text))
    raise SettingError(f"{_shown(text)} is no dict of settings", tip='write it as {NAME = 3} or {"NAME": 3}')


def _with_zeros(text: str) -> str:
    """Write ``.5`` and ``1.`` as TOML wants them: ``0.5`` and ``1.0``."""
    return re.sub(r"(?<!\d)\.(?=\d)", "0.", re.sub(r"(?<=\d)\.(?!\d)", ".0", text))


def _tuples(value: Any) -> Any:
    """Return lists as tuples, in dicts too; ``ValueError`` for what is no number, text or true/false."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {str(name): _tuples(item) for name, item in value.items()}
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in a value, of an array the smallest and the largest."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.size:
        value = (value.min().item(), value.max().item())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _shown(value: Any) -> str:
    """Return a value as messages show it, on one line of moderate length."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape}"
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number of more than 30 digits"
    shown = printable(repr(value) if not isinstance(value, str) else f"'{value[:100]}'")
    return shown if len(shown) <= 80 else shown[:77] + "..."


def plain(value: Any) -> Any:
    """Return ``value`` as JSON holds it: arrays become nested lists, and what JSON has no form for becomes text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)[:200]


def _describe(field: dataclasses.Field[Any], hint: Any) -> Setting:
    text, bounds, annotation = "", None, hint
    if typing.get_origin(hint) is typing.Annotated:
        annotation, *notes = typing.get_args(hint)
        text = next((n for n in notes if isinstance(n, str)), "")
        bounds = next((n for n in notes if isinstance(n, Range)), None)
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    default = field.default if field.default is not dataclasses.MISSING else None
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return Setting(field.name, annotation, default, text, bounds, choices)


def _convert(value: Any, annotation: Any) -> Any:  # noqa: PLR0911 - a case per kind of type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(value, np.generic):
        value = value.item()
    if annotation is Any:
        return value
    if origin is typing.Annotated:
        return _convert(value, arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _convert_to_one_of(value, arguments)
    if origin is typing.Literal:
        return _convert_choice(value, arguments)
    if origin is tuple:
        return _convert_items(value, arguments)
    if origin is dict and isinstance(value, dict):
        return {str(k): _convert(v, arguments[1]) for k, v in value.items()}
    return _convert_scalar(value, annotation)


def _convert_to_one_of(value: Any, options: tuple[Any, ...]) -> Any:
    """Convert to the first type that takes the value; to its own first, so that 1 stays an int where both are taken."""
    for option in sorted(options, key=lambda option: option is not type(value)):
        try:
            return _convert(value, option)
        except (TypeError, ValueError, OverflowError):
            continue
    raise TypeError


def _convert_choice(value: Any, choices: tuple[Any, ...]) -> Any:
    wanted = "none" if value is None else value  # as the command line reads it
    for choice in choices:
        if type(choice) is type(wanted) and choice == wanted:
            return choice
    raise ValueError


def _convert_items(value: Any, types_of_items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert to a tuple: of any length for ``tuple[int, ...]``, else with a type per item; text is cut at commas."""
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(items, str) and (types_of_items[0] is str or typing.get_origin(types_of_items[0]) is typing.Literal):
        items = [part.strip() for part in items.split(",")]
    if not isinstance(items, list | tuple):
        raise TypeError
    if types_of_items[1:] == (...,):
        return tuple(_convert(item, types_of_items[0]) for item in items)
    return tuple(_convert(item, kind) for item, kind in zip(items, types_of_items, strict=True))


def _convert_scalar(value: Any, annotation: Any) -> Any:
    if annotation is None or annotation is type(None):
        annotation = type(None)
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        if value != value:  # noqa: PLR0124 - only NaN differs from itself; ``math.isnan`` overflows on long integers
            raise ValueError
        return float(value)
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if annotation is np.ndarray and isinstance(value, list | tuple):
        return _array_of(value)
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise TypeError
    return value


def _array_of(value: list[Any] | tuple[Any, ...]) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iufb":
        raise TypeError
    return array


def _spell(annotation: Any) -> str:  # noqa: PLR0911 - a case per kind of type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_spell(a) for a in arguments)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is typing.Annotated:
        return _spell(arguments[0])
    if origin is tuple and arguments[1:] != (...,):
        return " and ".join(_spell(a) for a in arguments)
    if origin is tuple:
        return f"list of {_spell(arguments[0])}"
    if origin is dict:
        return f"dict of {_spell(arguments[1])} by name"
    if annotation is Any:
        return "name, number, array or file"
    names = {int: "integer", float: "number", str: "text", bool: "true/false", np.ndarray: "array", type(None): "none"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))
